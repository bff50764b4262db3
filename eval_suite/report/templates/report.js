"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  // Filter: a chip hides everything that belongs to its backbone.
  for (const box of document.querySelectorAll("[data-toggle]")) {
    const apply = () => {
      for (const item of document.querySelectorAll(`[data-b="${box.dataset.toggle}"]`)) {
        item.classList.toggle("off", !box.checked);
      }
    };
    box.addEventListener("change", apply);
    if (!box.checked) apply();
  }

  // Sort: a click on a head sorts ascending, then descending; cells without a number stay last.
  const key = (row, column) => {
    const cell = row.cells[column];
    const value = cell && cell.dataset.value;
    if (value !== undefined) return Number(value);
    return cell && cell.tagName === "TH" ? cell.textContent.trim() : null;
  };
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  };
  for (const table of document.querySelectorAll("table[data-sort]")) {
    const groups = table.dataset.sort === "groups";
    for (const head of table.querySelectorAll("th[data-col]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "Sort by this column";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const ascending = head.getAttribute("aria-sort") !== "ascending";
        for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        const parent = groups ? table : table.tBodies[0];
        const items = [...(groups ? table.tBodies : parent.rows)];
        const column = Number(head.dataset.col);
        const keyed = items.map((item) => [key(groups ? item.rows[0] : item, column), item]);
        keyed.sort((a, b) => compare(a[0], b[0], ascending ? 1 : -1));
        parent.append(...keyed.map((pair) => pair[1]));
      });
    }
  }
})();
