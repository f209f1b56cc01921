// Sort and filter the table, choose its columns, and open the target of a link. The page is readable without scripts.
{
  const table = document.querySelector("table.runs:not(.seeds)");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const filter = document.getElementById("filter");
  const count = document.getElementById("count");
  const off = new Set(); // columns and charts that are not chosen

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

  // What a row is found by: its cells, and the ids and folders of its runs.
  const runsOf = (row) => row.dataset.run.split(" ").map((run) => document.getElementById(run));
  const texts = new Map();
  function textOf(row) {
    if (!texts.has(row)) {
      const runs = runsOf(row).map((run) => run.querySelector("code").textContent);
      texts.set(row, [row.textContent, ...runs].join(" ").toLowerCase());
    }
    return texts.get(row);
  }

  function update() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hidden = new Set();
    for (const row of body.rows) {
      row.hidden = !words.every((word) => textOf(row).includes(word));
      for (const run of runsOf(row)) run.hidden = row.hidden;
      if (row.hidden) hidden.add(row.dataset.row);
    }
    count.textContent = words.length ? `${body.rows.length - hidden.size} of ${body.rows.length}` : "";
    document.getElementById("filtered").hidden = !hidden.size;
    showInCharts(hidden, off);
  }

  // A rule hides a column of both tables: much faster than a change of each cell.
  const rules = document.head.appendChild(document.createElement("style"));
  function choose(name, chosen) {
    if (chosen) off.delete(name);
    else off.add(name);
    const gone = [];
    for (const each of document.querySelectorAll("table.runs"))
      [...each.tHead.rows[0].cells].forEach((head, i) => {
        const kind = each.classList.contains("seeds") ? ".seeds" : ":not(.seeds)";
        if (off.has(head.textContent)) gone.push(`table.runs${kind} tr > :nth-child(${i + 1})`);
      });
    rules.textContent = gone.length ? `${gone.join(", ")} { display: none }` : "";
    update();
  }

  const boxes = document.getElementById("columns");
  const columns = heads.slice(1).map((head) => head.textContent);
  const charts = [...document.querySelectorAll("figure[data-of]")].map((figure) => figure.dataset.of);
  for (const name of new Set([...columns, ...charts])) {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    box.addEventListener("change", () => choose(name, box.checked));
    label.append(box, name);
    boxes.append(label);
  }
  boxes.parentElement.hidden = false;

  function open() {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) {
      target.open = true;
      target.scrollIntoView();
    }
  }

  heads.forEach((head, column) => head.addEventListener("click", () => sort(column)));
  filter.addEventListener("input", update);
  window.addEventListener("hashchange", open);
  const scroll = table.parentElement;
  const say = () => document.querySelector(".scrolls").classList.toggle("needed", scroll.scrollWidth > scroll.clientWidth);
  new ResizeObserver(say).observe(table);
  if (filter.value) update(); // browsers restore the filter when going back
  open();
}
