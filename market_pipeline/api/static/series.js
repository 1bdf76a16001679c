// The quotes of the last day of each symbol, bad ticks left out: fetched once, then only what is new.

import { ask, now } from "./api.js";
import { REACH_MS } from "./track.js";

// Holes are filled and prices corrected after the fact: from time to time everything is asked for again.
const ANEW_MS = 10 * 60_000;
const MOST_ROWS = 10_000;
// A bad tick is known once later quotes have undone it.
const UNDECIDED_MS = 60 * 60_000;

const kept = new Map();

/** [time, price] of the last day of `symbol` by time, and before it the one of a day ago if there is one. */
export async function series(symbol) {
  const begin = now() - REACH_MS;
  const known = kept.get(symbol);
  const anew = !known || Date.now() - known.asked > ANEW_MS;
  const from = anew ? begin : Math.max(begin, (known.points.at(-1)?.[0] ?? begin) - UNDECIDED_MS);
  const start = new Date(from).toISOString();
  const page = await ask(`prices/${encodeURIComponent(symbol)}?start=${start}&limit=${MOST_ROWS}`);
  const good = page.points.filter(({ quality }) => quality === "ok");
  const fresh = good.map((point) => [Date.parse(point.timestamp), point.price]).reverse();
  const before = anew ? [] : known.points.filter(([time]) => time >= begin && time < from);
  const points = [...before, ...fresh];
  kept.set(symbol, { points, asked: anew ? Date.now() : known.asked });
  return points;
}

/** [time, price] of the latest quote of `symbol`, however old. */
export async function newest(symbol) {
  const point = await ask(`prices/${encodeURIComponent(symbol)}/latest`);
  return [Date.parse(point.timestamp), point.price];
}

/** Nothing that was fetched with another token is shown. */
export function forgetSeries() {
  kept.clear();
}
