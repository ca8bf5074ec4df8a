// Starts the script of the page that is open, once Gradio has put its place there.
import { showRun } from "./run.js";
import { showModels } from "./models.js";
import { showStorage } from "./storage.js";

const starts = { "run-page": showRun, "models-page": showModels, "storage-page": showStorage };
const titles = { "/": "New model", "/run": "Run", "/models": "My models", "/chat": "Chat", "/storage": "Storage" };
const started = new WeakSet();

function look() {
  for (const [id, start] of Object.entries(starts)) {
    const place = document.getElementById(id);
    if (place && !started.has(place)) {
      started.add(place);
      start(place);
    }
  }
}

new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
look();
const title = titles[location.pathname.replace(/(.)\/$/, "$1")];
if (title) document.title = `${title} · Adapter Studio`;
