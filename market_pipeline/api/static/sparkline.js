// A day of prices as a small line: broken and shaded where no prices came, with a dot for each alarm.

import { drawn, mark } from "./dom.js";
import * as words from "./words.js";

const WIDTH = 240;
const HEIGHT = 44;
// Room for the dots.
const EDGE = 5;

/** Create an empty picture for `draw`. */
export function sparkline() {
  const parts = [["g", "silences"], ["path", "line"], ["path", "alarms"]];
  const size = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" };
  const made = parts.map(([name, kind]) => drawn(name, { class: kind }));
  return drawn("svg", { class: "spark", role: "img", ...size }, ...made);
}

/** Draw `track` (see track.js) of `symbol`; `alarms` are times. */
export function draw(svg, symbol, track, alarms) {
  const [silences, line, dots] = svg.children;
  const x = (time) => round(((time - track.start) / (track.end - track.start)) * WIDTH);
  const y = heightOf(track);
  silences.replaceChildren(...track.silences.map(([from, to]) =>
    drawn("rect", { x: x(from), y: 0, width: round(Math.max(x(to) - x(from), 1)), height: HEIGHT })));
  mark(line, "d", track.stretches.map((points) => pathOf(points, x, y)).join(""));
  const points = track.stretches.flat();
  const seen = points.length ? alarms.map((time) => nearest(points, time)) : [];
  mark(dots, "d", seen.map(([time, price]) => `M${x(time)} ${y(price)}h0`).join(""));
  mark(svg, "aria-label", inWords(symbol, track, seen.length));
}

/** A single quote between silences is a dot: a line of no length with round ends. */
function pathOf(points, x, y) {
  const places = points.map(([time, price]) => `${x(time)} ${y(price)}`);
  return `M${places.join("L")}${points.length === 1 ? "h0" : ""}`;
}

/** A market event has the time of one coin's quote; those of the others are some seconds apart. */
function nearest(points, time) {
  const far = ([at]) => Math.abs(at - time);
  return points.reduce((best, point) => (far(point) < far(best) ? point : best));
}

function heightOf({ low, high }) {
  const room = HEIGHT - 2 * EDGE;
  if (high <= low) return () => HEIGHT / 2;
  return (price) => round(HEIGHT - EDGE - Math.min(Math.max((price - low) / (high - low), 0), 1) * room);
}

function inWords(symbol, track, alarms) {
  if (!track.stretches.length) return `${symbol}: no prices in the last 24 hours`;
  const silent = track.silences.map(([from, to]) => `${words.span(to - from)} from ${words.clock(from)}`);
  return [
    `${symbol}, last 24 hours: lowest ${words.price(track.low)}, highest ${words.price(track.high)} dollars`,
    silent.length ? `no prices for ${silent.join(", ")} UTC` : "without a gap",
    `${alarms} ${alarms === 1 ? "alarm" : "alarms"}`,
  ].join("; ");
}

function round(value) {
  return Math.round(value * 10) / 10;
}
