// The form that asks for the token, and the button that forgets it.

import { token } from "./api.js";
import { tell } from "./dom.js";

const form = document.getElementById("token-form");
const field = document.getElementById("token");
const refused = document.getElementById("token-refused");
const forget = document.getElementById("forget");

/** Call `again` whenever there is another token, or none any more. */
export function onToken(again) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    token.set(field.value.trim());
    field.value = "";
    again();
  });
  forget.addEventListener("click", () => {
    token.forget();
    again();
  });
}

/** Ask for a token if `needed`. */
export function askForToken(needed) {
  if (needed) {
    tell(refused, token.get() ? "This token is not accepted." : "");
    token.forget();
    if (form.hidden) {
      form.hidden = false;
      field.focus();
    }
  } else {
    form.hidden = true;
    tell(refused, "");
  }
  forget.hidden = !token.get();
}

/** Whether the form is open: nothing can be shown until somebody has filled it in. */
export function waitsForToken() {
  return !form.hidden;
}
