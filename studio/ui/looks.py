"""How each field of the form looks beside the others: without effect, not going together, changed."""

from collections.abc import Container
from typing import Any

from studio.core.methods import METHODS, allowed, conflicts, unused
from studio.core.presets import Advice
from studio.core.recipe import ADVANCED_FIELDS, GROUPS, Recipe
from studio.ui import forms, markup

Look = dict[str, Any]  # what `gradio.update` takes


def looks(recipe: Recipe, advice: Advice, changed: Container[str], wrong: Container[str]) -> dict[str, Look]:
    """One a field. `recipe` is what is chosen as far as it can be used, `wrong` names what cannot."""
    idle, against = unused(recipe), conflicts(recipe)
    usual = forms.to_values(advice.recipe)

    def told(name: str) -> tuple[str, str]:
        """The kind of look, and the sentence that explains it."""
        if name in idle:
            return "idle", idle[name]
        if name in against:
            return "wrong", against[name]
        if name in wrong:
            return "wrong", "This cannot be used."
        if name in changed:
            return "changed", f"Changed. The preset says {_written(name, usual[name])}."
        reason = advice.reasons.get(name)
        return "plain", f"{shown(usual[name])}: {reason}." if reason else ""

    found: dict[str, Look] = {}
    for name in ADVANCED_FIELDS:
        kind, sentence = told(name)
        classes = ["cards", f"is-{kind}"] if name == "method" else [f"is-{kind}"]
        info = "\n".join(filter(None, [_help(name, recipe), f"**{sentence}**" if sentence else ""]))
        found[name] = {"info": info, "interactive": name not in idle, "elem_classes": classes}
    return found


def _help(name: str, recipe: Recipe) -> str:
    method = METHODS[recipe.method]
    return f"{forms.help_of(name)} {method.name}: {method.paper}." if name == "method" else forms.help_of(name)


def options(recipe: Recipe) -> dict[str, Look]:
    """For the fields that choose between options: each with the reason why it cannot be chosen now, if there is one."""
    return {
        name: {"choices": [(_option(name, option, recipe), option) for option in forms.options(name)]}
        for name in ADVANCED_FIELDS
        if forms.options(name)
    }


def groups(changed: Container[str]) -> dict[str, Look]:
    """The groups' titles, with how much was changed inside."""
    found = {}
    for title, names in GROUPS.items():
        count = sum(name in changed for name in names)
        found[title] = {"label": f"{title} · {count} changed" if count else title}
    return found


def changes(changed: dict[str, Any], before: dict[str, Any]) -> str:
    """What differs from the preset's values, with a way back."""
    return markup.changes(
        (name, Recipe.model_fields[name].title or name, _written(name, value), _written(name, before[name]))
        for name, value in changed.items()
    )


def shown(value: Any) -> str:
    """A setting's value in a sentence."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "":
        return "nothing"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _written(name: str, value: Any) -> str:
    return METHODS[value].name if name == "method" else shown(value)


def _option(name: str, option: Any, recipe: Recipe) -> str:
    chosen = getattr(recipe, name) == option  # of that, the field itself tells what is wrong
    reason = "" if chosen else allowed(name, option, recipe)
    if name == "method":
        method = METHODS[option]
        return f"{method.name}\n{method.sentence}" + (f"\nNot now: {reason}" if reason else "")
    return f"{option} (not now: {reason})" if reason else str(option)
