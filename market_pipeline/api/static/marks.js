// What people say of an alarm: three buttons, of which one may be pressed, and a note.

import { sendDocument, Unauthorized, Unreachable } from "./api.js";
import { element, mark, setText } from "./dom.js";

const MARKS = [
  ["real", "Real", "Worth the alarm"],
  ["noise", "Noise", "Not worth the alarm, or a mistake of the source"],
  ["expected", "Expected", "Known beforehand"],
];
const LONGEST_NOTE = 300;
const NONE = { mark: null, note: "" };

/** Create the controls of the alarm `id`; `again()` reads everything again after the token was refused. */
export function marking(id, again) {
  let stored = NONE, wanted = NONE, sending = false, changedAt = 0;
  const buttons = MARKS.map(([name, text, title]) => {
    const button = element("button", { type: "button", title }, text);
    button.addEventListener("click", () => save(wanted.mark === name ? NONE : { mark: name, note: note.value }));
    return button;
  });
  const note = element("input", {
    "aria-label": "Note on this alarm", placeholder: "Note", maxlength: LONGEST_NOTE, autocomplete: "off", dir: "auto",
  });
  note.addEventListener("change", () => wanted.mark && save({ mark: wanted.mark, note: note.value }));
  const problem = element("p", { class: "problem", role: "alert" });
  const controls = element("div", { class: "marks" },
    element("div", { role: "group", "aria-label": "What this alarm was" }, ...buttons), note, problem);

  function show() {
    buttons.forEach((button, place) => mark(button, "aria-pressed", String(MARKS[place][0] === wanted.mark)));
    note.hidden = wanted.mark === null;
    if (note.hidden) note.value = "";
  }

  /** Send what is wanted, and what is wanted meanwhile; on failure show what is stored, and why. */
  async function save(next) {
    wanted = next;
    show();
    if (sending) return;
    sending = true;
    try {
      while (wanted !== stored) {
        const sent = wanted;
        await send(id, sent);
        stored = sent;
      }
      setText(problem, "");
    } catch (error) {
      wanted = stored;
      setText(problem, reason(error));
      if (error instanceof Unauthorized) again();
    } finally {
      sending = false;
      changedAt = performance.now();
      show();
    }
  }

  /** Show the mark of `row`, which was requested at the time `asOf`; an older answer does not undo a change. */
  controls.update = (row, asOf) => {
    if (sending || asOf < changedAt) return;
    stored = wanted = { mark: row.mark, note: row.note ?? "" };
    show();
    // Text that is being written, or was refused, stays.
    if (document.activeElement !== note && !problem.textContent) note.value = stored.note;
  };
  show();
  return controls;
}

function send(id, { mark: name, note }) {
  const path = `anomalies/${encodeURIComponent(id)}/mark`;
  return name === null ? sendDocument("DELETE", path) : sendDocument("PUT", path, { mark: name, note });
}

function reason(error) {
  if (error instanceof Unauthorized) return "Not saved: the token is not accepted.";
  if (error instanceof Unreachable) return "Not saved: the API cannot be reached. Try again.";
  return `Not saved: ${error.message}`;
}
