"""What trouble in training changes for the rest of a run, kept beside its recipe, which stays as the user chose it."""

from pydantic import BaseModel, ConfigDict

GENTLER = 1 / 3


class Adjustments(BaseModel):
    """Each method gives the next change, or None when there is none left to try."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    micro_batch: int | None = None  # examples in memory at once; the batch that a step learns from stays the same
    gradient_checkpointing: bool = False  # on whatever the recipe says: slower, with the same result
    learning_rate_factor: float = 1.0

    def after_out_of_memory(self, batch_size: int) -> "Adjustments | None":
        now = self.micro_batch or batch_size
        if now > 1:
            return self.model_copy(update={"micro_batch": now // 2})
        return None if self.gradient_checkpointing else self.model_copy(update={"gradient_checkpointing": True})

    @property
    def to_save_memory(self) -> str:
        """How training goes on after memory ran out."""
        if self.gradient_checkpointing:
            return "computing some things twice instead of keeping them in memory"
        return f"with fewer examples in memory at once ({self.micro_batch})"

    def after_bad_loss(self) -> "Adjustments | None":
        return self.model_copy(update={"learning_rate_factor": GENTLER}) if self.learning_rate_factor == 1 else None
