"use strict";
// Sort and filter the table, and open the target of a link. The page is readable without scripts.
{
  const table = document.querySelector("table.runs:not(.seeds)");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const filter = document.getElementById("filter");
  const count = document.getElementById("count");

  // "95.83 ± 0.32", "mse 0.35", "1,000", "0.6 min" are numbers; "5w1s" and "85f9a626" are not.
  const number = (text) =>
    /^(mse )?-?[\d.,]+( |$)/.test(text) ? parseFloat(text.replace("mse ", "").replaceAll(",", "")) : NaN;
  const cell = (row, column) => row.cells[column].textContent.trim();

  function sort(column) {
    const rows = [...body.rows];
    const known = rows.map((row) => cell(row, column)).filter((text) => text !== "–");
    const numeric = known.every((text) => !Number.isNaN(number(text)));
    const before = heads[column].getAttribute("aria-sort");
    const down = before ? before === "ascending" : numeric; // numbers start with the largest
    const compare = numeric
      ? (one, other) => number(one) - number(other)
      : (one, other) => one.localeCompare(other, "en", { numeric: true });
    rows.sort((a, b) => {
      const [one, other] = [cell(a, column), cell(b, column)];
      if (one === "–" || other === "–") return (one === "–") - (other === "–"); // unknown values come last
      return (down ? -1 : 1) * compare(one, other);
    });
    body.append(...rows);
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
  }

  function show() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      for (const run of row.dataset.run.split(" ")) document.getElementById(run).hidden = row.hidden;
      shown += !row.hidden;
    }
    count.textContent = words.length ? `${shown} of ${body.rows.length}` : "";
  }

  function open() {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) {
      target.open = true;
      target.scrollIntoView();
    }
  }

  heads.forEach((head, column) => head.addEventListener("click", () => sort(column)));
  filter.addEventListener("input", show);
  window.addEventListener("hashchange", open);
  show(); // browsers restore the filter when going back
  open();
}
