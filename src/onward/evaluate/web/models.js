"use strict";
// What the report's charts of several models share: colours, dashes, legends that switch models off, groups of buttons.
const Models = (() => {
  const colour = (model) => Charts.css(`--s${model.series}`);
  const DASHES = [[], [7, 4], [2, 3]]; // a ninth model has the first one's colour, dashed
  const dash = (number) => DASHES[Math.floor(number / 8) % DASHES.length];
  const interval = (e) => `${Charts.decimals(e.value)}  (${Charts.decimals(e.low)} – ${Charts.decimals(e.high)})`;

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

  return { choice, colour, dash, interval, legend };
})();
