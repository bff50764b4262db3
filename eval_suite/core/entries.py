"""Choices with options of their own, as YAML has them: a name, or a name with its options."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, create_model, model_serializer, model_validator


class Entry(BaseModel):
    """One of several named choices: one optional field for each, so that an error names the path to the wrong key."""

    model_config = ConfigDict(extra="forbid")

    wanted: ClassVar[str] = "expected one name"

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
        if len(self.model_fields_set) != 1:
            raise ValueError(self.wanted)
        return self

    @model_serializer
    def _only_the_chosen(self) -> dict[str, Any]:
        return {self.chosen.name: asdict(self.chosen)}

    @property
    def chosen(self) -> Any:
        """The one that is set: a dataclass with its ``name`` and its options."""
        return getattr(self, next(iter(self.model_fields_set)))


def entry_type(name: str, wanted: str, kinds: Mapping[str, type[Any]]) -> Any:
    """A type of `Entry`.

    Args:
        name: of the type.
        wanted: what is said where not exactly one is given.
        kinds: the choices, dataclasses by the name that each also carries as ``name``.
    """
    fields: dict[str, Any] = {key: (kind | None, None) for key, kind in kinds.items()}
    made = create_model(name, __base__=Entry, **fields)
    made.wanted = wanted
    return made
