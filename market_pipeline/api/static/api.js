// Asking the API: with the token if there is one, and telling apart what can go wrong.

const TOKEN = "market_pipeline.token";
const PATIENCE_MS = 20_000;
// As many as a browser sends at once; further ones would lose their patience before they are sent.
const AT_ONCE = 6;

/** The API asks for a token, or for another one. */
export class Unauthorized extends Error {}

/** Nobody answers, or nothing that can be understood. */
export class Unreachable extends Error {}

/** The API answers with a problem; its detail is the message, with the id by which the log has more. */
export class Refused extends Error {}

let ahead = 0;
let free = AT_ONCE;
const waiting = [];

/** The server's time, milliseconds since 1970: whoever reads this may have a clock that is wrong. */
export function now() {
  return Date.now() + ahead;
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN),
  set: (text) => sessionStorage.setItem(TOKEN, text),
  forget: () => sessionStorage.removeItem(TOKEN),
};

/** The document at `path`, which is relative: a proxy may add a prefix. */
export async function ask(path) {
  if (free) free -= 1;
  else await new Promise((resolve) => waiting.push(resolve));
  try {
    return await asked(path);
  } finally {
    const next = waiting.shift();
    if (next) next();
    else free += 1;
  }
}

async function asked(path) {
  const headers = { Accept: "application/json" };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  let answer, text;
  try {
    answer = await fetch(path, { headers, signal: AbortSignal.timeout(PATIENCE_MS) });
    text = await answer.text();
  } catch {
    throw new Unreachable(path);
  }
  const date = Date.parse(answer.headers.get("Date"));
  // Dates have whole seconds; less than two of difference is none.
  if (Number.isFinite(date)) ahead = Math.abs(date - Date.now()) < 2000 ? 0 : date - Date.now();
  if (answer.status === 401) throw new Unauthorized();
  const document = parsed(text);
  if (document === null) throw new Unreachable(path);
  if (!answer.ok) throw new Refused(told(document) ?? `${path}: ${answer.status}`);
  return document;
}

function told({ detail, trace_id: id }) {
  return detail && id ? `${detail} (trace id ${id})` : detail;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
