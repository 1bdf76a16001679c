// The time that the page of a symbol shows, and its chart's document: the first is requested before other scripts run.

import { fetchDocument, now } from "./api.js";

const HOUR = 3600_000;
const DAY = 24 * HOUR;
const FAR_MS = 100_000 * DAY;
export const DAY_RANGE = "24 h";
export const RANGES = [
  [DAY_RANGE, DAY], ["7 d", 7 * DAY], ["30 d", 30 * DAY], ["90 d", 90 * DAY], ["1 y", 365 * DAY], ["all", null],
];

export const symbol = nameIn(location.pathname.split("/").at(-1)).toUpperCase();
export const path = `symbols/${encodeURIComponent(symbol)}`;
// A range until now, or the time [start, end] that a person chose.
export const chosen = { range: DAY_RANGE, view: null };

/** Return the symbol of an address; as it is if it is no text, which the API then refuses. */
function nameIn(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Read the time to show from the address: ?range=7d, ?day=2026-11-22, ?around=a time, or ?start= and ?end=. */
function fromAddress() {
  const given = new URLSearchParams(location.search);
  // Of a time near the ends of JavaScript's calendar there is no time beside it.
  const time = (name) => {
    const found = Date.parse(given.get(name) ?? "");
    return Math.abs(found) < FAR_MS ? found : NaN;
  };
  const range = RANGES.find(([name]) => name.replace(" ", "") === given.get("range"));
  if (range) chosen.range = range[0];
  if (time("day")) chosen.view = [time("day"), Math.min(time("day") + DAY, now())];
  if (time("around")) chosen.view = around(time("around"));
  if (time("start") && time("end") > time("start")) chosen.view = [time("start"), time("end")];
}

/** Return the day around `time`. */
export function around(time) {
  return [time - 12 * HOUR, Math.min(time + 12 * HOUR, now())];
}

/** Write the time that shows into the address. */
export function toAddress() {
  const [start, end] = (chosen.view ?? []).map((time) => new Date(time).toISOString());
  const query = chosen.view ? { start, end } : { range: chosen.range.replace(" ", "") };
  history.replaceState(null, "", `?${new URLSearchParams(query)}`);
}

/** Return the query of the chart; around a chosen time it has as much again, so that it can be moved at once. */
function query() {
  if (chosen.view) {
    const [start, end] = chosen.view.map((time) => new Date(time).toISOString());
    return new URLSearchParams({ start, end, around: true });
  }
  const [, length] = RANGES.find(([name]) => name === chosen.range);
  return length === null ? "" : new URLSearchParams({ start: new Date(now() - length).toISOString() });
}

function requested() {
  return fetchDocument(`${path}/chart.json?${query()}`);
}

fromAddress();
let first = requested();
first.catch(() => {});

/** Fetch the chart of the time that shows. */
export function fetchChart() {
  const early = first;
  first = null;
  return early ?? requested();
}
