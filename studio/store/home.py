"""Where things are kept: every path below the studio's home folder is named here and nowhere else."""

import os
from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import StudioError
from studio.settings import Settings

VERSIONS = "examples.db"


@dataclass(frozen=True)
class Home:
    path: Path
    models: Path  # may lie elsewhere, on a bigger disk

    @classmethod
    def at(cls, settings: Settings) -> "Home":
        path = settings.home.expanduser().resolve()
        models = settings.models.expanduser().resolve() if settings.models else path / "models"
        home = cls(path, models)
        try:
            for folder in (path, models, home.datasets, home.runs, home.uploads, home.logs):
                folder.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise StudioError(
                f"The studio cannot keep its files in {path} ({reason}).", "Choose another folder with --home."
            ) from None
        return home

    @property
    def environment(self) -> dict[str, str]:
        """What makes another process open this home."""
        return {"STUDIO_HOME": str(self.path), "STUDIO_MODELS": str(self.models)}

    @property
    def database(self) -> Path:
        return self.path / "studio.db"

    @property
    def queue(self) -> Path:
        return self.path / "queue.db"

    @property
    def datasets(self) -> Path:
        return self.path / "datasets"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def uploads(self) -> Path:
        """Files a browser has sent and nobody has used yet."""
        return self.path / "uploads"

    def dataset(self, dataset_id: int) -> Path:
        return self.datasets / str(dataset_id)

    def examples(self, dataset_id: int) -> Path:
        """How the first studios kept a data set; `studio.store.datasets.opened` still reads it."""
        return self.dataset(dataset_id) / "examples.jsonl"

    def versions(self, dataset_id: int) -> Path:
        """The data set's examples in all their versions."""
        return self.dataset(dataset_id) / VERSIONS

    def run(self, run_id: int) -> Path:
        return self.runs / str(run_id)

    def adapter(self, run_id: int, fence: int) -> Path:
        """Where the claim with this fence leaves its adapter; the adapters table tells which one counts."""
        return self.run(run_id) / f"adapter-{fence}"

    def checkpoint(self, run_id: int, step: int, fence: int) -> Path:
        return self.run(run_id) / "checkpoints" / f"{step:08}-{fence}"

    def log(self, run_id: int) -> Path:
        return self.run(run_id) / "log.txt"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def backups(self) -> Path:
        """Copies of the database, and what a restore has put aside."""
        return self.path / "backups"

    @property
    def deleted(self) -> Path:
        """What is on its way out."""
        return self.path / "deleted"

    @property
    def probes(self) -> Path:
        """How fast short trials were, for forecasts."""
        return self.path / "probes.json"

    @property
    def engine_url(self) -> Path:
        """Holds the address of the running studio's engine."""
        return self.path / "engine.url"

    def lock(self, name: str) -> Path:
        return self.path / f"{name}.lock"
