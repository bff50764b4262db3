"""Which splits the task reads, and what the record says of them."""

import logging

from eval_suite.core.errors import InputError
from eval_suite.core.records import DataInfo
from eval_suite.data.coco import CaptionSet, caption_splits, evaluation_split, split_file, training_split
from eval_suite.tasks.caption.options import CaptionOptions

log = logging.getLogger(__name__)

_NAMED = 100


def resolved(options: CaptionOptions) -> CaptionOptions:
    """The options with the names of both splits, which are there.

    Raises:
        InputError: if a split is missing.
    """
    split = options.split or evaluation_split(options.data)
    train_split = options.train_split or _split_to_fit_to(options.data, split)
    for name in (split, train_split):
        split_file(options.data, name)
    return options.model_copy(update={"split": split, "train_split": train_split})


def data_info(everything: CaptionSet, wanted: CaptionSet, missing: list[str]) -> DataInfo:
    """What the record says of a split: ``wanted`` of it, less the ``missing`` images."""
    return DataInfo(
        name=everything.name,
        split=everything.split,
        n_available=len(everything),
        n_requested=len(wanted),
        n_scored=len(wanted) - len(missing),
        n_failed=len(missing),
        failed=missing[:_NAMED],
        sha256=wanted.sha256(),
        notes=list(wanted.notes),
    )


def warn_of(captions: CaptionSet) -> None:
    """Log what was noticed when the captions were read."""
    for note in captions.notes:
        log.warning(note)


def _split_to_fit_to(data: str, evaluated: str) -> str:
    split = training_split(evaluated)
    there = caption_splits(data)
    if split is None or split not in there:
        wanted = f"'{split}'" if split else "a training split"
        raise InputError(
            f"expected {wanted} next to '{evaluated}' in {data}, found: "
            f"{', '.join(there)}; name the split to fit to with --train-split"
        )
    return split
