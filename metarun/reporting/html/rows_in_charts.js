"use strict";
// Show in charts what the table shows: rows that pass the filter, at most eight at a time, and chosen columns.
const DRAWN = 8; // one per colour, as in entries.py

const rowsOf = (element) => element.dataset.row.split(" ");
const show = (element, shown) => element.toggleAttribute("hidden", !shown); // SVG elements have no property `hidden`

function paint(element, colour) {
  for (let i = 0; i < DRAWN; i++) element.classList.toggle(`c${i}`, i === colour);
}

// Give each of the first eight visible configurations of a setting a colour: its own, or one that is free.
function coloursOf(setting, hidden) {
  const all = [...setting.querySelectorAll(".legend li")].map((item) => item.dataset.row);
  const drawn = all.filter((row) => !hidden.has(row)).slice(0, DRAWN);
  const own = new Map(all.slice(0, DRAWN).map((row, i) => [row, i]));
  const free = [...Array(DRAWN).keys()].filter((colour) => !drawn.some((row) => own.get(row) === colour));
  return new Map(drawn.map((row) => [row, own.has(row) ? own.get(row) : free.shift()]));
}

// Move labels and lines to where there is room, after some were hidden or shown.
function arrange(svg) {
  if (svg.dataset.labels) {
    const [low, high, distance] = svg.dataset.labels.split(" ").map(Number);
    const labels = [...svg.querySelectorAll("g:not([hidden]) > text[data-y]")];
    labels.sort((one, other) => one.dataset.y - other.dataset.y);
    const places = [];
    for (const label of labels) places.push(Math.max(label.dataset.y, places.length ? places.at(-1) + distance : low));
    for (let i = places.length - 1, limit = high; i >= 0; limit = places[i--] - distance) places[i] = Math.min(places[i], limit);
    labels.forEach((label, i) => {
      label.setAttribute("y", places[i] + 3.5);
      const leader = label.parentNode.querySelector(".leader");
      leader?.setAttribute("d", leader.getAttribute("d").replace(/[\d.-]+$/, places[i]));
    });
  }
  const down = (element, by) => element.setAttribute("transform", `translate(0 ${by})`);
  svg.querySelectorAll(".entry:not([hidden]) .key").forEach((key, i) => down(key, i * svg.dataset.keys));
  if (svg.dataset.stack) {
    const [step, height] = svg.dataset.stack.split(" ").map(Number);
    const lines = svg.querySelectorAll(".stacked:not([hidden])");
    const extra = step * Math.max(0, lines.length - 1);
    lines.forEach((line, i) => down(line, i * step));
    down(svg.querySelector(".below"), extra);
    svg.setAttribute("viewBox", `0 0 ${svg.viewBox.baseVal.width} ${height + extra}`);
  }
}

// `hidden`: the rows of the table that are, as text; `off`: names of columns and charts that are not chosen.
function showInCharts(hidden, off) {
  for (const setting of document.querySelectorAll(".setting")) {
    const colours = coloursOf(setting, hidden);
    for (const part of setting.querySelectorAll("[data-row]")) {
      const colour = colours.get(part.dataset.row);
      show(part, colour !== undefined);
      if (colour !== undefined && part.matches(".entry, .legend li, .examples")) paint(part, colour);
    }
    show(setting, colours.size);
  }
  for (const part of document.querySelectorAll("main > :not(#settings, #pinned) [data-row]:not(tbody > tr[data-run])"))
    show(part, rowsOf(part).some((row) => !hidden.has(row)));
  for (const row of document.querySelectorAll("table.seeds tr[data-row]")) show(row, !hidden.has(row.dataset.row));
  for (const sentence of document.querySelectorAll("[data-both]"))
    show(sentence, sentence.dataset.both.split(" ").every((row) => !hidden.has(row)));
  for (const floor of document.querySelectorAll(".floor")) show(floor, !off.has("floor"));
  for (const figure of document.querySelectorAll("figure[data-of]")) {
    const empty = figure.querySelector("[data-row]") && !figure.querySelector("[data-row]:not([hidden])");
    show(figure, !empty && !off.has(figure.dataset.of));
    figure.querySelectorAll("svg").forEach(arrange);
  }
}
