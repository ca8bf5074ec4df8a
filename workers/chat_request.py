"""What a client may ask of the chat engine: OpenAI's request, as far as it is understood here."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from workers.roster import Refused

Asked = TypeVar("Asked", bound=BaseModel)


def _text_of(content: Any) -> Any:
    """OpenAI's clients send text as a string or as a list of parts."""
    if isinstance(content, list):
        if any(
            not isinstance(p, dict) or p.get("type") != "text" or not isinstance(p.get("text"), str) for p in content
        ):
            raise ValueError("only text can be read here")
        return "".join(part["text"] for part in content)
    return content


def _as_list(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop or []


class _Message(BaseModel):
    role: Annotated[
        Literal["system", "user", "assistant"], BeforeValidator(lambda r: "system" if r == "developer" else r)
    ]
    content: Annotated[str, BeforeValidator(_text_of)]


class _StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    """What is understood of OpenAI's request. What would change the answer and is not understood is refused."""

    model: str = Field(max_length=4096)
    messages: list[_Message] = Field(min_length=1, max_length=2000)
    temperature: float = Field(1.0, ge=0, le=2, allow_inf_nan=False)
    top_p: float = Field(1.0, gt=0, le=1, allow_inf_nan=False)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], BeforeValidator(_as_list)] = Field(
        default_factory=list, max_length=4
    )
    seed: int | None = Field(None, ge=0, lt=2**63)
    stream: bool = False
    stream_options: _StreamOptions | None = None
    n: Literal[1] = 1
    tools: list[Any] = Field(default_factory=list, max_length=0)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class WarmRequest(BaseModel):
    model: str = Field(max_length=4096)


def parse(kind: type[Asked], body: bytes) -> Asked:
    """Raises Refused with a sentence about the first thing that is wrong."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    what = problem["msg"].removeprefix("Value error, ")
    if not where:
        raise Refused("The request is not a JSON object that can be read.", what)
    if problem["type"] == "missing":
        raise Refused(f"The request has no “{where}”.", "See OpenAI's chat API for what it takes.")
    raise Refused(f"“{where}” in the request cannot be used: {what[:1].lower() + what[1:]}.")
