"""YAML that people wrote: each key once, and no more than its text says."""

from pathlib import Path
from typing import Any

import yaml

from eval_suite.core.errors import InputError, first_line
from eval_suite.core.files import require_regular

# A few anchors in anchors say billions of values in a kilobyte.
_MOST_VALUES = 100_000


def read_yaml_file(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        InputError: if the file cannot be read or is no YAML, a key is there twice, or anchors make it endless.
    """
    try:
        text = require_regular(path).read_text("utf-8")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or first_line(error)}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read {path}: {error}") from None
    try:
        return load_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no valid YAML: {first_line(error)}") from None


def load_yaml(text: str) -> Any:
    """What a YAML text says.

    Raises:
        yaml.YAMLError: if it is no YAML, a key is there twice, or its anchors make too much of it.
        ValueError: if a value cannot be, such as a day that no month has.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {}, set())
        return loader.construct_document(node)
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _count(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """How many values a node makes, those of its aliases counted wherever they stand."""
    if id(node) in above:
        raise yaml.constructor.ConstructorError(None, None, "an anchor holds itself", node.start_mark)
    if id(node) not in known:
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        known[id(node)] = 1 + sum(_count(part, known, above | {id(node)}) for part in inner)
        if known[id(node)] > _MOST_VALUES:
            raise yaml.constructor.ConstructorError(
                None, None, f"its anchors make more than {_MOST_VALUES:,} values of it", node.start_mark
            )
    return known[id(node)]
