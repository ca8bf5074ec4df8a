"""What trouble in training changes for the rest of a run, kept beside its recipe, which stays as the user chose it."""

from pydantic import BaseModel, ConfigDict

GENTLER = 1 / 3


class Adjustments(BaseModel):
    """Each method gives the next change, or None when there is none left to try."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    micro_batch: int | None = None  # examples in memory at once; the batch that a step learns from stays the same
    learning_rate_factor: float = 1.0

    def after_out_of_memory(self, batch_size: int) -> "Adjustments | None":
        now = self.micro_batch or batch_size
        return self.model_copy(update={"micro_batch": now // 2}) if now > 1 else None

    def after_bad_loss(self) -> "Adjustments | None":
        return self.model_copy(update={"learning_rate_factor": GENTLER}) if self.learning_rate_factor == 1 else None
