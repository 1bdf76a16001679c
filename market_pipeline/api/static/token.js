// The form for the token, and the button that forgets it.

import { token } from "./api.js";
import { setText } from "./dom.js";

const form = document.getElementById("token-form");
const field = document.getElementById("token");
const refused = document.getElementById("token-refused");
const forget = document.getElementById("forget");

/** Call `again` whenever the token changes. */
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

/** Show the form if a token is `needed`. */
export function requestToken(needed) {
  if (needed) {
    setText(refused, token.get() ? "This token is not accepted." : "");
    token.forget();
    if (form.hidden) {
      form.hidden = false;
      field.focus();
    }
  } else {
    form.hidden = true;
    setText(refused, "");
  }
  forget.hidden = !token.get();
}

/** Return whether the form is open: nothing can be shown before a token is entered. */
export function waitsForToken() {
  return !form.hidden;
}
