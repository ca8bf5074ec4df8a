"""YAML: lists of examples, and the `conversations:` of lists of texts that chatterbot reads.

Everything but an empty value stays the text it was written as: `no` is an answer here, not False.
"""

from collections.abc import Iterator
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from studio.core.errors import DataError
from studio.core.mapping import Reading
from studio.data.readers.json import table_of
from studio.data.readers.table import Source, Table
from studio.data.readers.text import read_text

_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp", "value", "seq", "map")
)
_MOST_REPEATED = 100_000


class _Refused(ValueError):
    pass


def read_yaml(source: Source, reading: Reading) -> Table:
    text, encoding = read_text(source)
    try:
        documents = [_plain(node, _Budget()) for node in _nodes(text) if node is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}" if mark else ""
        raise DataError(
            f"{source.name} is not valid YAML{where}: {error.problem}.", "Correct it there, or export the file again."
        ) from None
    except (_Refused, yaml.YAMLError, ValueError) as error:
        reason = str(error) if isinstance(error, _Refused) else "it holds characters that YAML does not allow"
        raise DataError(f"{source.name} cannot be read: {reason}.", "Write each example out in full.") from None
    except RecursionError:
        raise DataError(
            f"{source.name} is nested too deeply to be read.", "Use one flat object for each example."
        ) from None
    return table_of(documents[0] if len(documents) == 1 else documents, source.name, encoding, [])


def _nodes(text: str) -> Iterator[Node]:
    yield from yaml.compose_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


class _Budget:
    """A reference inside a reference inside a reference … makes gigabytes of a few lines."""

    def __init__(self) -> None:
        self._seen = set[int]()
        self._again = 0

    def spend(self, node: Node) -> None:
        self._again += id(node) in self._seen
        self._seen.add(id(node))
        if self._again > _MOST_REPEATED:
            raise _Refused("its references (& and *) multiply without end")


def _plain(node: Node, budget: _Budget) -> Any:
    budget.spend(node)
    _refuse_tags(node)
    if isinstance(node, ScalarNode):
        return None if node.tag.endswith(":null") else node.value
    if isinstance(node, SequenceNode):
        return [_plain(item, budget) for item in node.value]
    assert isinstance(node, MappingNode)
    made: dict[str, Any] = {}
    for name, value in node.value:
        if not isinstance(name, ScalarNode):
            raise _Refused(f"line {name.start_mark.line + 1} uses a list or an object as a name")
        _refuse_tags(name)
        if name.value in made:
            raise _Refused(f"the key “{name.value[:40]}” stands twice in the object at line {node.start_mark.line + 1}")
        made[name.value] = _plain(value, budget)
    return made


def _refuse_tags(node: Node) -> None:
    if node.tag not in _PLAIN_TAGS:
        raise _Refused(f"line {node.start_mark.line + 1} uses “{node.tag[-40:]}”, which is more than plain values")
