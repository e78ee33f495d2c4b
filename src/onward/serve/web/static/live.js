"use strict";
(() => {
  const alertBox = document.getElementById("alert");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  function unreachable() {
    alertBox.replaceChildren(document.getElementById("unreachable").content.cloneNode(true));
    alertBox.scrollIntoView({ block: "nearest" });
  }

  // What the server said in place of a fragment: problem+json from before the page was reached.
  function explain(text) {
    let problem;
    try {
      problem = JSON.parse(text);
    } catch {
      return unreachable();
    }
    unreachable();
    alertBox.querySelector(".what").textContent = problem.title || "The server refused this";
    const [detail, advice] = alertBox.querySelectorAll("p:not(.what)");
    detail.textContent = problem.detail || "";
    advice.textContent = problem.hint || "";
  }

  document.body.addEventListener("htmx:sendError", unreachable);
  document.body.addEventListener("htmx:timeout", unreachable);
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr } = event.detail;
    if (!(xhr.getResponseHeader("Content-Type") || "").startsWith("text/html")) {
      event.detail.shouldSwap = false;
      explain(xhr.responseText);
    } else if (xhr.status < 400) {
      alertBox.replaceChildren();
    }
  });

  // Rows glide from where they were: positions are taken before a swap and played back after it.
  let places = null;
  const rows = () => document.querySelectorAll("#try [data-item]");
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id !== "try" || calm.matches) return;
    places = new Map([...rows()].map((row) => [row.dataset.item, row.getBoundingClientRect().top]));
  });
  document.body.addEventListener("htmx:afterSwap", () => {
    if (!places) return;
    for (const row of rows()) {
      const before = places.get(row.dataset.item);
      const shift = before === undefined ? 0 : before - row.getBoundingClientRect().top;
      const from = before === undefined ? { opacity: 0, transform: "translateX(14px)" } : { transform: `translateY(${shift}px)` };
      if (before === undefined || shift) row.animate([from, { opacity: 1, transform: "none" }], { duration: 320, easing: "cubic-bezier(.2,.7,.2,1)" });
    }
    places = null;
  });
})();
