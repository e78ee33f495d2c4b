"use strict";
// Quality against cost: a point a model, its name beside it, and the line of those that no other model beats.
const Pareto = (() => {
  const { axis, css, mount, options } = Charts;
  const { colour, interval, legend } = Models;
  const SPREAD = 15; // from this ratio of the largest to the smallest cost on, the axis is logarithmic
  const HEIGHT = 16;

  const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

  // Names beside their points, each where no point and no other name is, if there is such a place.
  const names = {
    id: "names",
    afterDatasetsDraw(chart) {
      const { ctx, chartArea } = chart;
      const points = chart.getDatasetMeta(0).data;
      const taken = points.map((point) => ({ left: point.x - 8, right: point.x + 8, top: point.y - 8, bottom: point.y + 8 }));
      ctx.save();
      ctx.font = `13px ${getComputedStyle(document.body).fontFamily}`;
      ctx.textBaseline = "middle";
      ctx.fillStyle = css("--ink");
      ctx.strokeStyle = css("--card");
      ctx.lineWidth = 3;
      chart.data.datasets[0].data.forEach((model, number) => {
        const { x, y } = points[number];
        const width = ctx.measureText(model.label).width;
        const places = [[12, 0], [-12 - width, 0], [-width / 2, -18], [-width / 2, 18], [12, -16], [12, 16], [-12 - width, -16], [-12 - width, 16], [12, -30], [12, 30]];
        const boxes = places.map(([dx, dy]) => ({ left: x + dx, right: x + dx + width, top: y + dy - HEIGHT / 2, bottom: y + dy + HEIGHT / 2 }));
        const inside = (box) => box.left >= chartArea.left && box.right <= chart.width && box.top >= 0 && box.bottom <= chartArea.bottom;
        const own = taken[number];
        const free = (box) => !taken.some((other) => other !== own && overlap(box, other));
        const box = boxes.find((one) => inside(one) && free(one)) || boxes.find(inside) || boxes[0];
        taken.push(box);
        ctx.strokeText(model.label, box.left, box.top + HEIGHT / 2);
        ctx.fillText(model.label, box.left, box.top + HEIGHT / 2);
      });
      ctx.restore();
    },
  };

  const spans = {
    id: "spans",
    beforeDatasetsDraw(chart) {
      const { ctx } = chart;
      const scale = chart.scales.y;
      ctx.save();
      ctx.lineWidth = 1.5;
      chart.data.datasets[0].data.forEach((model, number) => {
        const { x } = chart.getDatasetMeta(0).data[number];
        const [low, high] = [model.estimate.low, model.estimate.high].map((end) => scale.getPixelForValue(end));
        ctx.strokeStyle = model.colour;
        ctx.globalAlpha = 0.55;
        ctx.beginPath();
        for (const [from, to] of [[[0, low], [0, high]], [[-4, low], [4, low]], [[-4, high], [4, high]]]) {
          ctx.moveTo(x + from[0], from[1]);
          ctx.lineTo(x + to[0], to[1]);
        }
        ctx.stroke();
      });
      ctx.restore();
    },
  };

  const plain = (value) => (value >= 100 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3))));
  const beats = (a, b, sign) => a.cost <= b.cost && sign * a.y >= sign * b.y && (a.cost < b.cost || sign * a.y > sign * b.y);

  function draw(root, panel) {
    const box = root.querySelector('[data-chart="pareto"]');
    if (!box) return;
    const select = root.querySelector("[data-cost]");
    const hidden = new Set();
    const again = mount(box, () => {
      const key = select.value;
      const title = select.selectedOptions[0].textContent;
      const sign = panel.lower ? -1 : 1;
      const known = panel.models
        .map((model, number) => ({ label: model.label, number, cost: panel.costs.models[number][key], estimate: model.metrics[panel.main], colour: colour(model) }))
        .filter((one) => one.cost !== null && one.estimate && !hidden.has(one.number));
      const positive = known.map((one) => one.cost).filter((cost) => cost > 0);
      const logarithmic = positive.length > 1 && Math.max(...positive) > SPREAD * Math.min(...positive);
      const floor = positive.length ? Math.min(...positive) / 2 : 1;
      const points = known.map((one) => ({ ...one, x: logarithmic ? Math.max(one.cost, floor) : one.cost, y: one.estimate.value }));
      const best = points.filter((one) => !points.some((other) => beats(other, one, sign))).sort((a, b) => a.x - b.x);
      const last = Math.max(...points.map((one) => one.x));
      const line = best.length ? [...best.map(({ x, y }) => ({ x, y })), { x: last, y: best[best.length - 1].y }] : [];
      const costs = logarithmic
        ? axis(title, { type: "logarithmic", min: floor / 1.3, max: last * 2 }, { callback: (value) => (/^[125]$/.test(String(Number(value.toPrecision(6))).replace(/^0\.0*|0+$/g, "")) ? plain(value) : null), maxRotation: 0, autoSkipPadding: 18 })
        : axis(title, { type: "linear", beginAtZero: true, grace: "12%" }, { maxRotation: 0, callback: plain });
      return {
        type: "scatter",
        plugins: [spans, names],
        data: {
          datasets: [
            {
              data: points,
              pointRadius: 7,
              pointHoverRadius: 8,
              pointBorderWidth: 2.5,
              pointBorderColor: points.map((one) => one.colour),
              pointBackgroundColor: points.map((one) => (best.includes(one) ? one.colour : css("--card"))),
            },
            { type: "line", data: line, stepped: "before", borderColor: css("--soft"), borderWidth: 1.5, borderDash: [6, 5], pointRadius: 0, pointHitRadius: 0 },
          ],
        },
        options: options({
          layout: { padding: { top: 12, right: 12 } },
          interaction: { mode: "nearest", intersect: false },
          scales: { x: costs, y: axis("", { suggestedMin: Math.min(...points.map((one) => one.estimate.low)), suggestedMax: Math.max(...points.map((one) => one.estimate.high)), grace: "10%" }) },
          tooltip: {
            filter: (at) => at.datasetIndex === 0,
            callbacks: {
              title: (at) => (at.length ? at[0].raw.label : ""),
              label: (at) => [interval(at.raw.estimate), `${title}: ${plain(at.raw.cost)}`],
            },
          },
        }),
      };
    });
    legend(root, "pareto", hidden, again);
    select.addEventListener("change", again);
  }

  return { draw };
})();
