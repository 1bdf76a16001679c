// The table of symbols: one row each, changed in place.

import { address, now } from "./api.js";
import { partition } from "./dagster.js";
import { element, keyed, link, mark, setText } from "./dom.js";
import { draw, sparkline } from "./sparkline.js";
import { trackOf } from "./track.js";
import * as words from "./words.js";

/** Show `rows`: {symbol, coin, points, newest ([time, price] or null), change (or null), alarms, past} each, in their order. */
export function showSymbols(body, rows) {
  keyed(body, rows, (row) => row.symbol, create);
}

function create({ symbol }) {
  const coin = element("span", { class: "faint coin" });
  const chart = element("a", { href: address(`symbols/${encodeURIComponent(symbol)}`), class: "symbol" }, symbol);
  const lineage = link("", "in Dagster", `${symbol} in the Dagster UI`);
  const price = cell("number price", "Price, US dollars");
  const change = cell("number change", "24 h change");
  const spark = sparkline();
  const range = element("span", { class: "faint range" });
  const priced = cell("", "Age");
  const time = element("time");
  const past = cell("", "Last 30 days");
  const row = element("tr", { role: "row" },
    element("th", { scope: "row", role: "rowheader" }, chart, " ", coin, " ", lineage), price, change,
    element("td", { role: "cell", class: "day" }, spark, range), priced, past);
  row.update = (data) => {
    setText(coin, data.coin);
    const track = trackOf(data.points, now());
    draw(spark, symbol, track, data.alarms);
    setText(range, track.stretches.length ? `${words.price(track.low)} to ${words.price(track.high)}` : "");
    setText(price, data.newest ? words.price(data.newest[1]) : "none yet");
    setText(change, data.change === null ? "unknown" : arrow(data.change) + words.percent(data.change));
    mark(change, "data-sign", data.change === null ? null : String(Math.sign(data.change)));
    lineage.href = partition("raw_prices", symbol, data.newest ? data.newest[0] : now());
    if (data.newest) {
      words.age(time, data.newest[0]);
      if (!priced.contains(time)) priced.replaceChildren(time);
    } else if (priced.firstChild) priced.replaceChildren();
    mark(row, "class", data.stale ? "stale" : null);
    setText(past, history(data.past));
  };
  return row;
}

function cell(name, label) {
  return element("td", { class: name, role: "cell", "data-label": label });
}

function arrow(change) {
  if (words.percent(change).startsWith("0.00")) return "";
  return change > 0 ? "\u25b2 " : "\u25bc ";
}

function history({ days, complete_days: complete }) {
  if (!days) return "not measured yet";
  return `${complete} of ${days} days complete`;
}
