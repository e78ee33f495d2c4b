"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const { all, axis, css, decimals, mount, narrow, options, whiskers } = Charts;
  const { bar, choice, colour, dash, groups, interval, legend, line } = Models;

  function bars(root, panel) {
    const select = root.querySelector("[data-metric]");
    const meaning = root.querySelector("[data-meaning]");
    const draw = mount(root.querySelector('[data-chart="bars"]'), (box) => {
      const estimates = panel.models.map((model) => model.metrics[select.value] || null);
      const top = Math.max(...estimates.map((e) => (e ? e.high : 0)));
      meaning.textContent = panel.meanings[select.value] || "";
      box.style.height = `${46 * panel.models.length + 44}px`;
      return {
        type: "bar",
        plugins: [whiskers],
        data: {
          labels: panel.models.map((model) => model.label),
          datasets: [{
            data: estimates.map((e) => e && e.value),
            intervals: estimates.map((e) => e && [e.low, e.high]),
            written: true,
            backgroundColor: panel.models.map(colour),
            borderRadius: 3,
            maxBarThickness: 24,
          }],
        },
        options: options({
          indexAxis: "y",
          scales: {
            x: axis("", { beginAtZero: true, suggestedMax: top * (narrow() ? 1.35 : 1.15) }),
            y: axis("", { grid: { display: false } }, { color: css("--ink"), font: { size: 13 } }),
          },
          tooltip: { callbacks: { label: (at) => interval(estimates[at.dataIndex]) } },
        }),
      };
    });
    select.addEventListener("change", draw);
  }

  // A curve a model over seconds or epochs: `points` gives a model's, `key` names the chart and its legend.
  function curves(root, panel, key, points, vertical) {
    const figure = root.querySelector(`[data-curve="${key}"]`);
    if (!figure) return;
    const hidden = new Set();
    let unit = "seconds";
    const draw = mount(figure.querySelector(".canvas"), () => {
      const last = Math.max(...panel.models.flatMap((model) => points(model).map((point) => point[unit])), 1e-9);
      const datasets = panel.models.map((model, number) => {
        const found = points(model).map((point) => ({ x: point[unit], y: point.value, kept: point.kept }));
        const looks = {
          pointRadius: found.map((point) => (point.kept ? 6 : 2)),
          pointBackgroundColor: found.map((point) => (point.kept ? css("--card") : colour(model))),
          pointBorderWidth: found.map((point) => (point.kept ? 2.5 : 0)),
        };
        const single = model.fitted && found.length === 1;
        return single
          ? line(model, number, hidden, [{ x: 0, y: found[0].y }, { x: last, y: found[0].y }], { borderDash: [6, 5], pointRadius: 0 })
          : line(model, number, hidden, found, { ...looks, tension: 0.2 });
      });
      return {
        type: "line",
        data: { datasets },
        options: options({
          interaction: { mode: "nearest", intersect: false },
          scales: {
            x: axis(unit === "seconds" ? "Seconds of training" : "Epochs", { type: "linear", min: 0, max: last }, { includeBounds: false }),
            y: axis("", vertical),
          },
          tooltip: {
            callbacks: {
              title: (at) => (at.length ? (unit === "seconds" ? `${at[0].parsed.x.toFixed(1)} s` : `epoch ${Number(at[0].parsed.x.toFixed(2))}`) : ""),
              label: (at) => `${at.dataset.label}: ${decimals(at.parsed.y)}`,
            },
          },
        }),
      };
    });
    legend(figure, key, hidden, draw);
    choice(figure, "axis", (chosen) => {
      unit = chosen;
      draw();
    });
  }

  function calibration(root, panel) {
    root.querySelectorAll('[data-chart="calibration"]').forEach((box) => {
      const curve = panel.calibration[Number(box.dataset.calibration)];
      const hidden = new Set();
      const every = curve.points.flat().flatMap((point) => [point.predicted, point.observed]);
      const [low, high] = [Math.floor(Math.min(...every) * 10) / 10, Math.ceil(Math.max(...every) * 10) / 10];
      const points = (number) => curve.points[number].map((point) => ({ x: point.predicted, y: point.observed, pairs: point.pairs }));
      const draw = mount(box, () => ({
        type: "line",
        data: {
          datasets: [
            ...panel.models.map((model, number) => line(model, number, hidden, points(number), { pointRadius: 4 })),
            { data: [{ x: low, y: low }, { x: high, y: high }], borderColor: css("--soft"), borderWidth: 1.5, borderDash: [6, 5], pointRadius: 0, pointHitRadius: 0 },
          ],
        },
        options: options({
          interaction: { mode: "nearest", intersect: false },
          scales: {
            x: axis("Predicted", { type: "linear", min: low, max: high }),
            y: axis("Observed", { min: low, max: high }),
          },
          tooltip: {
            filter: (at) => at.datasetIndex < panel.models.length,
            callbacks: {
              title: () => "",
              label: (at) => `${at.dataset.label}: predicted ${decimals(at.parsed.x)}, observed ${decimals(at.parsed.y)} (${at.raw.pairs.toLocaleString("en")} ${curve.unit.toLowerCase()})`,
            },
          },
        }),
      }));
      legend(root, `calibration-${curve.key}`, hidden, draw);
    });
  }

  function slices(root, panel) {
    root.querySelectorAll('[data-chart="slice"]').forEach((box) => {
      const slice = panel.slices[Number(box.dataset.slice)];
      const hidden = new Set();
      const draw = mount(box, () => {
        const shown = panel.models.length - hidden.size;
        box.style.height = narrow() ? `${slice.buckets.length * (shown * 13 + 22) + 40}px` : "";
        const highest = Math.max(...slice.buckets.flatMap((bucket) => bucket.estimates.map((e, number) => (e && !hidden.has(number) ? e.high : 0))));
        const estimates = (number) => slice.buckets.map((bucket) => bucket.estimates[number]);
        const datasets = panel.models.map((model, number) =>
          bar(model, number, hidden, estimates(number).map((e) => e && e.value), { intervals: estimates(number).map((e) => e && [e.low, e.high]) }));
        const made = groups(
          axis("", { grid: { display: false } }, { color: css("--ink"), autoSkip: false }),
          axis("", { beginAtZero: true, suggestedMax: highest * 1.03 }),
          slice.buckets.map((bucket) => [bucket.label, `${bucket.requests.toLocaleString("en")} req.`]),
          datasets,
          { callbacks: { label: (at) => `${at.dataset.label}: ${interval(slice.buckets[at.dataIndex].estimates[at.datasetIndex])}` } },
        );
        return { ...made, plugins: [whiskers] };
      });
      legend(root, slice.key, hidden, draw);
    });
  }

  function copying(root) {
    root.querySelectorAll("[data-copy]").forEach((button) => {
      button.addEventListener("click", async () => {
        const text = button.parentElement.querySelector("code").textContent;
        try {
          await navigator.clipboard.writeText(text);
          button.textContent = "Copied";
        } catch {
          getSelection().selectAllChildren(button.parentElement.querySelector("code"));
          button.textContent = "Selected";
        }
      });
    });
  }

  function pairs(root) {
    const select = root.querySelector("[data-pairs]");
    if (!select) return;
    const show = () => root.querySelectorAll("[data-pair]").forEach((group) => group.classList.toggle("aside", group.dataset.pair !== select.value));
    select.addEventListener("change", show);
    show();
  }

  document.querySelectorAll("[data-panel]").forEach((root) => {
    const panel = data.panels[Number(root.dataset.panel)];
    bars(root, panel);
    calibration(root, panel);
    curves(root, panel, "curves", (model) => model.curve, { beginAtZero: true, grace: "8%" });
    curves(root, panel, "losses", (model) => model.losses, { grace: "8%" });
    slices(root, panel);
    Pareto.draw(root, panel);
    RankCharts.draw(root, panel);
    pairs(root);
    copying(root);
  });

  window.addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((part) => { part.open = true; });
    document.documentElement.dataset.light = ""; // paper is white, whatever the screen is
    all();
  });
  window.addEventListener("afterprint", () => {
    delete document.documentElement.dataset.light;
    all();
  });
})();
