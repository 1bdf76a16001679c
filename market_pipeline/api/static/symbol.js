// The page of a symbol: its chart over the time that a person chooses, and its alarms.

import { fetchDocument, now, Unauthorized } from "./api.js";
import { showAlarms } from "./alarms.js";
import { connect, draw, inView } from "./chart.js";
import { partition, setUi } from "./dagster.js";
import { openDocument } from "./dialog.js";
import { element, mark, setText } from "./dom.js";
import { connectHistory, refreshHistory } from "./history.js";
import { around, chosen, DAY_RANGE, fetchChart, path, RANGES, symbol, toAddress } from "./span.js";
import { inOneLine, problem, setServing, showConditions } from "./state.js";
import { onToken, requestToken, waitsForToken } from "./token.js";
import * as words from "./words.js";

const EVERY_MS = 60_000;
const AGES_MS = 5_000;
// Zooming fires several times while a wheel turns or a key repeats.
const SETTLE_MS = 120;

const at = (id) => document.getElementById(id);
let wanted = 0;
let timer = null;
let shown = null;
let standing = [];

/** Fetch and draw the chart; call `early()` when its prices show, while plotly.js gets ready. */
async function showChart(early = () => {}) {
  const request = ++wanted;
  mark(at("chart"), "aria-busy", "true");
  try {
    const document = await fetchChart();
    // A person has moved on meanwhile.
    if (request !== wanted) return;
    at("content").hidden = false;
    setText(at("symbol"), `${document.symbol} ${document.coin}`);
    await draw(document, chosen.view, () => tell(document), early);
  } finally {
    if (request === wanted) mark(at("chart"), "aria-busy", null);
  }
}

/** Write what belongs to the time that shows: the price, its change, and the partitions in Dagster. */
function tell({ symbol: name, edges: [first, last], newest, change_24h: ofDay }) {
  const { view } = inView();
  // The 24 h change is the same everywhere; that of another time is between its first and its last price.
  const isDay = !chosen.view && chosen.range === DAY_RANGE;
  const between = last ? Date.parse(last.timestamp) - Date.parse(first.timestamp) : 0;
  const change = isDay ? ofDay : between ? last.price / first.price - 1 : null;
  const length = isDay ? chosen.range : words.length(between);
  setText(at("price"), last ? words.price(last.price) : "no prices");
  setText(at("change"), change === null ? "" : `${words.percent(change)} in ${length}`);
  at("age").hidden = chosen.view !== null || newest === null;
  if (newest !== null) words.age(at("age"), Date.parse(newest), (time) => `newest price ${words.ago(time)}`);
  mark(at("change"), "data-sign", change === null ? null : String(Math.sign(change)));
  for (const button of at("ranges").children) {
    mark(button, "aria-pressed", String(!chosen.view && button.textContent === chosen.range));
  }
  // The day of the last quote that shows.
  const end = Math.min(view[1] - 1, now());
  setText(at("day"), words.date(end));
  at("prices-in-dagster").href = partition("raw_prices", name, end);
  at("anomalies-in-dagster").href = partition("price_anomalies", name, end);
  document.title = last ? `${name} ${words.price(last.price)}` : name;
}

function choose(range, view) {
  Object.assign(chosen, { range: range ?? chosen.range, view });
  toAddress();
  clearTimeout(timer);
  timer = setTimeout(() => showChart().then(() => showProblem(null), failed), view ? SETTLE_MS : 0);
}

async function refresh() {
  let state = null;
  // The chart first; but a line above it should not move it once it can be used.
  const early = () => (state = fetchDocument(`${path}/conditions.json`)).catch(() => {});
  try {
    await Promise.all([fetchDocument("page-settings.json").then(apply), showChart(early)]);
    requestToken(false);
    showProblem(null);
    const told = state?.then(({ conditions }) => {
      standing = inOneLine(conditions);
      showProblem(null);
    });
    await Promise.all([told, refreshHistory(list)]);
  } catch (error) {
    requestToken(error instanceof Unauthorized);
    failed(error);
  }
}

function apply({ dagster_ui_url: ui, other_source: source, serving }) {
  setUi(ui);
  setServing(serving);
  at("source").hidden = !source;
  setText(at("source"), `Prices from ${source}, not from CoinGecko.`);
}

function failed(error) {
  if (error instanceof Unauthorized) {
    requestToken(true);
    at("content").hidden = true;
    setText(at("updated"), "");
    return;
  }
  showProblem(problem(error, shown));
  if (!shown) setText(at("updated"), "");
}

/** Show why there is nothing new, or else whether the chain stands still. */
function showProblem(found) {
  showConditions(at("banners"), found === null ? standing : [found]);
  document.body.classList.toggle("old", found !== null && shown !== null);
  if (found !== null) return;
  shown = now();
  setText(at("updated"), `As of ${words.clock(shown)} UTC`);
}

function open(id) {
  return openDocument(id, failed);
}

/** Show one alarm below the chart, to read more of it and to mark it. */
async function openAlarm(id) {
  const asOf = performance.now();
  const { anomaly } = await fetchDocument(`anomalies/${id}`);
  showAlarms(at("chosen"), [anomaly], asOf, open, refresh);
  at("chosen").querySelector("details").open = true;
  at("chosen").querySelector("summary").focus();
}

at("ranges").append(...RANGES.map(([name]) => {
  const button = element("button", { type: "button", "aria-pressed": "false" }, name);
  button.addEventListener("click", () => choose(name, null));
  return button;
}));
// The links of alarms to the chart move this one.
document.addEventListener("click", (event) => {
  const time = Date.parse(event.target.dataset?.around ?? "");
  if (!time || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  choose(null, around(time));
  at("chart").scrollIntoView({ block: "nearest" });
});
const list = connectHistory(symbol, open, refresh, failed);
setText(at("symbol"), symbol);
onToken(refresh);
connect((view) => choose(null, view), () => choose(null, null), (id) => openAlarm(id).catch(failed));
const whileVisible = () => document.hidden || waitsForToken() || refresh();
document.addEventListener("visibilitychange", whileVisible);
setInterval(whileVisible, EVERY_MS);
setInterval(words.grow, AGES_MS);
refresh();
