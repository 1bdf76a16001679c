// The alarms of the last day, the most important first: headlines, on demand why, links to more, and their marks.

import { address } from "./api.js";
import { partition } from "./dagster.js";
import { element, keyed, link, mark, setText } from "./dom.js";
import { marking } from "./marks.js";
import * as words from "./words.js";

export const KINDS = {
  market_move: "Market move", large_move: "Large move", jump: "Jump", idiosyncratic: "Left the market",
  user_threshold: "5% or more", gap_move: "Move over a gap", bad_tick: "Bad tick",
  stale_feed: "Feed stuck",
};
const SCOPES = {
  market: "the whole market", idiosyncratic: "this coin alone", mixed: "partly the market",
  unknown: "market unknown",
};

/**
 * Show `rows` of /anomalies, requested at the time `asOf`; `open(id)` shows the document of one, or returns false if its
 * link can; `again()` reads everything again.
 */
export function showAlarms(list, rows, asOf, open, again) {
  keyed(list, rows.map((row) => ({ ...row, asOf })), (row) => row.id, (row) => create(row, open, again));
}

/** Summarize the alarms in a sentence; `fresh` is whether prices are current and scored. */
export function summary(rows, more, fresh) {
  if (!rows.length) return fresh ? "None: no move was unusual." : "None among the prices that arrived.";
  const critical = rows.filter((row) => row.severity === "critical").length;
  const count = more ? `The ${rows.length} most important` : rows.length === 1 ? "1 alarm" : `${rows.length} alarms`;
  return `${count}, ${critical || "none"} critical.`;
}

function create(row, open, again) {
  const time = element("time");
  const severity = element("span", { class: "severity" });
  const headline = element("strong", { dir: "auto" });
  const explanation = element("p", { dir: "auto" });
  const kind = element("span");
  const symbol = element("span");
  const chart = element("a", { "aria-label": "This anomaly in the chart" }, "chart");
  const document = link(address(`anomalies/${encodeURIComponent(row.id)}`), "JSON", `This anomaly as JSON`);
  const lineage = link("", "Dagster", `This anomaly's day in the Dagster UI`);
  const marks = marking(row.id, again);
  document.addEventListener("click", (event) => {
    if (open(row.id)) event.preventDefault();
  });
  const item = element("li", {},
    element("details", {}, element("summary", {}, severity, " ", headline), explanation),
    element("p", { class: "more faint" }, time, kind, symbol, chart, document, lineage),
    marks);
  item.update = (given) => {
    words.age(time, Date.parse(given.timestamp), (at) => `${words.clock(at)} UTC, ${words.ago(at)}`);
    setText(severity, given.severity);
    mark(severity, "data-severity", given.severity);
    mark(item, "data-severity", given.severity);
    setText(headline, given.headline);
    setText(explanation, given.explanation);
    setText(kind, `${KINDS[given.kind] ?? given.kind}, ${SCOPES[given.scope] ?? given.scope}`);
    setText(symbol, given.members.length ? given.members.join(", ") : given.symbol);
    marks.update(given, given.asOf);
    chart.href = address(`symbols/${encodeURIComponent(given.symbol)}?around=${encodeURIComponent(given.timestamp)}`);
    mark(chart, "data-around", given.timestamp);
    lineage.href = partition("price_anomalies", given.symbol, Date.parse(given.timestamp));
  };
  return item;
}
