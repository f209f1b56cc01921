// Pin two runs in the tables and see them side by side: figures, curves, settings and environments.
{
  const section = document.getElementById("pinned");
  const ignored = new Set(section.dataset.ignored.split(" ")); // settings that change no number
  const pinned = []; // rows of the tables, at most two
  const element = (name, text = "", kind = "") =>
    Object.assign(document.createElement(name), { textContent: text, className: kind });

  for (const row of document.querySelectorAll("table.runs tbody tr")) {
    const box = Object.assign(element("input", "", "pin"), { type: "checkbox", title: "Pin: see two runs side by side" });
    box.setAttribute("aria-label", `Pin ${row.cells[0].textContent}`);
    row.cells[0].prepend(box);
  }
  for (const table of document.querySelectorAll("table.runs"))
    table.addEventListener("change", (event) => {
      const row = event.target.closest("tr");
      const place = pinned.indexOf(row);
      if (place >= 0) pinned.splice(place, 1);
      else if (pinned.push(row) > 2) pinned.shift().querySelector(".pin").checked = false;
      render();
    });

  const runOf = (row) => document.getElementById(row.dataset.run.split(" ")[0]);
  const nameOf = (row) => `${row.cells[0].textContent} ${runOf(row).querySelector("code").textContent}`;

  function figuresOf(row) {
    const heads = row.closest("table").tHead.rows[0].cells;
    return new Map([...heads].map((head, i) => [head.textContent, row.cells[i].textContent]));
  }

  // The settings of a config.yaml, which is in block style, by dotted key.
  function settingsOf(text) {
    const found = new Map();
    const path = []; // [indentation, key] of the keys around a line
    let key = "";
    for (const line of text.split("\n").filter((each) => each.trim() && !each.startsWith("#"))) {
      const [, space, name, value] = /^( *)([\w.@/+-]+|'[^']*'|"[^"]*"):(?: (.*))?$/.exec(line) ?? [];
      if (name === undefined) {
        found.set(key, `${found.get(key) ?? ""} ${line.trim().replace(/^- /, "")}`.trim()); // a list, or a long text
        continue;
      }
      while (path.length && path.at(-1)[0] >= space.length) path.pop();
      path.push([space.length, name]);
      key = path.map((each) => each[1]).join(".");
      if (value !== undefined) found.set(key, value);
    }
    return new Map([...found].filter(([each]) => !ignored.has(each.split(".")[0])));
  }

  // The entries of an environment.json by part (packages, git, machine) and key.
  function environmentOf(text) {
    const parts = { packages: new Map(), git: new Map(), "machine and command": new Map() };
    let content;
    try {
      content = JSON.parse(text);
    } catch {
      return parts; // damaged, or too long to be shown
    }
    delete content.time;
    for (const [key, value] of Object.entries(content)) {
      const part = key === "versions" ? "packages" : ["commit", "changes"].includes(key) ? "git" : "machine and command";
      const several = value !== null && typeof value === "object" && !Array.isArray(value);
      for (const [name, own] of several ? Object.entries(value) : [[key, value]])
        parts[part].set(several && key !== "versions" ? `${key}.${name}` : name, typeof own === "string" ? own : JSON.stringify(own));
    }
    return parts;
  }

  function partsOf(row) {
    const file = (name) => [...runOf(row).querySelectorAll("pre")].find((each) => each.dataset.file === name)?.textContent ?? "";
    return { figures: figuresOf(row), config: settingsOf(file("config.yaml")), ...environmentOf(file("environment.json")) };
  }

  function facts() {
    const [one, other] = pinned.map(partsOf);
    const table = element("table", "", "facts");
    const head = table.createTHead().insertRow();
    for (const text of ["", ...pinned.map(nameOf)]) head.append(element("th", text));
    for (const part of Object.keys(one)) {
      const body = table.createTBody();
      const title = body.insertRow();
      title.append(Object.assign(element("th", part), { colSpan: 3 }));
      for (const key of new Set([...one[part].keys(), ...other[part].keys()])) {
        const values = [one[part].get(key) ?? "–", other[part].get(key) ?? "–"];
        const differs = values[0] !== values[1];
        const row = body.insertRow();
        row.className = differs ? "differs" : "same";
        row.append(element("th", `${differs ? "≠ " : ""}${key}`), ...values.map((value) => element("td", value)));
      }
      title.className = body.querySelector(".differs") ? "" : "same";
    }
    return table;
  }

  // The charts of curves, with the curve of one pinned run each, on the axes of its setting.
  function curves() {
    const grid = element("div", "", "pair");
    const found = pinned.map((row) => {
      const entry = document.querySelector(`#settings .entry[data-row="${row.dataset.row}"]`);
      const figures = entry ? [...entry.closest(".setting").querySelectorAll("figure[data-curve]")] : [];
      return new Map(figures.map((figure) => [figure.querySelector("h4").textContent, figure]));
    });
    for (const title of new Set(found.flatMap((each) => [...each.keys()])))
      pinned.forEach((row, i) => {
        const copy = found[i].get(title)?.cloneNode(true);
        const own = copy?.querySelector(`.entry[data-row="${row.dataset.row}"]`);
        if (!own) {
          grid.append(element("p", `${title}: no curve of this run.`, "note"));
          return;
        }
        copy.querySelectorAll(".entry").forEach((each) => show(each, each === own));
        copy.removeAttribute("hidden");
        paint(own, i);
        arrange(copy.querySelector("svg"));
        copy.querySelector("h4").textContent = `${title}: ${row.cells[0].textContent}`;
        copy.querySelector("figcaption").remove();
        grid.append(copy);
      });
    return grid;
  }

  function render() {
    section.hidden = !pinned.length;
    const names = pinned.map(nameOf).join(" and ");
    document.getElementById("pins").textContent = pinned.length > 1 ? names : `${names}: pin another run in the tables.`;
    const all = document.getElementById("all-facts");
    all.parentElement.hidden = pinned.length < 2;
    document.getElementById("side-by-side").replaceChildren(...(pinned.length > 1 ? [curves(), facts()] : []));
  }

  document.getElementById("all-facts").addEventListener("change", (event) => section.classList.toggle("all", event.target.checked));
}
