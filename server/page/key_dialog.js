// Asks for the API key when the server wants one.

import { setKey } from "./api.js";
import { byId } from "./dom.js";

let asking = null;

// True when there is a new key to try; false if it was cancelled. One dialog, however many wait for it.
export function askKey(reason) {
  asking ??= new Promise((resolve) => {
    const dialog = byId("key-dialog");
    if (reason) byId("key-reason").textContent = reason;
    byId("key").value = "";
    const end = () => {
      asking = null;
      resolve(dialog.returnValue === "given");
    };
    dialog.returnValue = "";
    dialog.addEventListener("close", end, { once: true });
    dialog.showModal();
    byId("key").focus();
  });
  return asking;
}

export function setUpKeyDialog() {
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    setKey(byId("key").value);
    byId("key-dialog").close("given");
  });
  byId("cancel-key").addEventListener("click", () => byId("key-dialog").close(""));
}
