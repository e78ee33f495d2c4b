"use strict";
// What the report and the server's live page share: the looks of a chart, and drawing it anew.
const Charts = (() => {
  const redraw = []; // one function a chart: draws it anew with the colours and the width of now
  const narrow = () => window.innerWidth < 640;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const decimals = (value) => (value === null || value === undefined ? "–" : value.toFixed(4));
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;

  // Interval whiskers, and the value written beside it where there is room for one.
  const whiskers = {
    id: "whiskers",
    afterDatasetsDraw(chart) {
      const { ctx } = chart;
      const flat = chart.options.indexAxis === "y";
      const scale = chart.scales[flat ? "x" : "y"];
      ctx.save();
      ctx.lineWidth = 1.5;
      ctx.strokeStyle = css("--ink");
      ctx.fillStyle = css("--ink");
      ctx.font = `12px ${getComputedStyle(document.body).fontFamily}`;
      ctx.textBaseline = "middle";
      chart.data.datasets.forEach((set, number) => {
        if (!set.intervals || !chart.isDatasetVisible(number)) return;
        chart.getDatasetMeta(number).data.forEach((bar, index) => {
          const interval = set.intervals[index];
          if (!interval) return;
          const [low, high] = interval.map((end) => scale.getPixelForValue(end));
          const middle = flat ? bar.y : bar.x;
          const cap = Math.min(5, (flat ? bar.height : bar.width) / 3);
          ctx.beginPath();
          for (const [from, to] of [[[low, 0], [high, 0]], [[low, -cap], [low, cap]], [[high, -cap], [high, cap]]]) {
            const start = flat ? [from[0], middle + from[1]] : [middle + from[1], from[0]];
            const stop = flat ? [to[0], middle + to[1]] : [middle + to[1], to[0]];
            ctx.moveTo(...start);
            ctx.lineTo(...stop);
          }
          ctx.stroke();
          if (set.written) ctx.fillText(decimals(set.data[index]), high + 8, middle);
        });
      });
      ctx.restore();
    },
  };

  const axis = (title, extra = {}, ticks = {}) => ({
    border: { color: css("--line") },
    grid: { color: css("--line") },
    title: { display: Boolean(title), text: title, color: css("--soft"), font: { size: 12 } },
    ...extra,
    ticks: { color: css("--soft"), font: { size: 12 }, ...ticks },
  });

  const options = (extra) => ({
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    ...extra,
    plugins: {
      legend: { display: false },
      tooltip: { backgroundColor: css("--ink"), titleColor: css("--card"), bodyColor: css("--card"), padding: 10, ...extra.tooltip },
    },
  });

  // Keep one Chart on a canvas: `make` gives its configuration, again after each change of theme or width.
  function mount(box, make) {
    const canvas = box.querySelector("canvas");
    let chart = null;
    const draw = () => {
      if (chart) chart.destroy();
      const made = make(box);
      chart = new Chart(canvas, made);
    };
    redraw.push(draw);
    draw();
    return draw;
  }

  const all = () => redraw.forEach((draw) => draw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  matchMedia("(max-width: 639px)").addEventListener("change", all);

  return { all, axis, css, decimals, mount, narrow, options, whiskers };
})();
