// The state of the installation: scheduler, runs, freshness, and the request budget.

import { now, Refused, Unreachable } from "./api.js";
import { element, keyed, mark, setText } from "./dom.js";
import * as words from "./words.js";

// Nothing is broken, but a reader should know.
const MILD = new Set(["quiet-market", "no-prices-yet", "starting", "collected-elsewhere"]);

let serving = "";

/** Set the commands of this installation that serve the page, as a sentence names them. */
export function setServing(commands) {
  serving = commands;
}

/** Show `conditions` ({kind, detail}) at the top of the page. */
export function showConditions(box, conditions) {
  keyed(box, conditions, ({ kind, detail }) => `${kind} ${detail}`, ({ kind, detail }) => {
    const weight = MILD.has(kind) ? "mild" : "bad";
    const made = element("p", { class: `banner ${weight}`, "data-kind": kind }, detail);
    made.update = () => {};
    return made;
  });
}

/** Return the conditions of /readyz as at most one: the first that is bad, as it caused those after it. */
export function inOneLine(conditions) {
  if (conditions.length < 2) return conditions;
  const { kind, detail } = conditions.find((condition) => !MILD.has(condition.kind)) ?? conditions[0];
  return [{ kind, detail: `${detail} On the page of all symbols: ${conditions.length - 1} more.` }];
}

/** Return an error as a condition, `shown` is from when what shows is, or null; another error is thrown again. */
export function problem(error, shown) {
  const old = shown ? ` What you see is from ${words.clock(shown)} UTC.` : "";
  if (error instanceof Refused) return { kind: "refused", detail: error.message + old };
  if (!(error instanceof Unreachable)) throw error;
  const advice = serving ? `; is ${serving} running?` : ".";
  const why = `The API cannot be reached${advice} This page tries again every minute.`;
  return { kind: "unreachable", detail: why + old };
}

/** Show the answers of /readyz and /budget; null if one is missing. */
export function showState(list, ready, budget) {
  const cells = [];
  if (ready) cells.push({ name: "Scheduler", ...scheduler(ready) });
  if (ready?.jobs) cells.push({ name: "Ticks", ...ticks(ready.jobs.find(({ job }) => job === "tick")) });
  if (ready) cells.push({ name: "Prices", ...freshness(ready.symbols) });
  if (ready) cells.push({ name: "Scores", ...scores(ready.symbols) });
  if (budget) cells.push({ name: "Requests", ...requests(budget) });
  keyed(list, cells, (cell) => cell.name, create);
}

function create({ name }) {
  const value = element("strong");
  const detail = element("span", { class: "faint" });
  const cell = element("div", {}, element("dt", {}, name), element("dd", {}, value, detail));
  cell.update = (given) => {
    setText(value, given.value);
    setText(detail, given.detail);
    mark(cell, "class", given.bad ? "bad" : null);
  };
  return cell;
}

function scheduler({ scheduler_alive: alive, daemons }) {
  const seconds = daemons?.find(({ daemon }) => daemon === "SCHEDULER")?.heartbeat_age_seconds ?? null;
  const heard = seconds === null ? "" : `heartbeat ${words.span(seconds * 1000)} ago`;
  if (alive === null) return { value: "unknown", detail: "Dagster's storage cannot be read", bad: true };
  if (alive) return { value: "alive", detail: heard };
  if (seconds === null) return { value: "never started", detail: "prices are not collected", bad: true };
  return { value: "dead", detail: heard, bad: true };
}

function ticks({ last_success_age_seconds: seconds, last_failure: failed }) {
  const last = seconds === null ? "none has succeeded yet" : `last success ${words.span(seconds * 1000)} ago`;
  if (failed) return { value: "failing", detail: last, bad: true };
  return seconds === null ? { value: "none yet", detail: "" } : { value: "succeed", detail: last };
}

function scores(symbols) {
  const behind = symbols.filter((symbol) => !symbol.scores_fresh).length;
  const ages = symbols.map(({ scored_age_seconds: age }) => age).filter((age) => age !== null);
  return {
    value: behind ? `${behind} of ${symbols.length} behind` : ages.length ? "up to date" : "none yet",
    detail: ages.length ? `newest scored price ${words.span(1000 * Math.min(...ages))} old` : "",
    bad: behind > 0,
  };
}

function freshness(symbols) {
  const fresh = symbols.filter((symbol) => symbol.fresh).length;
  const ages = symbols.map(({ age_seconds: age }) => age).filter((age) => age !== null);
  return {
    value: fresh === symbols.length ? "fresh" : `${fresh} of ${symbols.length} fresh`,
    detail: ages.length ? `newest ${words.span(1000 * Math.min(...ages))} old` : "none stored yet",
    bad: fresh < symbols.length,
  };
}

function requests(budget) {
  const { cool_down_until: until, credits_left: credits, monthly_credits: most } = budget;
  const [left, limit] = [budget.left_this_minute, budget.requests_per_minute].map(words.whole);
  const pause = until ? Date.parse(until) - now() : 0;
  const renews = words.date(Date.parse(budget.renews_at));
  return {
    value: pause > 0 ? `paused for ${words.span(pause)}` : `${left} of ${limit} left this minute`,
    detail: credits === null ? "no monthly limit"
      : `${words.whole(credits)} of ${words.whole(most)} credits left until ${renews}`,
    bad: pause > 0 || credits === 0,
  };
}
