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
  for (const table of document.querySelectorAll("table[data-sort=rows]")) {
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
        const parent = table.tBodies[0];
        const column = Number(head.dataset.col);
        const keyed = [...parent.rows].map((row) => [key(row, column), row]);
        keyed.sort((a, b) => compare(a[0], b[0], ascending ? 1 : -1));
        parent.append(...keyed.map((pair) => pair[1]));
      });
    }
  }

  // Columns of backbones: a click on a metric orders them by it, in the whole table.
  for (const table of document.querySelectorAll("table[data-sort=columns]")) {
    const width = table.tHead.rows[0].cells.length;
    if (width < 3) continue;
    for (const head of table.querySelectorAll("th[data-row]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "Order the backbones by this metric";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const ascending = head.getAttribute("aria-sort") !== "ascending";
        for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        const row = head.parentElement;
        const order = [...row.cells].slice(1).map((cell, column) => [key(row, column + 1), column + 1]);
        order.sort((a, b) => compare(a[0], b[0], ascending ? 1 : -1));
        for (const each of table.rows) {
          const cells = [...each.cells];
          if (cells.length === width) each.append(...order.map((pair) => cells[pair[1]]));
        }
      });
    }
  }

  // Contents: the section in view is marked.
  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      const current = links.get(entry.target.getAttribute("aria-labelledby"));
      if (current) current.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  for (const section of document.querySelectorAll("main section[aria-labelledby]")) watcher.observe(section);
})();
