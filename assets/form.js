// The first page's form: what other parts of the page want of its settings, and what it tells them.
//
// studio:apply  {field: value, …} is taken into the form; null means what the preset says
// studio:draft  {upload_id, mapping, base_id, preset, settings, rows, …} whenever something is chosen differently

/** `props.value` is the hidden place from which the server takes a wish. */
export function listen(props) {
  const wish = (fields) => {
    props.value = JSON.stringify({ id: `${Date.now()}-${Math.random()}`, fields });
  };
  window.addEventListener("studio:apply", (event) => wish(event.detail));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-reset]");
    if (button) wish(Object.fromEntries(button.dataset.reset.split(" ").map((name) => [name, null])));
  });
}

/** On a phone the forecast is one line until it is opened. */
export function foldForecast(fold) {
  const wide = matchMedia("(min-width: 961px)");
  const adapt = () => (fold.open = wide.matches);
  wide.addEventListener("change", adapt);
  adapt();
  const panel = fold.querySelector("#forecast-panel");
  const verdict = fold.querySelector("summary .verdict");
  const follow = () => {
    const told = panel.querySelector(".verdict strong")?.textContent ?? "";
    if (verdict.textContent !== told) verdict.textContent = told;
  };
  new MutationObserver(follow).observe(panel, { childList: true, subtree: true });
  follow();
}

/** Tells the page what is chosen now; whoever comes later finds it in `window.studioDraft`. */
export function announce(examples, model) {
  window.studioDraft = { ...examples, ...model };
  window.dispatchEvent(new CustomEvent("studio:draft", { detail: window.studioDraft }));
}

/** Returns what to say about it. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return said("Copied.");
  } catch {
    document.querySelector("#recipe-text textarea")?.select();
    return said("Your browser does not let the page copy. The text is selected: press Ctrl+C.");
  }
}

export function save(text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/yaml" }));
  link.download = "recipe.yaml";
  link.click();
  URL.revokeObjectURL(link.href);
  return said("Saved as recipe.yaml.");
}

function said(sentence) {
  return `<p class="aside" role="status">${sentence}</p>`;
}
