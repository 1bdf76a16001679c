// The alarms of a symbol, newest first, filtered, a page at a time.

import { fetchDocument } from "./api.js";
import { KINDS, showAlarms } from "./alarms.js";
import { element } from "./dom.js";

const ROWS = 20;

const at = (id) => document.getElementById(id);
let rows = [];
let cursor = null;
let requests = 0;

/**
 * Let the controls work for `symbol`; `open(id)` shows the document of one, `again()` reads everything again, and
 * `failed(error)` reports.
 */
export function connectHistory(symbol, open, again, failed) {
  at("kind").append(...Object.entries(KINDS).map(([kind, name]) => element("option", { value: kind }, name)));
  const list = { symbol, open, again };
  for (const name of ["kind", "severity"]) {
    at(name).addEventListener("change", () => refreshHistory(list, true).catch(failed));
  }
  at("older").addEventListener("click", () => older(list).catch(failed));
  return list;
}

/** Read the first page again, unless a person has gone on to `older` ones; `anew` starts again in any case. */
export async function refreshHistory(list, anew = false) {
  if (anew || rows.length <= ROWS) await load(list, null);
}

async function older(list) {
  const before = rows.length;
  await load(list, cursor);
  // For those who use the keyboard: on to the first of the new ones.
  at("alarms").children[before]?.querySelector("summary").focus();
}

async function load(list, from) {
  const request = ++requests, asOf = performance.now();
  const found = [];
  let next = from;
  do {
    // A page of rare rows may be short, and still have a next one.
    const page = await fetchDocument(address(list.symbol, ROWS - found.length, next));
    found.push(...page.anomalies);
    next = page.next_cursor;
  } while (next !== null && found.length < ROWS);
  // Another filter was chosen meanwhile.
  if (request !== requests) return;
  rows = from === null ? found : [...rows, ...found];
  cursor = next;
  showAlarms(at("alarms"), rows, asOf, list.open, list.again);
  at("none").hidden = rows.length > 0;
  at("older").hidden = cursor === null;
}

function address(symbol, limit, from) {
  const wanted = { alarms_only: "true", market_moves: "true", limit };
  for (const name of ["kind", "severity"]) {
    if (at(name).value) wanted[name] = at(name).value;
  }
  if (from !== null) wanted.cursor = from;
  return `anomalies/${encodeURIComponent(symbol)}?${new URLSearchParams(wanted)}`;
}
