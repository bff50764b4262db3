"""Choices with options of their own, as YAML has them: a name, or a name with its options."""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, ClassVar, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    PrivateAttr,
    TypeAdapter,
    create_model,
    model_serializer,
    model_validator,
)

from eval_suite.core.errors import EvalSuiteError, InputError, unknown_name
from eval_suite.core.parts import is_file_spec, part, part_spec


class InlineYaml:
    """Marks a field that a command line takes in YAML's inline form, a word for each entry."""


def _both_sides(given: Any) -> Any:
    if hasattr(given, "tolist"):  # a number or an array of numpy or torch
        given = given.tolist()
    if isinstance(given, int | str):
        return given, given
    if isinstance(given, list | tuple) and len(given) not in (1, 2):
        raise ValueError(f"expected height and width, or one number for both, found {len(given)} values")
    return [*given, *given] if isinstance(given, list | tuple) and len(given) == 1 else given


ONE_FOR_BOTH = BeforeValidator(_both_sides)
"""Marks a height and width in pixels, for which one number may stand: that of a square."""


class Entry(BaseModel):
    """One of several named choices: one optional field for each, so that an error names the path to the wrong key."""

    model_config = ConfigDict(extra="forbid")

    wanted: ClassVar[str] = "expected one name"
    kind: ClassVar[str] = ""
    _in_file: tuple[str, Any] | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _part_in_a_file(cls, entry: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(entry, cls):
            return entry
        try:
            if cls.kind and is_dataclass(entry) and not isinstance(entry, type):
                # A part in memory, as Python has it: one of ours goes by its name, any other by its file.
                spec = part_spec(type(entry))
                if spec in cls.model_fields:
                    return handler({spec: entry})
                made = cast("Self", cls.model_construct())
                made._in_file = (spec, entry)  # noqa: SLF001 - of its own class
                return made
            spec, options = _single(entry)
            if not (cls.kind and is_file_spec(spec)):
                return handler(entry)
            found = part(cls.kind, spec)
            if not is_dataclass(found):
                raise InputError(
                    expected=f"{spec} to be a dataclass, whose fields are its options", found="a plain class"
                )
            for name in options:
                if name not in (known_options := [field.name for field in fields(found)]):
                    raise unknown_name(f"option of {spec}", name, known_options)
        except EvalSuiteError as error:
            raise ValueError(str(error)) from None
        made = cast("Self", cls.model_construct())
        made._in_file = (spec, TypeAdapter(found).validate_python(options))  # noqa: SLF001 - of its own class
        return made

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, entry: Any) -> Any:
        if isinstance(entry, str):
            return {entry: {}}
        if isinstance(entry, Mapping):
            return {name: {} if options is None else options for name, options in entry.items()}
        if not isinstance(entry, cls):
            raise ValueError(f"{cls.wanted}, found {entry!r}")
        return entry

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if self._in_file is None and len(self.model_fields_set) != 1:
            raise ValueError(self.wanted)
        return self

    @model_serializer
    def _only_the_chosen(self) -> dict[str, Any]:
        name = self._in_file[0] if self._in_file else self.chosen.name
        return {name: asdict(self.chosen)}

    @property
    def chosen(self) -> Any:
        """The one that is set: a dataclass with its ``name`` and its options."""
        if self._in_file is not None:
            return self._in_file[1]
        return getattr(self, next(iter(self.model_fields_set)))


def _single(entry: Any) -> tuple[str, Any]:
    """Name and options of an entry that holds one; an empty name for anything else."""
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, options),) = entry.items()
        return str(name), {} if options is None else options
    return "", {}


def entry_type(name: str, wanted: str, kinds: Mapping[str, type[Any]], kind: str = "") -> Any:
    """A type of `Entry`.

    Args:
        name: of the type.
        wanted: what is said where not exactly one is given.
        kinds: the choices, dataclasses by the name that each also carries as ``name``.
        kind: of parts (`eval_suite.core.parts`), where one named by its file is a choice too.
    """
    choices: dict[str, Any] = {key: (kind | None, None) for key, kind in kinds.items()}
    made = create_model(name, __base__=Entry, **choices)
    made.wanted, made.kind = wanted, kind
    return made
