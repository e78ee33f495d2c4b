"use strict";
(() => {
  const { all, axis, css, decimals, mount, narrow, options, whiskers } = Charts;
  const now = () => document.getElementById("now");
  const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
  const MINUTES = 5 * 60;

  // Says so where there is nothing to draw.
  const quiet = {
    id: "quiet",
    afterDraw({ ctx, chartArea, data }) {
      if (data.datasets.some((set) => set.data.some((point) => point.y !== null))) return;
      ctx.save();
      ctx.fillStyle = css("--soft");
      ctx.font = `13px ${getComputedStyle(document.body).fontFamily}`;
      ctx.textAlign = "center";
      ctx.fillText("nothing yet", (chartArea.left + chartArea.right) / 2, (chartArea.top + chartArea.bottom) / 2);
      ctx.restore();
    },
  };

  // Figures over time: the newest samples are in the attribute of #now, which renews itself.
  document.querySelectorAll("[data-figure]").forEach((box) => {
    const series = JSON.parse(box.dataset.series);
    mount(box, () => {
      const samples = JSON.parse(now().dataset.samples);
      const points = samples[box.dataset.figure];
      const last = samples.time.at(-1) ?? Date.now() / 1000;
      return {
        type: "line",
        plugins: [quiet],
        data: {
          datasets: series.map((name, number) => ({
            label: name,
            data: samples.time.map((x, at) => ({ x, y: points[number][at] })),
            borderColor: css(`--s${number}`),
            backgroundColor: css(`--s${number}`),
            borderWidth: 2,
            pointRadius: samples.time.length > 2 ? 0 : 3,
            pointHitRadius: 8,
            tension: 0.15,
          })),
        },
        options: options({
          interaction: { mode: "index", intersect: false },
          scales: {
            x: axis("", { type: "linear", min: last - MINUTES, max: last, grid: { display: false } }, { callback: (at) => clock(at).slice(0, 5), stepSize: 60, maxTicksLimit: 7, maxRotation: 0, includeBounds: false }),
            y: axis("", { beginAtZero: true, suggestedMax: 1, grace: "8%" }, { maxTicksLimit: 5 }),
          },
          tooltip: {
            callbacks: {
              title: (at) => (at.length ? clock(at[0].parsed.x) : ""),
              label: (at) => `${series.length > 1 ? `${at.dataset.label}: ` : ""}${Number(at.parsed.y.toPrecision(3))} ${box.dataset.unit}`,
            },
          },
        }),
      };
    });
  });
  document.body.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id === "now") all();
  });
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.id === "now" && document.hidden) event.preventDefault(); // nobody looks
  });

  // Metrics of a model with their intervals.
  document.querySelectorAll("[data-bars]").forEach((box) => {
    const bars = JSON.parse(box.dataset.bars);
    mount(box, () => {
      box.style.height = `${38 * bars.length + 44}px`;
      return {
        type: "bar",
        plugins: [whiskers],
        data: {
          labels: bars.map((bar) => bar.name),
          datasets: [{ data: bars.map((bar) => bar.value), intervals: bars.map((bar) => bar.interval), written: true, backgroundColor: css("--s0"), borderRadius: 3, maxBarThickness: 20 }],
        },
        options: options({
          indexAxis: "y",
          scales: {
            x: axis("", { beginAtZero: true, suggestedMax: Math.max(...bars.map((bar) => (bar.interval || [0, bar.value])[1])) * (narrow() ? 1.35 : 1.15) }),
            y: axis("", { grid: { display: false } }, { color: css("--ink"), font: { size: 13 } }),
          },
          tooltip: { callbacks: { label: (at) => decimals(at.parsed.x) } },
        }),
      };
    });
  });
})();
