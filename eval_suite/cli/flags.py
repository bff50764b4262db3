"""A command's options as flags: which there are, how many words each takes, and what it does without them."""

from collections.abc import Iterator
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from eval_suite.core.entries import ONE_FOR_BOTH, Entry, InlineYaml
from eval_suite.core.errors import InputError, first_line
from eval_suite.core.yaml_files import load_yaml

Place = tuple[int | str, ...]
NONE = "None"


class Marker(Enum):
    """What a field is on the command line, as metadata of its type."""

    POSITIONAL = "a word without a flag"


class Flag(NamedTuple):
    """One flag of a command.

    Attributes:
        place: of its value in the options.
        name: as typed, ``--fit.lr``; a positional argument's bare name.
        field: its type, default and help.
        group: the options that it stands among, shown under their own heading; None for the command's own.
    """

    place: Place
    name: str
    field: FieldInfo
    group: type[BaseModel] | None

    @property
    def key(self) -> str:
        """Its place in one word."""
        return ".".join(map(str, self.place))

    @property
    def positional(self) -> bool:
        """Whether it is a word without a flag."""
        return Marker.POSITIONAL in self.field.metadata

    @property
    def switch(self) -> bool:
        """Whether it takes no word."""
        return self.field.annotation is bool

    @property
    def words(self) -> int | None:
        """How many words it takes; None for any number."""
        kind = _bare(self.field.annotation)
        if ONE_FOR_BOTH in self.field.metadata:
            return None
        if get_origin(kind) is tuple and get_args(kind)[-1] is not Ellipsis:
            return len(get_args(kind))
        return None if get_origin(kind) in (list, tuple) else 1

    @property
    def several(self) -> bool:
        """Whether it takes any number of values, so that typed twice it means all of them."""
        return self.words is None and ONE_FOR_BOTH not in self.field.metadata

    @property
    def placeholders(self) -> tuple[str, ...]:
        """What stands for its words in the help."""
        kind = _bare(self.field.annotation)
        if self._inline:
            return ("NAME|YAML",)
        if get_origin(kind) in (list, tuple):
            inner = [_placeholder(each) for each in get_args(kind) if each is not Ellipsis]
            return tuple(inner)
        return (_placeholder(kind),)

    def value(self, words: list[str]) -> Any:
        """The words as pydantic takes them.

        Raises:
            InputError: if one that is to be YAML is none.
        """
        if words == [NONE] and NoneType in get_args(self.field.annotation):
            return None
        values: list[Any] = [_read(word) for word in words] if self._inline else list(words)
        return values[0] if self.words == 1 else values

    @property
    def _inline(self) -> bool:
        return any(isinstance(item, InlineYaml) for item in self.field.metadata)


def flags_of(kind: type[BaseModel]) -> list[Flag]:
    """Every flag of a command's options.

    Groups of options in a command go without their own name, as in ``--batch-size``, those inside them with it, as in
    ``--fit.lr``.
    """
    found: list[Flag] = []
    for name, field in kind.model_fields.items():
        group = group_of(field)
        if group is not None:
            # A task's `--classes` are those of its boxes; the backbone's outputs, named by the same flag, it does not read.
            names = {flag.name for flag in found}
            found += [flag for flag in _inside(group, (name,), "", group) if flag.name not in names]
        else:
            positional = Marker.POSITIONAL in field.metadata
            found.append(Flag((name,), name if positional else f"--{_dashed(name)}", field, None))
    return found


def group_of(field: FieldInfo) -> type[BaseModel] | None:
    """The options of a field that has several flags."""
    kind: Any = field.annotation
    is_group = isinstance(kind, type) and issubclass(kind, BaseModel) and not issubclass(kind, Entry)
    return kind if is_group else None


def shown(value: Any) -> str:
    """A value as it would be typed."""
    if isinstance(value, Entry):
        ((name, options),) = value.model_dump(mode="json").items()
        return (
            yaml.safe_dump({name: options}, default_flow_style=True, width=1000).strip() if options else name
        )
    if isinstance(value, list | tuple):
        return " ".join(map(shown, value)) or "none"
    return str(value)


def _inside(kind: type[BaseModel], place: Place, prefix: str, group: type[BaseModel]) -> Iterator[Flag]:
    for name, field in kind.model_fields.items():
        inner = group_of(field)
        if inner is not None:
            yield from _inside(inner, (*place, name), f"{prefix}{_dashed(name)}.", inner)
        else:
            yield Flag((*place, name), f"--{prefix}{_dashed(name)}", field, group)


def _read(word: str) -> Any:
    try:
        return load_yaml(word)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(
            expected="a name or inline YAML such as '{adl: {drop_rate: 0.75}}'",
            found=f"'{word}', which is no YAML: {getattr(error, 'problem', None) or first_line(error)}",
        ) from None


def _bare(kind: Any) -> Any:
    """A type without ``None`` and what is annotated to it."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) not in (Union, UnionType):
        return kind
    others = [each for each in get_args(kind) if each is not NoneType]
    return _bare(others[0]) if len(others) == 1 else kind


def _placeholder(kind: Any) -> str:
    kind = _bare(kind)
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if kind is bool:
        return "True|False"
    return str(getattr(kind, "__name__", "value")).upper()


def _dashed(name: str) -> str:
    return name.replace("_", "-")
