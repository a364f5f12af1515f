"use strict";
// Everything is readable without this: it adds the choice of light or dark, sorting and filtering.
(() => {
  const root = document.documentElement;
  const themes = ["auto", "light", "dark"];
  const button = document.querySelector(".theme");
  const stored = () => { try { return localStorage.getItem("ktstr-theme"); } catch { return null; } };
  const store = (theme) => { try { localStorage.setItem("ktstr-theme", theme); } catch { /* private window */ } };
  const choose = (theme) => {
    root.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
  };
  choose(themes.includes(stored()) ? stored() : "auto");
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length];
    choose(next);
    store(next);
  });

  const collator = new Intl.Collator(undefined, { numeric: true });
  const key = (row, column) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "") || 0;
    const x = Number(a), y = Number(b);
    return Number.isNaN(x) || Number.isNaN(y) ? collator.compare(a, b) : x - y;
  };
  const sort = (table, column, direction) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, key: key(row, column) }));
    // What was not measured is last, whichever way the rest is sorted.
    rows.sort((a, b) => (a.key === "" || b.key === "" ? compare(a.key, b.key) : direction * compare(a.key, b.key)));
    body.append(...rows.map(({ row }) => row));
    [...table.tHead.rows[0].cells].forEach((th, at) => {
      if (at === column) th.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else th.removeAttribute("aria-sort");
    });
  };
  for (const table of document.querySelectorAll("table.rows")) {
    [...table.tHead.rows[0].cells].forEach((th, column) => {
      const control = document.createElement("button");
      control.type = "button";
      control.append(...th.childNodes);
      th.append(control);
      control.addEventListener("click", () => sort(table, column, th.getAttribute("aria-sort") === "ascending" ? -1 : 1));
    });
  }

  for (const form of document.querySelectorAll(".filters")) {
    const table = document.getElementById(form.dataset.table);
    const [text, verdict, count] = ["input", "select", "output"].map((name) => form.querySelector(name));
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: row.textContent.toLowerCase() }));
    const filter = () => {
      const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const { row, text: all } of rows) {
        const fits = (!verdict.value || row.dataset.verdict === verdict.value) && words.every((word) => all.includes(word));
        row.hidden = !fits;
        shown += fits;
      }
      count.textContent = `${shown} of ${rows.length} shown`;
    };
    form.hidden = false;
    text.addEventListener("input", filter);
    verdict.addEventListener("change", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    filter();
    // A link to a row that is filtered out has to lead somewhere.
    window.addEventListener("hashchange", () => {
      const target = document.getElementById(location.hash.slice(1));
      if (target?.hidden) {
        text.value = verdict.value = "";
        filter();
        target.scrollIntoView();
      }
    });
  }
})();
