"""Running a backbone over the in-distribution set and every outlier set: one pass over each, for all scores."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.class_names import match_outputs
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.class_order import ClassMatch
from eval_suite.data.images import ImageIndex, open_images
from eval_suite.data.outliers import parse_all_outliers
from eval_suite.data.pictures import never_failing
from eval_suite.tasks.ood.examples import KNOWN, Pictures
from eval_suite.tasks.ood.options import OodOptions
from eval_suite.tasks.ood.predictions import Outliers, Predictions, write_predictions
from eval_suite.tasks.ood.running import Runner, Scored, Sets
from eval_suite.tasks.ood.score import require_enough
from eval_suite.tasks.ood.sets import ImageSet, NoiseSet, image_set, outlier_set


class Ran(NamedTuple):
    """What running leaves: the predictions, and pictures to save next to them."""

    predictions: Predictions
    pictures: Pictures


def predict(backbone: Backbone, options: OodOptions, runtime: RuntimeOptions, folder: Path) -> Path:
    """Write every score of every image of all sets to ``predictions.npz``, and a few images to show."""
    found, pictures = run_sets(backbone, options, runtime)
    path = folder / "predictions.npz"
    write_predictions(path, found)
    with never_failing("ood"):
        pictures.save(folder)
    return path


def run_sets(backbone: Backbone, options: OodOptions, runtime: RuntimeOptions) -> Ran:
    """Every score of every image of all sets.

    Raises:
        InputError: if a set is missing, empty, too small or shares its images with the in-distribution set, the
            backbone answers in other classes, or it lacks what a score needs.
        EvalSuiteError: if the network gives NaN or infinite numbers.
    """
    everything = open_images(options.data, options.split)
    sets = _sets(options, everything, backbone.card)
    runner = Runner(backbone, options, runtime)
    headless = backbone.card.headless
    labelled = None if headless else _labelled(backbone.card, everything, runner)
    runner.prepare(sets, labels_known=labelled is not None)

    inside = runner.score(sets.known)
    seen = {KNOWN: set(inside.outputs.digests)}
    _look_for_shared(runner, sets, seen, options)
    outliers: dict[str, Outliers] = {}
    shifted: dict[str, Outliers] = {}
    groups = {source.name: source.group for source in parse_all_outliers(options.outliers)}
    for into, members in ((outliers, sets.outliers), (shifted, sets.shifted)):
        for each in members:
            found = runner.score(each)
            _require_other_images(each.name, found.outputs.digests, seen, options.data, runner)
            into[each.name] = _outliers(each, found, groups.get(each.name), headless)
    counts = {name: len(each.ids) for name, each in (outliers | shifted).items()}
    require_enough(len(inside.ids), counts, options.data)
    predictions = Predictions(
        ids=inside.ids,
        scores=inside.scores,
        logits=None if headless else inside.outputs.logits.numpy(),
        labels=labelled.outputs[inside.outputs.labels] if labelled else None,
        classes=labelled.names if labelled else [],
        about=sets.known.about(inside.failed),
        outliers=outliers,
        shifted=shifted,
        facts=sets.known.facts(inside.outputs.positions),
        settings=runner.settings,
        warnings=runner.warnings,
    )
    return Ran(predictions, runner.pictures)


def _sets(options: OodOptions, everything: ImageIndex, card: BackboneCard) -> Sets:
    """Every set that the options name.

    Raises:
        InputError: if there is no outlier set, or one is missing or too small.
    """
    if not options.outliers:
        raise InputError(
            expected="at least one outlier set",
            found="none",
            remedy="give e.g. --outliers uniform gaussian folder:PATH",
        )
    known = image_set(KNOWN, everything, options)

    def opened(texts: Iterable[str], given: OodOptions, items: int) -> list[ImageSet | NoiseSet]:
        sources = parse_all_outliers(list(texts))
        return [outlier_set(source, given, items, card.input_size) for source in sources]

    outliers, shifted = (opened(texts, options, len(known)) for texts in (options.outliers, options.shifted))
    require_enough(len(known), {each.name: len(each) for each in (*outliers, *shifted)}, options.data)
    validation: list[ImageSet | NoiseSet] = []
    if options.validation_split is not None:
        index = open_images(options.data, options.validation_split)
        if index.split == everything.split:
            raise InputError(
                expected="another validation_split than the evaluated split",
                where=options.data,
                found=f"'{index.split}' for both",
            )
        whole = options.model_copy(update={"skip_first": 0})
        inside = image_set(index.split, index, whole)
        outside = opened(options.validation_outliers, whole, len(inside))
        require_enough(len(inside), {each.name: len(each) for each in outside}, options.data)
        validation = [inside, *outside]
    return Sets(known, outliers, shifted, validation)


def _outliers(each: ImageSet | NoiseSet, found: Scored, group: str | None, headless: bool) -> Outliers:
    return Outliers(
        ids=found.ids,
        scores=found.scores,
        predicted=None if headless else found.outputs.logits.argmax(dim=1).numpy(),
        noise=isinstance(each, NoiseSet),
        about=each.about(found.failed),
        group=group,
        facts=each.facts(found.outputs.positions),
    )


def _labelled(card: BackboneCard, everything: ImageIndex, runner: Runner) -> ClassMatch | None:
    """Which outputs the labels are; None where nothing tells, since few confidences depend on it.

    Raises:
        InputError: if the outputs have names, and the data other classes, which are then not in distribution.
    """
    try:
        match = match_outputs(card, everything)
    except InputError as error:
        if card.classes:
            raise
        runner.warn(f"in-distribution images are taken without labels, so there is no ECE: {error}")
        return None
    if match.subset is not None:
        runner.settings["outputs"] = str(len(match.names))
    return match


def _look_for_shared(runner: Runner, sets: Sets, seen: dict[str, set[bytes]], options: OodOptions) -> None:
    """Refuse validation images that are mostly evaluated ones, and add them to those seen."""
    if runner.validated is None:
        return
    inside, outside = runner.validated.inside, runner.validated.outside
    _require_other_images(
        sets.validation[0].name, inside.digests, seen, options.data, runner, "validation split"
    )
    for name, each in outside.items():
        seen[f"validation set '{name}'"] = set(each.digests)


def _require_other_images(
    name: str,
    digests: list[bytes],
    seen: dict[str, set[bytes]],
    data: str,
    runner: Runner,
    what: str = "outlier set",
) -> None:
    """Refuse a set whose images are mostly those of another; tell of a few."""
    for other, held in seen.items():
        shared = sum(digest in held for digest in digests)
        of = f"the in-distribution ones of {data}" if other == KNOWN else f"those of {other}"
        if 2 * shared > len(digests):
            raise InputError(
                expected=f"other images than {of} in {what} '{name}'",
                found=f"{shared} of {len(digests)} with the same pixels",
                remedy="choose another set",
            )
        if shared:
            are = f"in-distribution images of {data}" if other == KNOWN else f"also in {other}"
            runner.warn(f"{shared} of {len(digests)} images of {what} '{name}' are {are}")
