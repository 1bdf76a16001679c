// The document of an anomaly, shown in a dialog of the page.

import { fetchDocument, token } from "./api.js";
import { setText } from "./dom.js";

/** Show the document of the anomaly `id` if there is a token, which its link does not send; else return false. */
export function openDocument(id, failed) {
  if (!token.get()) return false;
  fetchDocument(`anomalies/${id}`).then((found) => {
    setText(document.getElementById("document-text"), JSON.stringify(found, null, 2));
    document.getElementById("document").showModal();
  }, failed);
  return true;
}
