"use strict";
// Where the targets stand: bars by band of ranks, or lines of the share within the first k.
const RankCharts = (() => {
  const { axis, css, mount, narrow, options } = Charts;
  const { bar, choice, groups, legend, line } = Models;
  const percent = (share) => `${(100 * share).toFixed(1)}%`;

  function bands(box, panel, hidden) {
    const shown = panel.models.length - hidden.size;
    box.style.height = narrow() ? `${panel.ranks.bands.length * (shown * 11 + 14) + 40}px` : "";
    return groups(
      axis(narrow() ? "" : "Rank", { grid: { display: false } }, { color: css("--ink"), autoSkip: false }),
      axis("", { beginAtZero: true }, { callback: (share) => `${Math.round(100 * share)}%` }),
      panel.ranks.bands.map((band) => band.label),
      panel.models.map((model, number) => bar(model, number, hidden, panel.ranks.bands.map((band) => band.shares[number]))),
      { callbacks: { label: (at) => `${at.dataset.label}: ${percent(at.raw)}` } },
    );
  }

  function within(box, panel, hidden) {
    box.style.height = "";
    const last = panel.ranks.ks[panel.ranks.ks.length - 1];
    const points = (number) => panel.ranks.ks.map((k, place) => ({ x: k, y: panel.ranks.within[number][place] }));
    return {
      type: "line",
      data: { datasets: panel.models.map((model, number) => line(model, number, hidden, points(number), { pointRadius: 0, pointHoverRadius: 4 })) },
      options: options({
        interaction: { mode: "index", axis: "x", intersect: false },
        scales: {
          x: axis("k", { type: "logarithmic", min: 1, max: last }, { callback: (k) => (/^[125]0*$/.test(String(k)) ? k.toLocaleString("en") : null), maxRotation: 0 }),
          y: axis("", { min: 0, max: 1 }, { callback: (share) => `${Math.round(100 * share)}%` }),
        },
        tooltip: {
          callbacks: {
            title: (at) => (at.length ? `within the first ${at[0].parsed.x.toLocaleString("en")}` : ""),
            label: (at) => `${at.dataset.label}: ${percent(at.parsed.y)}`,
          },
        },
      }),
    };
  }

  function draw(root, panel) {
    const box = root.querySelector('[data-chart="ranks"]');
    if (!box) return;
    const hidden = new Set();
    let view = "bands";
    const again = mount(box, () => (view === "bands" ? bands : within)(box, panel, hidden));
    legend(root, "ranks", hidden, again);
    choice(root, "view", (chosen) => {
      view = chosen;
      again();
    });
  }

  return { draw };
})();
