"""Which column of a user's file plays which part."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Shape = Literal["columns", "messages"]


class Mapping(BaseModel):
    """`columns`: a question, an answer, perhaps a context and a system text. `messages`: one column holds the chat."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: Shape = "columns"
    question: str = ""
    answer: str = ""
    context: str = ""  # appended to the question where it is not empty (Alpaca's `input`)
    system: str = ""
    messages: str = ""

    @property
    def complete(self) -> bool:
        return bool(self.messages) if self.shape == "messages" else bool(self.question and self.answer)

    @property
    def words(self) -> str:
        if self.shape == "messages":
            return f"Conversations in “{self.messages}”"
        return f"Question = {self.question}, answer = {self.answer}"
