// The quotes of the last day of each symbol, bad ticks left out: fetched once, then only what is new.

import { fetchDocument, now } from "./api.js";
import { REACH_MS } from "./track.js";

// Gaps are filled and prices corrected later: from time to time everything is fetched again.
const REFETCH_MS = 10 * 60_000;
const MOST_ROWS = 10_000;
// A bad tick is recognized once later quotes have reverted it.
const UNDECIDED_MS = 60 * 60_000;

const cache = new Map();

/** Return [time, price] of the last day of `symbol` and of the hours before it, by time. */
export async function series(symbol) {
  const begin = now() - REACH_MS;
  const known = cache.get(symbol);
  const anew = !known || Date.now() - known.fetched > REFETCH_MS;
  const from = anew ? begin : Math.max(begin, (known.points.at(-1)?.[0] ?? begin) - UNDECIDED_MS);
  const start = new Date(from).toISOString();
  const page = await fetchDocument(`prices/${encodeURIComponent(symbol)}?start=${start}&limit=${MOST_ROWS}`);
  const good = page.points.filter(({ quality }) => quality === "ok");
  const fresh = good.map((point) => [Date.parse(point.timestamp), point.price]).reverse();
  const before = anew ? [] : known.points.filter(([time]) => time >= begin && time < from);
  const points = [...before, ...fresh];
  cache.set(symbol, { points, fetched: anew ? Date.now() : known.fetched });
  return points;
}

/** Return [time, price] of the latest quote of `symbol`, however old. */
export async function newest(symbol) {
  const point = await fetchDocument(`prices/${encodeURIComponent(symbol)}/latest`);
  return [Date.parse(point.timestamp), point.price];
}

/** Forget what was fetched with another token. */
export function forgetSeries() {
  cache.clear();
}
