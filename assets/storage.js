// Storage: what each thing takes, and buttons that ask before they delete.
import { element, repeat, request, Unreachable } from "./dom.js";

const MORE = 100;

export function showStorage(place) {
  let most = MORE;
  const again = repeat(async () => {
    try {
      draw(place, await request(`/api/storage?most=${most}`), { remove, more });
      return 0;
    } catch (error) {
      place.removeAttribute("aria-busy");
      place.replaceChildren(notice("warn", error.message));
      return error instanceof Unreachable ? 5000 : 0;
    }
  });
  const more = () => {
    most += MORE * 10;
    again();
  };
  const remove = async (button, thing) => {
    if (!confirm(thing.ask)) return;
    button.disabled = true;
    button.textContent = "Deleting…";
    try {
      draw(place, await request("/api/storage/delete", { kind: thing.kind, id: thing.id, asked: true, most }), { remove, more });
      place.prepend(notice("info", thing.done));
    } catch (error) {
      button.disabled = false;
      button.textContent = "Delete";
      place.querySelector(":scope > .notice")?.remove();
      place.prepend(notice("error", error.message));
      place.firstChild.scrollIntoView({ block: "nearest" });
    }
  };
}

function draw(place, { total, free, groups }, { remove, more }) {
  place.removeAttribute("aria-busy");
  place.replaceChildren(
    element("section", { class: "room", "aria-label": "Room" },
      element("p", { class: "headline" }, `${total} used, ${free} free on this disk`),
      element("div", { class: "shares", "aria-hidden": "true" }, ...groups.map((group) =>
        element("span", { hidden: !group.share, style: `flex-grow: ${group.share}`, title: `${group.title}: ${group.size}` }))),
      element("dl", { class: "facts" }, ...groups.map((group) =>
        element("div", {}, element("dt", {}, group.title), element("dd", {}, group.size))))),
    ...groups.map((group) => section(group, remove, more)));
}

function section({ title, about, things, hidden }, remove, more) {
  return element("section", {},
    element("h2", {}, title),
    element("p", { class: "aside" }, about),
    element("ul", { class: "things" }, ...things.map((thing) => line(thing, remove))),
    hidden ? element("button", { class: "button secondary", type: "button", onclick: more }, "Show more") : null);
}

function line(thing, remove) {
  const button = (label, what) => element("button", {
    class: "button danger small", type: "button", "aria-label": `${label}: ${thing.name}`,
    onclick: (event) => remove(event.currentTarget, what),
  }, label);
  return element("li", { class: "thing" },
    element("div", {},
      element("p", { class: "name" }, thing.href ? element("a", { href: thing.href }, thing.name) : thing.name),
      element("p", { class: "aside" }, [thing.about, thing.in_use].filter(Boolean).join(" · "))),
    element("span", { class: "size" }, thing.size),
    element("div", { class: "buttons" },
      thing.checkpoints ? button("Delete checkpoints", thing.checkpoints) : null,
      thing.ask ? button("Delete", thing) : null));
}

function notice(kind, message) {
  return element("div", { class: `notice ${kind}`, role: kind === "error" ? "alert" : "status" }, element("strong", {}, message));
}
