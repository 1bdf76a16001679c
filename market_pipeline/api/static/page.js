// The page: asks the API once a minute and shows what it says, or that it says nothing.

import { ask, now, Refused, token, Unauthorized, Unreachable } from "./api.js";
import { showAlarms, summary } from "./alarms.js";
import { setUi } from "./dagster.js";
import { tell } from "./dom.js";
import { forgetSeries, newest, series } from "./series.js";
import { showConditions, showState } from "./state.js";
import { showSymbols } from "./symbols.js";
import { askForToken, onToken, waitsForToken } from "./token.js";
import { SPAN_MS } from "./track.js";
import { clock, grow } from "./words.js";

const EVERY_MS = 60_000;
const AGES_MS = 5_000;
const PATIENCE_MS = 500;
const MOST_ALARMS = 200;

const at = (id) => document.getElementById(id);
let shown = null;
let known = null;
let under_way = null;

async function fetched() {
  const since = new Date(now() - SPAN_MS).toISOString();
  const [settings, { symbols }, budget, alarms] = await Promise.all([
    ask("page-settings.json"), ask("symbols"), ask("budget"),
    ask(`anomalies?alarms_only=true&since=${since}&limit=${MOST_ALARMS}`),
  ]);
  const rows = await Promise.all(symbols.map(async ({ symbol, coin_id, name, last, last_30_days: past }) => {
    const points = await series(symbol);
    return {
      symbol, coin: name ?? coin_id, past, points,
      newest: points.at(-1) ?? (last ? await newest(symbol) : null),
      alarms: alarms.anomalies.filter((row) => concerns(row, symbol)).map((row) => Date.parse(row.timestamp)),
    };
  }));
  return { settings, budget, alarms, rows };
}

function concerns(row, symbol) {
  return row.symbol === symbol || row.members.includes(symbol);
}

/** Show what was fetched; `ready` is null as long as the state is not known. */
function show({ settings, budget, alarms, rows }, ready) {
  const stale = new Set(ready?.symbols.filter(({ fresh }) => !fresh).map(({ symbol }) => symbol));
  setUi(settings.dagster_ui_url);
  at("source").hidden = !settings.other_source;
  tell(at("source"), `Prices from ${settings.other_source}, not from CoinGecko.`);
  // A link carries no token.
  at("metrics").hidden = Boolean(token.get());
  if (ready) showConditions(at("banners"), ready.conditions);
  showState(at("state"), ready, budget);
  showSymbols(at("symbols"), rows.map((row) => ({ ...row, stale: stale.has(row.symbol) })));
  showAlarms(at("alarms"), alarms.anomalies, opened);
  const fresh = ready !== null && ready.symbols.every((symbol) => symbol.fresh && symbol.scores_fresh);
  tell(at("alarms-summary"), summary(alarms.anomalies, alarms.next_cursor !== null, fresh));
  at("key").hidden = !rows.some(({ points }) => points.length);
  at("content").hidden = false;
  document.body.classList.remove("old");
  shown = now();
  tell(at("updated"), `As of ${clock(shown)} UTC`);
}

function failed(error) {
  if (error instanceof Unauthorized) {
    at("content").hidden = at("metrics").hidden = true;
    showConditions(at("banners"), []);
    tell(at("updated"), "");
    forgetSeries();
    return;
  }
  const old = shown ? ` What you see is from ${clock(shown)} UTC.` : "";
  const [kind, why] = error instanceof Unreachable
    ? ["unreachable", "The API cannot be reached; is `market-pipeline serve` running? This page tries again every minute."]
    : ["refused", error.message];
  showConditions(at("banners"), [{ kind, detail: why + old }]);
  document.body.classList.toggle("old", shown !== null);
  if (!shown) tell(at("updated"), "");
}

async function refresh() {
  const asked = readiness();
  try {
    const found = await fetched();
    askForToken(false);
    known ??= await Promise.race([asked, later(PATIENCE_MS)]);
    show(found, known);
    known = await asked;
    show(found, known);
  } catch (error) {
    askForToken(error instanceof Unauthorized);
    // Of several that are told, the one about the whole installation says most.
    failed(error instanceof Refused ? await asked.then(() => error, (other) => other) : error);
    if (![Unauthorized, Unreachable, Refused].some((kind) => error instanceof kind)) throw error;
  }
}

/** The answer of /readyz, which may take longer than the prices do: it asks Dagster as well. */
function readiness() {
  const asked = ask("readyz");
  asked.catch(() => {});
  return asked;
}

function later(milliseconds) {
  return new Promise((resolve) => setTimeout(() => resolve(null), milliseconds));
}

/** One refresh at a time; whoever comes meanwhile waits for the one under way. */
function again() {
  under_way ??= refresh().finally(() => (under_way = null));
  return under_way;
}

/** With a token, which a link does not carry, the document is fetched, and shown here. */
function opened(id) {
  if (!token.get()) return false;
  ask(`anomalies/${id}`).then((document) => {
    tell(at("document-text"), JSON.stringify(document, null, 2));
    at("document").showModal();
  }, failed);
  return true;
}

onToken(again);
const asLongAsSeen = () => document.hidden || waitsForToken() || again();
document.addEventListener("visibilitychange", asLongAsSeen);
setInterval(asLongAsSeen, EVERY_MS);
setInterval(grow, AGES_MS);
again();
