// The chart of a symbol: draws what was fetched, lets a person zoom, move and step through the alarms.

import { now, Unreachable } from "./api.js";
import { KINDS } from "./alarms.js";
import { element, keyed, setText } from "./dom.js";
import { ALARMS, figureOf, MARKERS, placesIn, read, themeOf } from "./figure.js";
import { preview } from "./preview.js";
import * as words from "./words.js";

const SHORTEST_MS = 15 * 60_000;
// Of fewer points nothing is usual.
const FEWEST = 4;
const CONFIG = { displayModeBar: false, responsive: true, doubleClick: false, showTips: false };
// A finger that drags over the chart scrolls the page.
const COARSE = matchMedia("(pointer: coarse)");
const DARK = matchMedia("(prefers-color-scheme: dark)");

const at = (id) => document.getElementById(id);
const box = at("chart");
const SCRIPT = new URL("../packaged/plotly.min.js", import.meta.url).href;
// It is large: fetched at once, but run once the preview shows.
fetch(SCRIPT).catch(() => {});
let plotly = null;
let chart = null;
let view = [0, 1];
let stepped = null;
let handlers = null;
let listening = false;

/**
 * Connect the chart to the page: `zoom([start, end])` is called with the time that a person wants to see, `reset()` to
 * go back, `open(id)` with the alarm to show.
 */
export function connect(zoom, reset, open) {
  handlers = { zoom, reset, open };
  buttons(zoom);
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !chart) return;
    if (key(event.key, zoom, reset, open)) event.preventDefault();
  });
  for (const query of [COARSE, DARK]) query.addEventListener("change", redraw);
}

/** Listen to plotly.js, once it has drawn. */
function listen() {
  box.on("plotly_relayout", (change) => {
    const edges = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
    if (edges[0] !== undefined) handlers.zoom(bounded(edges.map(timeOf)));
  });
  box.on("plotly_doubleclick", () => handlers.reset());
  box.on("plotly_click", ({ points }) => {
    const mark = points.find(({ curveNumber }) => curveNumber === ALARMS);
    if (mark) handlers.open(chart.alarms[mark.pointNumber].id);
  });
}

/**
 * Draw `document` (of chart.json); `wanted` is the time that shows, by default all of it. Call `tell()` when `inView`
 * knows it, and `early()` when the line of prices shows, before plotly.js draws.
 */
export async function draw(document, wanted, tell, early) {
  const known = stepped === null ? null : chart.alarms[stepped].id;
  chart = read(document);
  view = wanted ?? chart.span;
  const place = chart.alarms.findIndex(({ id, time }) => id === known && time >= view[0] && time <= view[1]);
  stepped = place < 0 ? null : place;
  setText(at("words"), summary());
  explain();
  tell();
  if (!listening) await preview(box, chart, view);
  early();
  await redraw();
}

async function redraw() {
  if (!chart) return;
  const Plotly = await loaded();
  const { data, layout } = figureOf(chart, view, themeOf(document.documentElement), !COARSE.matches);
  // What is said beside a mark would stay where that was.
  if (listening) Plotly.Fx.unhover(box);
  await Plotly.react(box, data, layout, CONFIG);
  if (stepped !== null) Plotly.Fx.hover(box, [{ curveNumber: ALARMS, pointNumber: stepped }]);
  if (!listening) listen();
  listening = true;
  box.querySelector(".preview")?.remove();
}

/** Return plotly.js; it is loaded once, and again if that failed. */
function loaded() {
  plotly ??= new Promise((resolve, reject) => {
    const script = element("script", { src: SCRIPT });
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => {
      plotly = null;
      reject(new Unreachable(SCRIPT));
    });
    document.head.append(script);
  });
  return plotly;
}

function timeOf(edge) {
  return typeof edge === "number" ? edge : Date.parse(`${edge.replace(" ", "T")}Z`);
}

/** Keep a time within what is stored, and long enough to show something. */
function bounded([start, end]) {
  const first = Date.parse(chart.first), last = now();
  const width = Math.min(Math.max(end - start, SHORTEST_MS), Math.max(last - first, SHORTEST_MS));
  const middle = (start + end) / 2;
  const begin = Math.max(Math.min(middle - width / 2, last - width), Math.min(first, last - width));
  return [begin, begin + width];
}

function moved(shift, scale) {
  const [start, end] = view;
  const middle = (start + end) / 2 + shift * (end - start), half = (scale * (end - start)) / 2;
  return bounded([middle - half, middle + half]);
}

const MOVES = {
  ArrowLeft: [-0.25, 1], ArrowRight: [0.25, 1], "+": [0, 0.5], "=": [0, 0.5], "-": [0, 2],
};

function buttons(zoom) {
  const made = [
    ["\u2190", "Earlier", "ArrowLeft"], ["\u2192", "Later", "ArrowRight"], ["+", "Zoom in", "+"],
    ["\u2212", "Zoom out", "-"],
  ].map(([text, label, name]) => {
    const button = element("button", { type: "button", "aria-label": label, title: label }, text);
    button.addEventListener("click", () => chart && zoom(moved(...MOVES[name])));
    return button;
  });
  at("moves").replaceChildren(...made);
}

/** Do what a key says; return whether it says anything. */
function key(name, zoom, reset, open) {
  if (MOVES[name]) zoom(moved(...MOVES[name]));
  else if (name === "0" || name === "Home") reset();
  else if (name === "n" || name === "N") step(1);
  else if (name === "p" || name === "P") step(-1);
  else if (name === "Enter" && stepped !== null) open(chart.alarms[stepped].id);
  else return false;
  return true;
}

/** Show what the next or previous alarm of the chart says, and let screen readers say it. */
async function step(way) {
  const shown = chart.alarms.map((alarm, place) => [alarm, place])
    .filter(([{ time }]) => time >= view[0] && time <= view[1]);
  if (!shown.length) {
    setText(at("spoken"), "No alarms in this time.");
    return;
  }
  const last = shown.findIndex(([, place]) => place === stepped);
  const next = last < 0 ? (way > 0 ? 0 : shown.length - 1) : (last + way + shown.length) % shown.length;
  const [alarm, place] = shown[next];
  stepped = place;
  (await loaded()).Fx.hover(box, [{ curveNumber: ALARMS, pointNumber: place }]);
  setText(at("spoken"), `${next + 1} of ${shown.length}: ${alarm.severity}, ${words.clock(alarm.time)}, ${alarm.headline}`);
}

/** Return the alarms and the prices of the time that shows, for the words around the chart. */
export function inView() {
  const places = placesIn(chart, view);
  const inside = ({ time }) => time >= view[0] && time <= view[1];
  const part = (name) => places ? chart.candles[name].slice(places[0], places[1] + 1) : [];
  const times = places ? chart.times.slice(places[0], places[1] + 1) : [];
  return { view, times, low: part("low"), high: part("high"), alarms: chart.alarms.filter(inside) };
}

function summary() {
  const { times, low, high, alarms } = inView();
  const [start, end] = view.map(words.clock);
  // A time of the present day has no date, which is unclear beside one that has.
  const time = `${chart.symbol} from ${start} to ${end}${start.includes(" ") && !end.includes(" ") ? " today" : ""} UTC`;
  if (!times.length) return `${time}: no prices.`;
  const least = (values) => values.reduce((one, other) => Math.min(one, other));
  const lowest = words.price(least(low)), highest = words.price(-least(high.map((price) => -price)));
  const resolution = times.length < FEWEST ? "" : ` One point every ${words.interval(times)}.`;
  const flagged = alarms.length === 1 ? "1 alarm" : `${chart.more_alarms ? "the most important " : ""}${alarms.length} alarms`;
  return `${time}: lowest ${lowest}, highest ${highest}, ${flagged}.${resolution}`;
}

/** Explain what the chart shows. */
function explain() {
  const kinds = Object.keys(KINDS).filter((kind) => chart.alarms.some((alarm) => alarm.kind === kind));
  const rows = [
    ...(chart.candles.deviation.some((known) => known !== null)
      ? [{ swatch: "band", mark: "", text: "expected from the point before: in 2 of 3 cases, and nearly always" }] : []),
    ...(chart.silences.length ? [{ swatch: "silence", mark: "", text: "no prices for three points or more" }] : []),
    ...kinds.map((kind) => ({ swatch: kind, mark: MARKERS[kind][1], text: KINDS[kind].toLowerCase() })),
  ];
  keyed(at("key"), rows, ({ swatch }) => swatch, ({ swatch, mark, text }) => {
    const made = element("li", {}, element("span", { "data-swatch": swatch, "aria-hidden": "true" }, mark), ` ${text}`);
    made.update = () => {};
    return made;
  });
}
