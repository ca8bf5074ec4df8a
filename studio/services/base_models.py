"""Which base models can be chosen, and whether one that was named can be used."""

from dataclasses import dataclass
from pathlib import Path

from studio.core.catalog import CATALOG
from studio.core.errors import ModelError
from studio.services.context import Studio
from studio.store import base_models

_UNKNOWN_PARAMETERS = 7_000_000_000


@dataclass(frozen=True)
class Choice:
    id: str
    name: str
    words: str
    licence: str
    here: bool  # False: it would be downloaded when the run starts


def choices(studio: Studio) -> list[Choice]:
    """The catalog, what the operator allows besides, and the folders they put into the models folder."""
    known = [Choice(m.id, m.name, m.words, m.licence, _is_here(studio, m.id)) for m in CATALOG.values()]
    allowed = [i.strip() for i in studio.settings.hub_models.split(",") if i.strip() and i.strip() not in CATALOG]
    known += [Choice(i, i, "Allowed by the operator.", "see its card", _is_here(studio, i)) for i in allowed]
    taken = {base_models.folder_of(studio.home.models, c.id) for c in known}
    for folder in sorted(studio.home.models.iterdir()):
        if folder not in taken and _is_here(studio, folder.name):
            known.append(
                Choice(folder.name, folder.name, "A model in the studio's models folder.", "see its card", True)
            )
    return known


def usable(studio: Studio, model_id: str, typed_by_operator: bool = False) -> str:
    """The id under which the model can be trained on.

    A browser may only choose from `choices`; whoever sits at the command line may also name a folder or a hub id.
    Raises ModelError, in words, otherwise.
    """
    if model_id in {c.id for c in choices(studio)}:
        base_models.find(studio.home.models, model_id)
        return model_id
    if typed_by_operator:
        folder = Path(model_id).expanduser()
        if folder.is_dir():
            base_models.check(folder.resolve())
            return str(folder.resolve())
        if model_id.count("/") == 1 and not model_id.startswith((".", "/", "~")):
            return model_id
    known = ", ".join(c.id for c in choices(studio))
    raise ModelError(f"There is no base model “{model_id[:80]}”.", f"Choose one of: {known}.")


def parameters(studio: Studio, model_id: str) -> int:
    """The model's size; that of a common big one if neither the catalog nor its files tell."""
    known = CATALOG.get(model_id)
    if known:
        return known.parameters
    try:
        model = base_models.find(studio.home.models, model_id)
        return base_models.parameters(model.path) if model else _UNKNOWN_PARAMETERS
    except (ModelError, ValueError, KeyError):
        return _UNKNOWN_PARAMETERS


def display_name(model_id: str) -> str:
    """A name without anything of this machine in it."""
    known = CATALOG.get(model_id)
    return known.name if known else (Path(model_id).name if Path(model_id).is_absolute() else model_id)


def _is_here(studio: Studio, model_id: str) -> bool:
    try:
        return base_models.find(studio.home.models, model_id) is not None
    except ModelError:
        return False
