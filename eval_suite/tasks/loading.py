"""A backbone as a task needs it: loaded, its outputs named after classes, and what a user should know of it."""

import logging
import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from eval_suite.backbones.spec import PROBE, BackboneOptions
from eval_suite.core.cards import BackboneCard, LoadReport
from eval_suite.core.errors import InputError
from eval_suite.core.store import Cell
from eval_suite.data.images import ImageIndex, open_images
from eval_suite.data.leaks import leak
from eval_suite.tasks.base import Task, TaskOptions

if TYPE_CHECKING:
    from eval_suite.backbones.backbone import Backbone

log = logging.getLogger(__name__)
_LOOKED_AT = 32  # images at most whose size is read, in a few milliseconds


def load_for(
    cell: Cell, source: "Backbone | str", flags: BackboneOptions, task: Task, options: TaskOptions
) -> "Backbone":
    """The backbone of a source, or the caller's own with a card of this evaluation, its head exchanged where asked for.

    Raises:
        InputError: if the source is none, or has another number of outputs than asked for.
    """
    from eval_suite.backbones.backbone import Backbone, at_size
    from eval_suite.backbones.checkpoint import state_sha256
    from eval_suite.backbones.heads import with_head
    from eval_suite.backbones.probe import behaviour
    from eval_suite.backbones.sources import load_backbone

    head = flags.head
    if head is not None and not task.needs_classes(options):
        log.info(f"--head is left out, as {task.name} needs no classes")
        head = None
    if head == PROBE:
        head = str(cell.checkpoint / PROBE)
    index = open_images(options.data, options.split) if task.annotated is None else None
    known = isinstance(source, Backbone) and not _open_size(source.card)
    size = None if index is None or known or flags.input_size is not None else _size_of_all(index)
    if isinstance(source, Backbone):
        # The network is the caller's and may have been trained further; what this evaluation notes of it is its own.
        if asked := sorted(flags.model_dump(exclude_none=True, exclude_defaults=True, exclude={"head"})):
            raise InputError(
                expected="settings for a source, which is loaded with them; a loaded backbone takes head alone",
                found=", ".join(asked),
                remedy="give them to load_backbone or Backbone.wrap",
            )
        as_it_is = {
            "name": cell.backbone,
            "weights_sha256": state_sha256(source.net.state_dict()),
            "behaviour": behaviour(source.net, source.card.input_size),
        }
        given = Backbone(source.net, source.card.model_copy(deep=True, update=as_it_is)).eval()
        if "input_size" in given.card.assumed and size not in (None, given.card.input_size):
            given = at_size(given, size)
        _tell_of_the_size(given.card, size)
        return given if head is None else with_head(given, Path(head))
    settings = flags.model_copy(update={"head": head}).model_dump(exclude_none=True, exclude={"num_classes"})
    if index is not None:
        for note in index.notes:
            log.warning(f"{options.data}, '{index.split}': {note}")
    backbone = load_backbone(
        source,
        name=cell.backbone,
        num_classes=flags.num_classes or (len(index.classes) if index is not None else None),
        image_size=size,
        **settings,
    )
    _tell_of_the_size(backbone.card, size)
    if flags.num_classes not in (None, backbone.card.num_classes):
        raise InputError(
            expected=f"{flags.num_classes} outputs in {source}, as --num-classes says",
            found=f"{backbone.card.num_classes}",
            remedy="leave the option out",
        )
    return backbone


def require_classes(task: Task, card: BackboneCard, options: TaskOptions) -> None:
    """Refuse a headless backbone for a task of classes, with the way out."""
    if card.headless and task.needs_classes(options):
        raise InputError(
            expected=f"a backbone with classes for {task.name}",
            found=f"'{card.name}' ({card.arch}), which returns features",
            remedy=task.without_classes,
        )


def name_outputs(task: Task, backbone: "Backbone", options: TaskOptions) -> None:
    """Name the outputs after the data's classes where nothing else tells; a task that needs them refuses what is left open."""
    from eval_suite.backbones.class_names import match_outputs

    if task.annotated is not None or task.fits(options) or backbone.card.classes or backbone.card.headless:
        return
    with suppress(InputError):
        match = match_outputs(backbone.card, open_images(options.data, options.split))
        assumed = "assumed: " if match.assumed else ""
        update = {"classes": match.names, "classes_from": f"{assumed}{match.how}", "class_order": None}
        backbone.card = backbone.card.model_copy(update=update)


def leaks(task: Task, card: BackboneCard, options: TaskOptions) -> list[str]:
    """Warnings that images are evaluated which the task's fit or the backbone's own training learns from."""
    lines: list[str] = []
    fitted = task.learnt_and_evaluated(options)
    if fitted is not None:
        lines += leak(*fitted, f"the fit of {task.name}")
    if task.annotated is None and card.recipe is not None:
        with suppress(InputError):  # the training images may have gone since
            learnt = open_images(str(card.recipe["data"]), purpose="train")
            evaluated = fitted[1] if fitted is not None else open_images(options.data, options.split)
            lines += leak(learnt, evaluated, "the backbone")
    return lines


def how_loaded(card: BackboneCard) -> list[str]:
    """What a user should know who sees a surprising number: what was assumed, and how images are prepared."""
    height, width = card.input_size

    def triple(values: tuple[float, float, float]) -> str:
        return " ".join(f"{value:.3f}" for value in values)

    squashed = "both sides resized, " if card.resize == "squash" else ""
    return [
        *(f"note: {note}" for note in card.load.notes),
        *([f"order of the outputs: {card.classes_from}"] if card.classes_from else []),
        f"input {height}x{width}; images of another size: {card.interpolation}, {squashed}centre crop of {100 * card.crop_fraction:g} %; "
        f"mean {triple(card.mean)}, std {triple(card.std)}",
    ]


def _open_size(card: BackboneCard) -> bool:
    return "input_size" in {*card.assumed, *card.library_defaults}


def _tell_of_the_size(card: BackboneCard, size: tuple[int, int] | None) -> None:
    if not _open_size(card):
        return
    height, width = card.input_size
    if "input_size" in card.library_defaults:
        if size is not None and size[0] < height and size[1] < width:
            card.load.warnings.append(
                f"the data's images, all {size[0]}x{size[1]}, are enlarged to {height}x{width}, the library's default for this architecture; "
                "say the size that the weights were trained at (--input-size)"
            )
    elif size is not None:
        card.load.notes.append(f"the input is {height}x{width}, as the data's images are (--input-size)")
    else:
        card.load.warnings.append(
            f"the input is assumed to be {height}x{width}, as neither the network nor the data tells (--input-size)"
        )


def _size_of_all(index: ImageIndex) -> tuple[int, int] | None:
    """(H, W) of the images, by some of all over the set; None where they have several or cannot be opened."""
    from eval_suite.data.decoding import size_of_file

    if index.pixels is not None:
        return index.pixels.shape[1], index.pixels.shape[2]
    paths = index.paths or []
    sizes = set()
    for path in paths[:: math.ceil(len(paths) / _LOOKED_AT) or 1]:
        try:
            width, height = size_of_file(path)
        except Exception:  # noqa: BLE001 - counted and worded when the image is decoded
            continue
        sizes.add((height, width))
    return sizes.pop() if len(sizes) == 1 else None


def unloaded(name: str, source: str, note: str = "not loaded") -> BackboneCard:
    """The card of a backbone that is not there to be looked at."""
    return BackboneCard(
        name=name,
        source=source,
        arch="unknown",
        classes=[],
        input_size=(0, 0),
        mean=(0, 0, 0),
        std=(1, 1, 1),
        load=LoadReport(notes=[note]),
    )
