// The page: reads the API once a minute and shows the answers, or why there are none.

import { fetchDocument, now, Refused, token, Unauthorized } from "./api.js";
import { showAlarms, summary } from "./alarms.js";
import { setUi } from "./dagster.js";
import { openDocument } from "./dialog.js";
import { setText } from "./dom.js";
import { forgetSeries, newest, series } from "./series.js";
import { problem, setServing, showConditions, showState } from "./state.js";
import { showSymbols } from "./symbols.js";
import { onToken, requestToken, waitsForToken } from "./token.js";
import { SPAN_MS } from "./track.js";
import { clock, grow } from "./words.js";

// Each is a request, when the page is opened and every minute.
const MOST_SYMBOLS = 100;
const EVERY_MS = 60_000;
const AGES_MS = 5_000;
const STATE_MS = 500;
const MAX_ALARMS = 200;

const at = (id) => document.getElementById(id);
let shown = null;
let known = null;
let inProgress = null;

async function fetched() {
  const asOf = performance.now();
  const since = new Date(now() - SPAN_MS).toISOString();
  const [settings, { symbols }, budget, alarms] = await Promise.all([
    fetchDocument("page-settings.json"), fetchDocument("symbols"), fetchDocument("budget"),
    fetchDocument(`anomalies?alarms_only=true&sort=importance&since=${since}&limit=${MAX_ALARMS}`),
  ]);
  const first = symbols.slice(0, MOST_SYMBOLS);
  const rows = await Promise.all(first.map(async ({ symbol, coin_id, name, last, change_24h: change, last_30_days: past }) => {
    const points = await series(symbol);
    return {
      symbol, coin: name ?? coin_id, past, points, change,
      newest: points.at(-1) ?? (last ? await newest(symbol) : null),
      alarms: alarms.anomalies.filter((row) => concerns(row, symbol)).map((row) => Date.parse(row.timestamp)),
    };
  }));
  return { settings, budget, alarms, rows, collected: symbols.length, asOf };
}

function concerns(row, symbol) {
  return row.symbol === symbol || row.members.includes(symbol);
}

/** Show what was fetched; `ready` is null while the state is unknown. */
function show({ settings, budget, alarms, rows, collected, asOf }, ready) {
  const stale = new Set(ready?.symbols.filter(({ fresh }) => !fresh).map(({ symbol }) => symbol));
  setUi(settings.dagster_ui_url);
  setServing(settings.serving);
  at("source").hidden = !settings.other_source;
  setText(at("source"), `Prices from ${settings.other_source}, not from CoinGecko.`);
  // A link sends no token.
  at("metrics").hidden = Boolean(token.get());
  if (ready) showConditions(at("banners"), ready.conditions);
  showState(at("state"), ready, budget);
  showSymbols(at("symbols"), rows.map((row) => ({ ...row, stale: stale.has(row.symbol) })));
  at("others").hidden = rows.length === collected;
  setText(at("others"), `The first ${rows.length} of ${collected} symbols; the API has the prices of all.`);
  showAlarms(at("alarms"), alarms.anomalies, asOf, (id) => openDocument(id, failed), again);
  const fresh = ready !== null && ready.symbols.every((symbol) => symbol.fresh && symbol.scores_fresh);
  const words = summary(alarms.anomalies, alarms.next_cursor !== null, fresh);
  setText(at("alarms-summary"), words);
  // They are below all symbols.
  at("to-alarms").hidden = !alarms.anomalies.length;
  setText(at("to-alarms"), words.replace(/\.$/, ""));
  at("key").hidden = !rows.some(({ points }) => points.length);
  at("content").hidden = false;
  document.body.classList.remove("old");
  shown = now();
  setText(at("updated"), `As of ${clock(shown)} UTC`);
}

function failed(error) {
  if (error instanceof Unauthorized) {
    at("content").hidden = at("metrics").hidden = true;
    showConditions(at("banners"), []);
    setText(at("updated"), "");
    forgetSeries();
    return;
  }
  showConditions(at("banners"), [problem(error, shown)]);
  document.body.classList.toggle("old", shown !== null);
  if (!shown) setText(at("updated"), "");
}

async function refresh() {
  const state = readiness();
  try {
    const found = await fetched();
    requestToken(false);
    known ??= await Promise.race([state, later(STATE_MS)]);
    show(found, known);
    known = await state;
    show(found, known);
  } catch (error) {
    requestToken(error instanceof Unauthorized);
    // Of several problems, that of /readyz describes the whole installation.
    failed(error instanceof Refused ? await state.then(() => error, (other) => other) : error);
  }
}

/** Fetch /readyz, which may take longer than the prices: it reads Dagster as well. */
function readiness() {
  const state = fetchDocument("readyz");
  state.catch(() => {});
  return state;
}

function later(milliseconds) {
  return new Promise((resolve) => setTimeout(() => resolve(null), milliseconds));
}

/** Refresh, one at a time: a call meanwhile waits for the one in progress. */
function again() {
  inProgress ??= refresh().finally(() => (inProgress = null));
  return inProgress;
}

onToken(again);
const whileVisible = () => document.hidden || waitsForToken() || again();
document.addEventListener("visibilitychange", whileVisible);
setInterval(whileVisible, EVERY_MS);
setInterval(grow, AGES_MS);
again();
