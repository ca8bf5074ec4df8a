"""Something the report says about a data set."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
ROWS_NAMED = 1000  # how many row numbers a finding lists; `count` is always the whole number


@dataclass(frozen=True, slots=True)
class Finding:
    """`error`: the data cannot be trained on. `warning`: training works, but worse than it could. `note`: good to know.

    `rows` are numbered as in the user's own file. `repair` names one of `studio.diagnostics.repairs`, or is empty.
    """

    kind: str
    severity: Severity
    count: int
    rows: tuple[int, ...]
    message: str
    repair: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"rows": list(self.rows), "repair": self.repair or None}


def from_dict(stored: dict[str, Any]) -> Finding:
    return Finding(**stored | {"rows": tuple(stored["rows"]), "repair": stored["repair"] or ""})


def worst_first(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), -f.count))
