"""From typed words to the values of options: tyro sorts the words to their places, pydantic alone judges them.

So a wrong value is worded once, in `eval_suite.core.validation`, whether it comes from a flag or from a suite file.
"""

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from tyro import MISSING
from tyro.conf import Positional
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
    UnsupportedTypeAnnotationError,
)

Place = tuple[int | str, ...]
REGISTRY = ConstructorRegistry()
"""How tyro reads options: a model as a mapping of its fields, a value as the words that were typed."""
_METAVARS: dict[Any, str] = {int: "INT", float: "FLOAT", bool: "{True,False}"}
_NONE = "None"


def flags(kind: type[BaseModel]) -> dict[Place, str]:
    """Every flag of a command's options by the place of its value; a positional argument goes by its bare name.

    Groups of options in a command go without their own name, as in ``--batch-size``, those inside them with it, as in
    ``--fit.lr``.
    """
    found: dict[Place, str] = {}
    for name, field in kind.model_fields.items():
        group = _group(field)
        if group is not None:
            found |= dict(_inside(group, (name,), ""))
        else:
            found[(name,)] = name if Positional in field.metadata else f"--{_dashed(name)}"
    return found


def _inside(kind: type[BaseModel], place: Place, prefix: str) -> Iterator[tuple[Place, str]]:
    for name, field in kind.model_fields.items():
        group = _group(field)
        if group is not None:
            yield from _inside(group, (*place, name), f"{prefix}{_dashed(name)}.")
        else:
            yield (*place, name), f"--{prefix}{_dashed(name)}"


def _group(field: FieldInfo) -> type[BaseModel] | None:
    """The options of a field that has several flags."""
    one_word = any(isinstance(item, PrimitiveConstructorSpec) for item in field.metadata)
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) and not one_word else None


def _dashed(name: str) -> str:
    return name.replace("_", "-")


@REGISTRY.struct_rule
def _options(info: StructTypeInfo) -> StructConstructorSpec | None:
    kind = info.type
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return None
    types = get_type_hints(kind, include_extras=True)

    def gather(**values: Any) -> dict[str, Any]:
        return values

    gather.__doc__ = kind.__doc__  # tyro's description of the group
    given = info.default if isinstance(info.default, BaseModel) else None
    fields = tuple(
        StructFieldSpec(
            name=name,
            type=types[name],
            default=_default(field) if given is None else getattr(given, name),
            helptext=field.description or "",
        )
        for name, field in kind.model_fields.items()
    )
    return StructConstructorSpec(instantiate=gather, fields=fields)


def _default(field: FieldInfo) -> Any:
    return MISSING if field.is_required() else field.get_default(call_default_factory=True)


@REGISTRY.primitive_rule
def _value(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """One word, as it is."""
    if info.type_origin is Literal:  # type: ignore[comparison-overlap]
        choices = get_args(info.type)
        metavar, instances = f"{{{','.join(map(str, choices))}}}", choices
    elif info.type in _METAVARS:
        metavar, instances = _METAVARS[info.type], None
    else:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: value in instances if instances else isinstance(value, int | float),
        str_from_instance=lambda value: [str(value)],
    )


@REGISTRY.primitive_rule
def _value_or_none(
    info: PrimitiveTypeInfo,
) -> PrimitiveConstructorSpec[Any] | UnsupportedTypeAnnotationError | None:
    """As many words as the value has, or ``None``."""
    options = [option for option in get_args(info.type) if option is not NoneType]
    if info.type_origin not in (Union, UnionType) or len(options) != 1:
        return None
    inner = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(options[0], info.markers))
    if isinstance(inner, UnsupportedTypeAnnotationError):
        return inner
    return PrimitiveConstructorSpec(
        nargs=inner.nargs,
        metavar=inner.metavar,
        instance_from_str=lambda words: None if words == [_NONE] else inner.instance_from_str(words),
        is_instance=lambda value: value is None or inner.is_instance(value),
        str_from_instance=lambda value: [_NONE] if value is None else inner.str_from_instance(value),
    )
