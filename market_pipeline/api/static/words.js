// Numbers and times as people write them.

import { now } from "./api.js";
import { mark, setText } from "./dom.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
// Times between prices that differ by this factor are not one usual time.
const MIXED = 3;
const MINUS = "\u2212";
// Making one takes longer than using it a hundred times.
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

/** Write a price in dollars, of any magnitude: 67,187.34, 2.3591, 0.4321, 0.00001234, 1.234e−12. */
export function price(value) {
  if (value >= 1e12 || value < 1e-9) return value.toExponential(3).replace("-", MINUS);
  if (value >= 100) return decimals(value, 2, 2);
  if (value >= 1) return decimals(value, 4, 4);
  const digits = { minimumSignificantDigits: 4, maximumSignificantDigits: 4 };
  return new Intl.NumberFormat("en-US", digits).format(value);
}

/** Write a share as a signed percentage: 0.0123 is +1.23%. */
export function percent(share) {
  const text = decimals(Math.abs(share) * 100, 2, 2);
  const sign = text === "0.00" ? "" : share > 0 ? "+" : MINUS;
  return `${sign}${text}%`;
}

export function whole(value) {
  return decimals(value, 0, 0);
}

function decimals(value, least, most) {
  const digits = { minimumFractionDigits: least, maximumFractionDigits: most };
  return new Intl.NumberFormat("en-US", digits).format(value);
}

/** Write a duration in milliseconds: 40 s, 12 min, 3 h 5 min, 4 days. */
export function span(milliseconds) {
  const length = Math.max(0, milliseconds);
  if (length < MINUTE) return `${Math.floor(length / 1000)} s`;
  if (length < HOUR) return `${Math.floor(length / MINUTE)} min`;
  if (length < 2 * DAY) {
    const minutes = Math.floor((length % HOUR) / MINUTE);
    return `${Math.floor(length / HOUR)} h${minutes ? ` ${minutes} min` : ""}`;
  }
  return `${Math.floor(length / DAY)} days`;
}

/** Write a duration as `span`, rounded instead of cut off: 5 min for 299 s, 365 days for 364.9. */
export function length(milliseconds) {
  const unit = milliseconds < HOUR ? MINUTE : milliseconds < 2 * DAY ? HOUR : DAY;
  return span(Math.max(1, Math.round(milliseconds / unit)) * unit);
}

/** Write the usual time between `times`; where hourly history and live prices meet, it is two: 5 min to 1 h. */
export function interval(times) {
  const sorted = times.slice(1).map((time, n) => time - times[n]).sort((one, other) => one - other);
  const [short, middle, long] = [0.1, 0.5, 0.9].map((share) => sorted[Math.floor(share * sorted.length)]);
  return long > MIXED * short ? `${length(short)} to ${length(long)}` : length(middle);
}

export function ago(time) {
  return now() - time < 1000 ? "just now" : `${span(now() - time)} ago`;
}

/** 13:05 today, 22 Nov 13:05 otherwise, with the year unless it is this one; UTC. */
export function clock(time) {
  const [day, rest] = new Date(time).toISOString().split("T");
  const today = new Date(now()).toISOString();
  const year = today.startsWith(day.slice(0, 4)) ? "" : ` ${day.slice(0, 4)}`;
  return today.startsWith(day) ? rest.slice(0, 5) : `${date(time)}${year} ${rest.slice(0, 5)}`;
}

/** 1 Dec. */
export function date(time) {
  return DATE.format(time);
}

/** Let a <time> say how long ago it was; `grow` updates all of them. */
export function age(node, time, write = ago) {
  mark(node, "datetime", new Date(time).toISOString());
  mark(node, "title", `${new Date(time).toISOString().slice(0, 19).replace("T", " ")} UTC`);
  node.write = () => write(time);
  setText(node, node.write());
}

/** Update all ages. */
export function grow() {
  for (const node of document.querySelectorAll("time[datetime]")) setText(node, node.write());
}
