// The line of prices as an SVG, where plotly.js is about to draw it: reading that library takes a browser a second.

import { drawn } from "./dom.js";
import { frame, placesIn } from "./figure.js";

/** Draw the prices of `chart` in `view` into `box`, and wait until they show. */
export async function preview(box, chart, view) {
  const { width, height } = box.getBoundingClientRect();
  const places = placesIn(chart, view);
  // A hidden tab draws nothing.
  if (!places || !width || document.hidden) return;
  const { margin, share, lowest, highest } = frame(chart, view);
  const [start, end] = view;
  const wide = width - margin.l - margin.r, high = (height - margin.t - margin.b) * share;
  const x = (time) => (margin.l + ((time - start) / (end - start)) * wide).toFixed(1);
  const y = (price) => (margin.t + ((highest - price) / (highest - lowest)) * high).toFixed(1);
  const [first, last] = places;
  const lines = chart.lines.map(([begin, stop]) => {
    const points = [];
    for (let n = Math.max(begin, first); n < Math.min(stop, last + 1); n += 1) {
      points.push(`${x(chart.times[n])} ${y(chart.candles.close[n])}`);
    }
    return points.length ? `M${points.join("L")}` : "";
  });
  const svg = drawn("svg", { class: "preview", width, height, "aria-hidden": "true" });
  svg.append(drawn("path", { d: lines.join("") }));
  box.querySelector(".preview")?.remove();
  box.prepend(svg);
  await new Promise((shown) => requestAnimationFrame(() => setTimeout(shown)));
}
