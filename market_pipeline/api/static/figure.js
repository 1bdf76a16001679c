// The figure of plotly.js from a document of chart.json: price in its expected band, volatility, silences and alarms.

import { KINDS } from "./alarms.js";
import * as words from "./words.js";

// As in market_pipeline/charts/marks.py; the colours are in symbol.css.
export const MARKERS = {
  market_move: ["star", "\u2605"], large_move: ["diamond", "\u25c6"], jump: ["triangle-up", "\u25b2"],
  idiosyncratic: ["circle", "\u25cf"], user_threshold: ["square", "\u25a0"], gap_move: ["triangle-right", "\u25b6"],
  bad_tick: ["x", "\u2716"], stale_feed: ["cross", "\u271a"],
};
const SIZES = { watch: 10, alert: 12, critical: 17 };
const SIGMAS = [3, 1];
// So much of the band's edges is in the picture: after an outage it may be wider than the day.
const OF_THE_BAND = 0.05;
const MARGIN = 0.08;
// Prices that differ by less of themselves are one price.
const SHORTEST = 1e-7;
const SENTENCE_WIDTH = 52;
// The share of the height that is below the prices.
const BELOW = 0.28;
// Pixels of a digit.
const LABEL_WIDTH = 7;
// The place of this trace in the figure.
export const ALARMS = 6;

/** Return the colours of the page's theme. */
export function themeOf(node) {
  const style = getComputedStyle(node);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

/**
 * Return {data, layout} for `chart` (see `read`), of which the time from `view[0]` to `view[1]` shows; the y axis fits
 * that time. `colour(name)` is a colour of the theme; a figure that is not `movable` leaves touches to the page.
 */
export function figureOf(chart, view, colour, movable) {
  const { candles } = chart;
  const line = { color: colour("line"), width: 1.5 };
  const format = formatOf(candles.close.at(-1) ?? 1);
  const band = SIGMAS.map((sigmas) => area(
    chart, candles.expected.map((price, n) => edge(price, candles.deviation[n], -sigmas)),
    candles.expected.map((price, n) => edge(price, candles.deviation[n], sigmas)), colour(`sigma-${sigmas}`),
  ));
  const moved = candles.quotes.some((count) => count > 1);
  const range = { ...area(chart, candles.low, candles.high, colour("line")), opacity: 0.3, visible: moved };
  const price = {
    ...broken(chart, candles.close), mode: "lines", line, customdata: details(chart),
    hovertemplate: besideGaps(chart, (n) => template(format, candles.quotes[n] > 1)),
  };
  const volatility = {
    ...broken(chart, candles.volatility.map((share) => share === null ? null : 100 * share)), mode: "lines",
    line: { ...line, width: 1.2 }, yaxis: "y2", hovertemplate: "%{y:.0f}% a year<extra></extra>",
  };
  return {
    data: [...band, range, price, dots(chart, line.color), volatility, alarms(chart, colour)],
    layout: layout(chart, view, colour, movable),
  };
}

/** Read a document: its times as milliseconds since 1970, and where each unbroken line begins and ends. */
export function read(document) {
  const times = document.candles.last_at.map((text) => Date.parse(text));
  const ends = [...document.stretches.slice(1), times.length];
  return {
    ...document, times,
    lines: document.stretches.map((begin, n) => [begin, ends[n]]),
    silences: document.silences.map((edges) => edges.map((text) => Date.parse(text))),
    alarms: document.alarms.map((alarm) => ({ ...alarm, time: Date.parse(alarm.timestamp) })),
    span: [Date.parse(document.start), Date.parse(document.end)],
  };
}

/** Return the first and the last place of a candle in the time `view`, or null if there is none. */
export function placesIn({ times }, [start, end]) {
  const first = times.findIndex((time) => time >= start);
  const last = times.findLastIndex((time) => time <= end);
  return first < 0 || last < first ? null : [first, last];
}

function edge(price, deviation, sigmas) {
  return price === null || deviation === null ? null : price + sigmas * deviation;
}

/** Return values by time with a gap between unbroken lines. */
function broken({ times, lines }, values) {
  const x = [], y = [];
  for (const [begin, end] of lines) {
    if (begin) x.push(times[begin]), y.push(null);
    for (let n = begin; n < end; n += 1) x.push(times[n]), y.push(values[n]);
  }
  return { type: "scatter", x, y };
}

/** Arrays beside those of `broken` have a place for each gap as well. */
function besideGaps({ lines }, valueOf) {
  return lines.flatMap(([begin, end]) => {
    const values = Array.from({ length: end - begin }, (_, n) => valueOf(begin + n));
    return begin ? [null, ...values] : values;
  });
}

/** Fill between two edges, wherever both are known. */
function area({ times }, lower, upper, fillcolor) {
  const x = [], y = [];
  let begin = 0;
  for (let n = 0; n <= times.length; n += 1) {
    if (n < times.length && lower[n] !== null && upper[n] !== null) continue;
    if (n - begin > 1) {
      for (let up = begin; up < n; up += 1) x.push(times[up]), y.push(upper[up]);
      for (let down = n - 1; down >= begin; down -= 1) x.push(times[down]), y.push(lower[down]);
      x.push(null), y.push(null);
    }
    begin = n + 1;
  }
  return { type: "scatter", x, y, mode: "lines", line: { width: 0 }, fill: "toself", fillcolor, hoverinfo: "skip" };
}

/** A candle without a neighbour is a dot. */
function dots({ times, lines, candles }, color) {
  const alone = lines.filter(([begin, end]) => end - begin === 1).map(([begin]) => begin);
  return {
    type: "scatter", mode: "markers", x: alone.map((n) => times[n]), y: alone.map((n) => candles.close[n]),
    marker: { size: 4, color }, hoverinfo: "skip",
  };
}

function details(chart) {
  const { open, high, low, expected, deviation } = chart.candles;
  return besideGaps(chart, (n) => [
    open[n], high[n], low[n], edge(expected[n], deviation[n], -3) ?? "?", edge(expected[n], deviation[n], 3) ?? "?",
  ]);
}

/** Return what is said beside a candle; of one with several quotes, from where to where it moved, too. */
function template(format, several) {
  const [open, high, low, least, most] = [0, 1, 2, 3, 4].map((place) => `%{customdata[${place}]:${format}}`);
  const close = `%{y:${format}}`;
  const price = several ? `${open} to ${close}<br>low ${low}, high ${high}` : close;
  return `${price}<br>expected ${least} to ${most}<extra></extra>`;
}

function alarms(chart, colour) {
  const { alarms: rows } = chart;
  const colours = rows.map(({ kind }) => colour(kind) || colour("ink"));
  const hollow = rows.map(({ severity }) => severity === "watch");
  return {
    type: "scatter", mode: "markers", x: rows.map(({ time }) => time), y: rows.map(({ price }) => price),
    text: rows.map(sentence), hovertemplate: "%{text}<extra></extra>",
    marker: {
      symbol: rows.map(({ kind }) => MARKERS[kind]?.[0] ?? "circle"),
      size: rows.map(({ severity }) => SIZES[severity]),
      color: rows.map((_, n) => hollow[n] ? colour("paper") : colours[n]),
      line: { width: 1.5, color: rows.map((_, n) => hollow[n] ? colours[n] : colour("paper")) },
      opacity: 1,
    },
    hoverlabel: { bordercolor: rows.map((_, n) => colours[n]) },
  };
}

/**
 * Return what an alarm says, as the markup of plotly.js: nothing stored becomes part of it. Of that markup only line
 * breaks are used, because the others need styles that the page's policy forbids.
 */
export function sentence({ severity, kind, time, headline, mark }) {
  const marked = mark ? `, marked as ${mark}` : "";
  const title = `${severity}, ${KINDS[kind] ?? kind}, ${words.clock(time)}${marked}`;
  return [title, ...wrapped(headline).map(escaped)].join("<br>");
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function wrapped(text) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if (lines.at(-1) && lines.at(-1).length + word.length >= SENTENCE_WIDTH) lines.push(word);
    else lines[lines.length - 1] += lines.at(-1) ? ` ${word}` : word;
  }
  return lines;
}

/** Return d3's format for prices of this magnitude, as words.js writes them. */
function formatOf(price) {
  if (price >= 1e12 || price < 1e-9) return ".3e";
  return price >= 100 ? ",.2f" : price >= 1 ? ",.4f" : ",.4r";
}

/** Return the place of the prices in the chart: its margins in pixels, the height of the field, its edges in dollars. */
export function frame(chart, view) {
  const [lowest, highest] = pricesIn(chart, view);
  // Room for the labels; plotly.js would draw everything twice to find out.
  const right = 14 + LABEL_WIDTH * Math.max(5, words.price(highest).length);
  return { margin: { l: 8, r: right, t: 8, b: 40 }, share: 1 - BELOW, lowest, highest };
}

function layout(chart, view, colour, movable) {
  const faint = { color: colour("faint"), size: 12 };
  const axis = { gridcolor: colour("grid"), zeroline: false, tickfont: faint };
  const { margin, lowest, highest } = frame(chart, view);
  // As the margin has room for.
  const format = formatOf(highest);
  // Without prices there is nothing that the numbers would measure.
  const showticklabels = placesIn(chart, view) !== null;
  return {
    autosize: true, margin, showlegend: false, hovermode: "x", hoverdistance: 24,
    dragmode: movable ? "zoom" : false,
    paper_bgcolor: colour("paper"), plot_bgcolor: colour("paper"),
    font: { family: getComputedStyle(document.body).fontFamily, color: colour("ink"), size: 13 },
    hoverlabel: {
      bgcolor: colour("paper"), bordercolor: colour("faint"), align: "left", namelength: 0,
      font: { color: colour("ink"), size: 13 },
    },
    xaxis: {
      ...axis, type: "date", range: view, anchor: "y2", fixedrange: !movable, hoverformat: "%-d %b %H:%M UTC",
      showspikes: true, spikemode: "across", spikethickness: 1, spikedash: "dot", spikecolor: colour("faint"),
    },
    yaxis: {
      ...axis, domain: [BELOW, 1], range: [lowest, highest], fixedrange: true, side: "right",
      showticklabels, tickformat: format === ",.2f" ? ",~f" : format,
    },
    yaxis2: {
      ...axis, domain: [0, 0.2], rangemode: "tozero", fixedrange: true, side: "right", ticksuffix: "%", nticks: 4,
      // Above its line: the lowest one would meet the names of the times.
      showticklabels, ticklabelposition: "outside top",
    },
    shapes: chart.silences.map(([x0, x1]) => ({
      type: "rect", x0, x1, y0: 0, y1: 1, yref: "paper", layer: "below", fillcolor: colour("silence"), line: { width: 0 },
    })),
    annotations: [{
      text: "Volatility, % a year", font: faint, showarrow: false, xref: "paper", yref: "paper", x: 0, y: 0.2,
      xanchor: "left", yanchor: "bottom",
    }],
  };
}

/** Return the lowest and highest price to show: every price and alarm of the time, nearly all of the band. */
function pricesIn(chart, view) {
  const places = placesIn(chart, view);
  if (!places) return [0, 1];
  const [first, last] = places;
  const part = (values) => values.slice(first, last + 1);
  const { low, high, expected, deviation } = chart.candles;
  const known = part(expected.map((price, n) => [edge(price, deviation[n], -3), edge(price, deviation[n], 3)]))
    .filter(([lower]) => lower !== null);
  const marked = chart.alarms.filter(({ time }) => time >= view[0] && time <= view[1]);
  const values = [...part(low), ...part(high), ...marked.map(({ price }) => price).filter((price) => price !== null)];
  if (known.length) {
    values.push(quantile(known.map(([lower]) => lower), OF_THE_BAND));
    values.push(quantile(known.map(([, upper]) => upper), 1 - OF_THE_BAND));
  }
  const lowest = values.reduce((one, other) => Math.min(one, other));
  const highest = values.reduce((one, other) => Math.max(one, other));
  // An axis shorter than the precision of its numbers would keep plotly.js counting ticks for ever.
  const margin = highest - lowest < SHORTEST * highest ? 0.005 * highest : MARGIN * (highest - lowest);
  return [lowest - margin, highest + margin];
}

function quantile(values, share) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.round(share * (sorted.length - 1))];
}
