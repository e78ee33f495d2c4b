"use strict";
// What the report's charts of several models share: colours, dashes, bars and lines, legends that switch models off,
// groups of buttons.
const Models = (() => {
  const colour = (model) => Charts.css(`--s${model.series}`);
  const DASHES = [[], [7, 4], [2, 3]]; // a ninth model has the first one's colour, dashed
  const dash = (number) => DASHES[Math.floor(number / 8) % DASHES.length];
  const interval = (e) => `${Charts.decimals(e.value)}  (${Charts.decimals(e.low)} – ${Charts.decimals(e.high)})`;

  // A model's data as a line, or as a bar in each group; both are gone while the legend hides the model.
  const set = (model, number, hidden, data, more) => ({
    label: model.label,
    data,
    hidden: hidden.has(number),
    backgroundColor: colour(model),
    ...more,
  });
  const line = (model, number, hidden, data, more = {}) =>
    set(model, number, hidden, data, {
      borderColor: colour(model),
      borderWidth: 2,
      borderDash: dash(number),
      clip: 10, // a point or a line at the edge is drawn whole
      ...more,
    });
  const bar = (model, number, hidden, data, more = {}) =>
    set(model, number, hidden, data, {
      borderRadius: 2,
      maxBarThickness: 26,
      categoryPercentage: 0.82,
      barPercentage: 0.92,
      ...more,
    });

  // Groups of bars side by side, one above the other on a narrow screen; `names` and `values` are the axes.
  function groups(names, values, labels, datasets, tooltip) {
    const flat = Charts.narrow();
    return {
      type: "bar",
      data: { labels, datasets },
      options: Charts.options({
        indexAxis: flat ? "y" : "x",
        scales: flat ? { x: values, y: names } : { x: names, y: values },
        tooltip,
      }),
    };
  }

  function legend(root, key, hidden, draw) {
    root.querySelectorAll(`[data-legend="${key}"] button`).forEach((button) => {
      button.addEventListener("click", () => {
        const model = Number(button.dataset.model);
        if (!hidden.delete(model)) hidden.add(model);
        button.setAttribute("aria-pressed", String(!hidden.has(model)));
        draw();
      });
    });
  }

  // Buttons of which one is pressed; `chosen` gets its value.
  function choice(root, key, chosen) {
    const buttons = [...root.querySelectorAll(`[data-${key}]`)];
    buttons.forEach((button) => {
      button.addEventListener("click", () => {
        buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        chosen(button.dataset[key]);
      });
    });
  }

  return { bar, choice, colour, dash, groups, interval, legend, line };
})();
