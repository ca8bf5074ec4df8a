// Starts the script of the page that is open, once Gradio has put its place there.
import { showRun } from "./run.js";
import { showModels } from "./models.js";
import { showData } from "./data.js";
import { showStorage } from "./storage.js";
import { showForecast } from "./forecast.js";

const starts = { "run-page": showRun, "models-page": showModels, "data-page": showData, "storage-page": showStorage, "forecast-panel": showForecast };
const titles = { "/": "New model", "/run": "Run", "/models": "My models", "/chat": "Chat", "/data": "Data", "/storage": "Storage" };
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
