// The page of a symbol: its chart over the time that a person chooses, and its alarms.

import { fetchDocument, now, Refused, token, Unauthorized, Unreachable } from "./api.js";
import { showAlarms } from "./alarms.js";
import { connect, draw, inView } from "./chart.js";
import { partition, setUi } from "./dagster.js";
import { element, mark, setText } from "./dom.js";
import { connectHistory, refreshHistory } from "./history.js";
import { showConditions } from "./state.js";
import { onToken, requestToken, waitsForToken } from "./token.js";
import * as words from "./words.js";

const HOUR = 3600_000;
const DAY = 24 * HOUR;
const RANGES = [["24 h", DAY], ["7 d", 7 * DAY], ["30 d", 30 * DAY], ["90 d", 90 * DAY], ["1 y", 365 * DAY], ["all", null]];
const EVERY_MS = 60_000;
const AGES_MS = 5_000;
// Zooming fires several times while a wheel turns or a key repeats.
const SETTLE_MS = 120;

const at = (id) => document.getElementById(id);
const symbol = nameIn(location.pathname.split("/").at(-1)).toUpperCase();
const path = `symbols/${encodeURIComponent(symbol)}`;
const chosen = { range: "24 h", view: null };
let wanted = 0;
let timer = null;
let shown = null;

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
  const time = (name) => Date.parse(given.get(name) ?? "");
  const range = RANGES.find(([name]) => name.replace(" ", "") === given.get("range"));
  if (range) chosen.range = range[0];
  if (time("day")) chosen.view = [time("day"), Math.min(time("day") + DAY, now())];
  if (time("around")) chosen.view = around(time("around"));
  if (time("start") && time("end") > time("start")) chosen.view = [time("start"), time("end")];
}

function around(time) {
  return [time - 12 * HOUR, Math.min(time + 12 * HOUR, now())];
}

function toAddress() {
  const [start, end] = (chosen.view ?? []).map((time) => new Date(time).toISOString());
  const query = chosen.view ? { start, end } : { range: chosen.range.replace(" ", "") };
  history.replaceState(null, "", `?${new URLSearchParams(query)}`);
}

/** Return the query of the chart: a chosen time with as much again around it, so that it can be moved at once. */
function query() {
  if (chosen.view) {
    const [start, end] = chosen.view;
    const beside = (end - start) / 2;
    return new URLSearchParams({
      start: new Date(start - beside).toISOString(), end: new Date(end + beside).toISOString(),
    });
  }
  const [, length] = RANGES.find(([name]) => name === chosen.range);
  return length === null ? "" : new URLSearchParams({ start: new Date(now() - length).toISOString() });
}

async function showChart() {
  const request = ++wanted;
  mark(at("chart"), "aria-busy", "true");
  try {
    const document = await fetchDocument(`${path}/chart.json?${query()}`);
    // A person has moved on meanwhile.
    if (request !== wanted) return;
    at("content").hidden = false;
    setText(at("symbol"), `${document.symbol} ${document.coin}`);
    await draw(document, chosen.view);
    tell(document);
  } finally {
    if (request === wanted) mark(at("chart"), "aria-busy", null);
  }
}

/** Write what belongs to the time that shows: the price, its change, and the partitions in Dagster. */
function tell({ symbol: name }) {
  const { view, close } = inView();
  const [first, last] = [close[0], close.at(-1)];
  const change = close.length > 1 ? last / first - 1 : null;
  setText(at("price"), close.length ? words.price(last) : "no prices");
  setText(at("change"), change === null ? "" : `${words.percent(change)} in ${words.span(view[1] - view[0])}`);
  mark(at("change"), "data-sign", change === null ? null : String(Math.sign(change)));
  for (const button of at("ranges").children) {
    mark(button, "aria-pressed", String(!chosen.view && button.textContent === chosen.range));
  }
  // The day of the last quote that shows.
  const end = Math.min(view[1] - 1, now());
  setText(at("day"), words.date(end));
  at("prices-in-dagster").href = partition("raw_prices", name, end);
  at("anomalies-in-dagster").href = partition("price_anomalies", name, end);
  document.title = close.length ? `${name} ${words.price(last)}` : name;
}

function choose(range, view) {
  Object.assign(chosen, { range: range ?? chosen.range, view });
  toAddress();
  clearTimeout(timer);
  timer = setTimeout(() => showChart().then(() => showProblem(null), failed), view ? SETTLE_MS : 0);
}

async function refresh() {
  try {
    await Promise.all([fetchDocument("page-settings.json").then(apply), showChart()]);
    requestToken(false);
    showProblem(null);
    // The chart first.
    await refreshHistory(list);
  } catch (error) {
    requestToken(error instanceof Unauthorized);
    failed(error);
  }
}

function apply({ dagster_ui_url: ui, other_source: source }) {
  setUi(ui);
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
  if (![Unreachable, Refused].some((kind) => error instanceof kind)) throw error;
  const old = shown ? ` What you see is from ${words.clock(shown)} UTC.` : "";
  showProblem(error instanceof Unreachable
    ? `The API cannot be reached; is \`market-pipeline serve\` running? This page tries again every minute.${old}`
    : error.message);
  if (!shown) setText(at("updated"), "");
}

function showProblem(detail) {
  showConditions(at("banners"), detail === null ? [] : [{ kind: "problem", detail }]);
  if (detail !== null) return;
  shown = now();
  setText(at("updated"), `As of ${words.clock(shown)} UTC`);
}

/** Show one alarm below the chart, to read more of it and to mark it. */
async function openAlarm(id) {
  const asOf = performance.now();
  const { anomaly } = await fetchDocument(`anomalies/${id}`);
  showAlarms(at("chosen"), [anomaly], asOf, openDocument, refresh);
  at("chosen").querySelector("details").open = true;
  at("chosen").querySelector("summary").focus();
}

/** With a token, which a link does not send, fetch the document and show it here. */
function openDocument(id) {
  if (!token.get()) return false;
  fetchDocument(`anomalies/${id}`).then((document) => {
    setText(at("document-text"), JSON.stringify(document, null, 2));
    at("document").showModal();
  }, failed);
  return true;
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
const list = connectHistory(symbol, openDocument, refresh, failed);
setText(at("symbol"), symbol);
fromAddress();
onToken(refresh);
connect((view) => choose(null, view), () => choose(null, null), (id) => openAlarm(id).catch(failed));
const whileVisible = () => document.hidden || waitsForToken() || refresh();
document.addEventListener("visibilitychange", whileVisible);
setInterval(whileVisible, EVERY_MS);
setInterval(words.grow, AGES_MS);
refresh();
