"""What each method is, which settings it uses, and what goes together."""

from dataclasses import dataclass
from typing import Any, get_args

from studio.core.recipe import Method, Recipe


@dataclass(frozen=True)
class MethodInfo:
    name: str
    sentence: str
    paper: str
    fields: tuple[str, ...]


METHODS: dict[Method, MethodInfo] = {
    key: MethodInfo(key, f"Sentence of {key}.", "arXiv:2106.09685", ("rank",)) for key in get_args(Method)
}


def unused(recipe: Recipe) -> dict[str, str]:
    found = {}
    if recipe.method == "vera":
        found["dropout"] = "VeRA has no dropout of its own."
    if recipe.method not in {"prompt", "prefix"}:
        found["virtual_tokens"] = "Only for prompt and prefix tuning."
    if recipe.bits != 4:
        found["quantization"] = "Only with 4 bits."
    return found


def conflicts(recipe: Recipe) -> dict[str, str]:
    return {"bits": "Full fine-tuning needs 16 bits."} if recipe.method == "full" and recipe.bits != 16 else {}


def allowed(field: str, option: Any, recipe: Recipe) -> str:
    return "needs 16 bits." if field == "method" and option == "full" and recipe.bits != 16 else ""
