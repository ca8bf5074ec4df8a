"""Which models the chat engine can serve: names to folders, and whether an adapter belongs to the base that is here.

A base model goes by its id (`starter`), an adapter by `run-<number of its run>`. A client's text never becomes a path:
a name is either one of those below or refused. Imports no torch.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from studio.core.catalog import CATALOG
from studio.core.errors import ModelError, NotFound, StudioError
from studio.store import adapters, base_models, runs
from studio.store.base_models import BaseModel
from studio.store.db import Database
from studio.store.home import Home

_RUN = re.compile(r"run-([1-9][0-9]{0,14})")
_NAMES_TOLD = 20


class Refused(StudioError):
    """What a client asked for cannot be served. `status` and `code` are what its program reads."""

    def __init__(self, message: str, hint: str = "", status: int = 400, code: str = "invalid_request") -> None:
        super().__init__(message, hint)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Choice:
    """A model to answer with: a base, of these very weights, and perhaps an adapter on it."""

    name: str
    base: BaseModel
    fingerprint: str
    adapter: Path | None


def names(db: Database, home: Home) -> list[str]:
    """What `choose` knows: base models that are here, then adapters, the newest first."""
    trained = runs.adapters(db)
    ids = list(dict.fromkeys([*CATALOG, *(adapter.base_id for adapter in reversed(trained))]))
    taken = {base_models.folder_of(home.models, base_id) for base_id in ids}
    ids += [folder.name for folder in sorted(home.models.iterdir()) if folder not in taken and not folder.suffix]
    return [base_id for base_id in ids if _is_here(home, base_id)] + [f"run-{adapter.run_id}" for adapter in trained]


def choose(db: Database, home: Home, name: str) -> Choice:
    """The model that goes by `name`. Takes seconds the first time a base's weights are read for their fingerprint.

    Raises Refused, in words: no such model, its base is gone, or was other weights when the adapter was trained.
    """
    match = _RUN.fullmatch(name)
    if match:
        return _adapted(db, home, int(match[1]))
    known = names(db, home)
    if name not in known:
        listed = ", ".join(known[:_NAMES_TOLD]) + (" …" if len(known) > _NAMES_TOLD else "")
        hint = f"There are: {listed}." if known else "Get the starter model first: python -m workers.starter"
        raise Refused(f"There is no model “{name[:80]}”.", hint, 404, "model_not_found")
    base = _base(home, name)
    return Choice(name, base, base_models.fingerprint(base.path), None)


def _adapted(db: Database, home: Home, run_id: int) -> Choice:
    try:
        adapter = adapters.usable(db, home, run_id)
    except NotFound as error:
        raise Refused(error.message, error.hint, 404, "model_not_found") from None
    base = _base(home, adapter.base_id)
    fingerprint = base_models.fingerprint(base.path)
    if fingerprint != adapter.base_fingerprint:
        raise Refused(
            f"This adapter was trained on other weights of {base.name} (fingerprint "
            f"{adapter.base_fingerprint[:12]}…, here {fingerprint[:12]}…). It would give nonsense on these.",
            "Get the original base model back, or train again.",
            409,
            "wrong_base",
        )
    return Choice(f"run-{run_id}", base, fingerprint, adapters.folder(home, adapter))


def _base(home: Home, base_id: str) -> BaseModel:
    try:
        base = base_models.find(home.models, base_id)
    except ModelError as error:
        raise Refused(error.message, error.hint, 409, "base_unusable") from None
    if base is None:
        raise Refused(
            "The base model this adapter was trained on is not on this computer any more.",
            f"Put {Path(base_id).name} back into the models folder, or train again on another base model.",
            409,
            "base_missing",
        )
    return base


def _is_here(home: Home, base_id: str) -> bool:
    try:
        return base_models.find(home.models, base_id) is not None
    except ModelError:
        return False
