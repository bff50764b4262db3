"""When a single evaluation may take the place of a record that lies there: never of another or a fuller one."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError
from eval_suite.core.records import Record
from eval_suite.core.store import read_record
from eval_suite.tasks.base import TaskOptions

_MAKE_THE_NETWORK = (
    *("source", "weights_sha256", "arch", "input_size", "mean", "std"),
    *("interpolation", "crop_fraction", "resize", "feature_layer"),
)
_CHANGE_NO_SCORE = {"limit", "strict"}


def require_replaceable(
    path: Path, card: BackboneCard, options: TaskOptions, sets: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Let an evaluation repeat a record, or extend it to more items, and keep it from replacing any other.

    Failed and unreadable records hold no result and may always be replaced.

    Args:
        path: where the record will go.
        card: the backbone as loaded.
        options: those of the task.
        sets: hash of each set of data that will be read, as `Task.sets_read` has them.

    Raises:
        InputError: if the record there is of another backbone, of other options, of more items or of other data.
    """
    try:
        old = read_record(path)
    except InputError:
        return
    if old.data is None:
        return
    other = [name for name in _MAKE_THE_NETWORK if getattr(old.backbone, name) != getattr(card, name)]
    if None not in (old.backbone.behaviour, card.behaviour) and old.backbone.behaviour != card.behaviour:
        other.append("behaviour")
    if old.backbone.classes and old.backbone.classes != card.classes:
        other.append("classes")
    other += _other_options(old, options)
    if other:
        why = f"made with other {', '.join(other)}"
    elif _fewer(old, options):
        why = f"more than the {options.limit:,} asked for"
    elif changed := [name for name, found in sets.items() if old.sets.get(name, found) != found]:
        why = f"and the data of {', '.join(changed)} have changed since"
    else:
        return
    what = f"{old.backbone.source} on {old.data.n_scored:,} items of {old.task.options['data']}"
    raise InputError(
        f"{path} holds the record of {what}, {why}; keep it with another --name or --out, or replace it with --overwrite"
    )


def _other_options(old: Record, options: TaskOptions) -> list[str]:
    """Names of the options that differ; one that the old record does not know had its default."""
    try:
        before = type(options).model_validate(old.task.options).model_dump(mode="json")
    except ValidationError:
        before = old.task.options
    now = options.model_dump(mode="json")
    return [name for name in now if name not in _CHANGE_NO_SCORE and before.get(name) != now[name]]


def _fewer(old: Record, options: TaskOptions) -> bool:
    assert old.data is not None
    if options.limit is None or options.limit >= old.data.n_available:
        return False
    limit = old.task.options["limit"]
    return limit is None or options.limit < limit
