"""The tables. Times are seconds since 1970, UTC; paths are relative to the home folder."""

from time import time
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, MetaData, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Table(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON}


class Dataset(Table):
    """A file read in one way. The same file read with another mapping is another data set."""

    __tablename__ = "datasets"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    filename: Mapped[str]
    sha256: Mapped[str] = mapped_column(index=True)  # of the examples as they are learned from
    shape: Mapped[str]
    mapping: Mapped[dict[str, Any]]
    columns: Mapped[list[Any]]
    rows: Mapped[int]
    usable_rows: Mapped[int]
    skipped: Mapped[list[Any]]  # rows of the file that are no examples: {reason, count, rows, file}
    changed: Mapped[list[Any]] = mapped_column(default=list)  # rows used, but not as they stand there; the same
    upload_id: Mapped[str | None] = mapped_column(index=True)  # the same files under the same names have the same
    created_at: Mapped[float] = mapped_column(default=time)


class Run(Table):
    __tablename__ = "runs"
    __table_args__ = (Index("ix_runs_status", "status", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    request_key: Mapped[str | None] = mapped_column(unique=True)  # the same request twice is one run
    status: Mapped[str]
    phase: Mapped[str | None]
    wish: Mapped[str | None]
    recipe: Mapped[dict[str, Any]]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    dataset_version: Mapped[int] = mapped_column(default=1)
    data: Mapped[dict[str, Any]]  # rows, train_rows, validation_rows, sha256
    base_id: Mapped[str]
    base_fingerprint: Mapped[str | None]
    device: Mapped[str | None]
    notice: Mapped[str | None]  # something the user should know that is not an error
    fence: Mapped[int] = mapped_column(default=0)  # raised by every claim; a process with an older one may not write
    heartbeat_at: Mapped[float | None]
    activity: Mapped[int] = mapped_column(default=0)  # grows while the training thread does something
    attempts: Mapped[int] = mapped_column(default=0)  # that died since the run last left a checkpoint
    died_at_step: Mapped[int | None]  # the step at which the last attempt ended by itself
    adjustments: Mapped[dict[str, Any]] = mapped_column(default=dict)  # what trouble changed: see core.adjustments
    parent_id: Mapped[int | None]  # the run whose adapter this one starts from
    created_at: Mapped[float] = mapped_column(default=time)
    queued_at: Mapped[float | None] = mapped_column(default=time)  # its place in line; an interrupted run keeps it
    started_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int] = mapped_column(default=0)
    seconds_left: Mapped[float | None]
    phase_seconds: Mapped[dict[str, Any]] = mapped_column(default=dict)
    summary: Mapped[dict[str, Any]] = mapped_column(default=dict)  # the end's figures, see services.runs.show
    error_message: Mapped[str | None]
    error_hint: Mapped[str | None]
    error_detail: Mapped[str | None]


class RunEvent(Table):
    """One line for every move of a run from one state to another."""

    __tablename__ = "run_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), index=True)
    at: Mapped[float] = mapped_column(default=time)
    old: Mapped[str | None]
    new: Mapped[str]
    reason: Mapped[str] = mapped_column(default="")


class Metric(Table):
    __tablename__ = "metrics"
    __table_args__ = (Index("ix_metrics_checks", "run_id", "step", sqlite_where=text("validation_loss IS NOT NULL")),)

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    train_loss: Mapped[float | None]
    validation_loss: Mapped[float | None]
    learning_rate: Mapped[float | None]
    gradient_norm: Mapped[float | None]
    tokens: Mapped[int | None]  # read so far
    tokens_per_second: Mapped[float | None]
    memory_gib: Mapped[float | None]
    seconds: Mapped[float | None]  # since training began
    token_accuracy: Mapped[float | None]  # 0 to 1: learned tokens predicted right, of the training batch
    validation_accuracy: Mapped[float | None]  # the same, of the held-back rows


class Checkpoint(Table):
    """A whole, verified folder from which a run can go on exactly; written after the folder, deleted before it."""

    __tablename__ = "checkpoints"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), index=True)
    step: Mapped[int]
    fence: Mapped[int]  # of the claim under which it was written
    path: Mapped[str]
    size_bytes: Mapped[int]
    sha256: Mapped[str]  # of its manifest, which holds those of its files
    created_at: Mapped[float] = mapped_column(default=time)


class Sample(Table):
    """What the model answered to a held-back question after `step` steps; step 0 is the untrained model."""

    __tablename__ = "samples"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    question: Mapped[str]
    expected: Mapped[str]
    answer: Mapped[str]


class Adapter(Table):
    __tablename__ = "adapters"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    path: Mapped[str]
    sha256: Mapped[str]  # of adapter_model.safetensors
    size_bytes: Mapped[int]
    base_id: Mapped[str]
    base_fingerprint: Mapped[str]
    created_at: Mapped[float] = mapped_column(default=time)
