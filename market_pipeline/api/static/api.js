// Requests to the API: with the token if there is one, and one error class per kind of failure.

const TOKEN = "market_pipeline.token";
const TIMEOUT_MS = 20_000;
// Relative to this script: a proxy may add a prefix, and pages are at several depths.
const ROOT = new URL("..", import.meta.url);
// As many as a browser sends at once; further ones would time out before they are sent.
const CONCURRENT = 6;

/** The API requires a token, or another one. */
export class Unauthorized extends Error {}

/** There is no answer, or none that is JSON. */
export class Unreachable extends Error {}

/** The API answers with a problem; the message is its detail, with the trace id for the log. */
export class Refused extends Error {}

let ahead = 0;
let free = CONCURRENT;
const waiting = [];

/** The server's time, milliseconds since 1970: the reader's clock may be wrong. */
export function now() {
  return Date.now() + ahead;
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (text) => sessionStorage.setItem(TOKEN, text),
  forget: () => sessionStorage.removeItem(TOKEN),
};

/** Return the address of `path`, which has no leading slash, for a link or a request. */
export function address(path) {
  return new URL(path, ROOT).href;
}

/** Fetch the document at `path`. */
export function fetchDocument(path) {
  return inTurn(() => sendRequest(path, {}));
}

/** Send `document` (or nothing) to `path`; return the document of the answer, null if it has none. */
export function sendDocument(method, path, document) {
  const body = document === undefined ? {} : {
    headers: { "Content-Type": "application/json" }, body: JSON.stringify(document),
  };
  return inTurn(() => sendRequest(path, { method, ...body }));
}

async function inTurn(request) {
  if (free) free -= 1;
  else await new Promise((resolve) => waiting.push(resolve));
  try {
    return await request();
  } finally {
    const next = waiting.shift();
    if (next) next();
    else free += 1;
  }
}

async function sendRequest(path, options) {
  const headers = { Accept: "application/json", ...options.headers };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  let answer, text;
  try {
    answer = await fetch(address(path), { ...options, headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
    text = await answer.text();
  } catch {
    throw new Unreachable(path);
  }
  const date = Date.parse(answer.headers.get("Date"));
  // The header has whole seconds: ignore differences below two.
  if (Number.isFinite(date)) ahead = Math.abs(date - Date.now()) < 2000 ? 0 : date - Date.now();
  if (answer.status === 401) throw new Unauthorized();
  if (answer.status === 204) return null;
  const document = parsed(text);
  if (document === null) throw new Unreachable(path);
  if (!answer.ok) throw new Refused(message(document) ?? `${path}: ${answer.status}`);
  return document;
}

function message({ detail, trace_id: id }) {
  return detail && id ? `${detail} (trace id ${id})` : detail;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
