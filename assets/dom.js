// Small helpers. Values become text nodes and attributes, never markup: names, questions and answers may be hostile.

/** element("p", { class: "lead", onclick: f }, "text", child…); null and "" children are left out. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** The JSON at `path`, or an Error whose message a person can read. */
export async function request(path, body) {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Unreachable("The studio does not answer. Training goes on if it was running; this page tries again.");
  }
  const content = await answer.json().catch(() => ({}));
  if (answer.status === 503) throw new Unreachable([content.message, content.hint].filter(Boolean).join(" "));
  if (!answer.ok) throw new Error([content.message ?? "That did not work.", content.hint].filter(Boolean).join(" "));
  return content;
}

/** The studio does not answer just now: the same request may succeed later. */
export class Unreachable extends Error {}

/**
 * Calls `work` again and again while it returns a number of milliseconds to wait; rests while the tab is hidden.
 * Returns a function that makes the next turn happen now.
 */
export function repeat(work) {
  let timer = null;
  let busy = false;
  const turn = async () => {
    clearTimeout(timer);
    timer = null;
    if (busy) return;
    busy = true;
    const wait = await work().finally(() => (busy = false));
    if (wait) timer = setTimeout(turn, document.hidden ? Math.max(wait, 15000) : wait);
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && timer !== null) turn();
  });
  turn();
  return turn;
}
