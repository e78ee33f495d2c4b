"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const { all, axis, css, decimals, mount, options, whiskers } = Charts;
  const hidden = new Set();
  const draw = mount(document.querySelector('[data-chart="time"]'), () => ({
    type: "line",
    plugins: [whiskers],
    data: {
      labels: data.days,
      datasets: data.policies.map((policy, number) => ({
        label: policy.name,
        data: policy.values.map((e) => e.value),
        intervals: data.policies.length > 3 ? null : policy.values.map((e) => [e.low, e.high]),
        hidden: hidden.has(number),
        borderColor: css(`--s${number % 8}`),
        backgroundColor: css(`--s${number % 8}`),
        borderWidth: 2,
        pointRadius: policy.made.map((made, period) => (made === period ? 5 : 2)), // large where a model is new
        clip: 10,
      })),
    },
    options: options({
      interaction: { mode: "index", intersect: false },
      scales: { x: axis("First day of the period"), y: axis("NDCG@10", { beginAtZero: true, grace: "8%" }) },
      tooltip: { callbacks: { label: (at) => `${at.dataset.label}: ${decimals(at.parsed.y)}` } },
    }),
  }));
  document.querySelectorAll("[data-legend] button").forEach((button) => {
    button.addEventListener("click", () => {
      const policy = Number(button.dataset.policy);
      if (!hidden.delete(policy)) hidden.add(policy);
      button.setAttribute("aria-pressed", String(!hidden.has(policy)));
      draw();
    });
  });
  window.addEventListener("beforeprint", () => {
    document.documentElement.dataset.light = ""; // paper is white, whatever the screen is
    all();
  });
  window.addEventListener("afterprint", () => {
    delete document.documentElement.dataset.light;
    all();
  });
})();
