"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  // Filter: a chip hides everything that belongs to its backbone, whole columns of tables included.
  const boxes = [...document.querySelectorAll("[data-toggle]")];
  const tables = [...document.querySelectorAll("table:has(thead th[data-b])")];
  const profiles = [...document.querySelectorAll(".profile td svg")];
  const filter = (changed) => {
    const shown = boxes.filter((box) => box.checked).length;
    const off = new Map(changed.map((box) => [box.dataset.toggle, !box.checked]));
    for (const item of document.querySelectorAll("[data-b]")) {
      if (off.has(item.dataset.b)) item.classList.toggle("off", off.get(item.dataset.b));
    }
    for (const table of tables) {
      const heads = [...table.tHead.rows[0].cells];
      const columns = heads.filter((head) => off.has(head.dataset.b)).map((head) => [head.cellIndex, off.get(head.dataset.b)]);
      for (const row of table.rows) {
        if (row.cells.length !== heads.length) continue;
        for (const [column, hidden] of columns) row.cells[column].classList.toggle("off", hidden);
      }
      table.style.setProperty("--backbones", shown);
      for (const head of table.querySelectorAll("th[colspan]")) head.colSpan = 1 + shown;
    }
    for (const drawing of profiles) {
      const marks = [...drawing.querySelectorAll("g:not(.off)")];
      marks.forEach((mark, place) => mark.setAttribute("transform", `translate(0 ${13 * place + 8})`));
      drawing.setAttribute("height", 13 * marks.length + 3);
    }
    const count = document.querySelector(".count");
    if (count) count.textContent = `${shown} of ${boxes.length} are shown`;
  };
  for (const box of boxes) box.addEventListener("change", () => filter([box]));
  if (boxes.length) filter(boxes.filter((box) => !box.checked));

  // Search: of many backbones those whose names hold what is typed, to be shown or hidden together.
  const search = document.querySelector(".find input");
  if (search) {
    search.addEventListener("input", () => {
      const wanted = search.value.trim().toLowerCase();
      for (const box of boxes) box.parentElement.hidden = !box.parentElement.textContent.toLowerCase().includes(wanted);
    });
    for (const button of document.querySelectorAll(".find button")) {
      button.addEventListener("click", () => {
        filter(boxes.filter((box) => {
          const before = box.checked, matches = !box.parentElement.hidden;
          if (button.value === "only") box.checked = matches;
          else if (matches) box.checked = button.value === "show";
          return box.checked !== before;
        }));
      });
    }
  }

  // Sort: a click on a head sorts ascending, then descending; cells without a number stay last.
  const key = (row, column) => {
    const cell = row.cells[column];
    if (!cell || cell.tagName === "TH") return cell && cell.textContent.trim();
    const number = Number.parseFloat(cell.dataset.value ?? cell.textContent.trim().replace("\u2212", "-"));
    return Number.isNaN(number) ? null : number;
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
