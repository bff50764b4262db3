"""Running a backbone over the in-distribution set and every outlier set: one pass over each, for all scores."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.class_names import match_outputs
from eval_suite.backbones.inference import require_finite, to_device
from eval_suite.backbones.shares import gathered, own_share
from eval_suite.backbones.structure.classifier import ClassifierLayer
from eval_suite.core.errors import InputError
from eval_suite.core.parts import part
from eval_suite.core.records import BackboneCard
from eval_suite.core.runtime import RuntimeOptions, progress
from eval_suite.data.class_order import ClassMatch
from eval_suite.data.images import ImageIndex, open_images
from eval_suite.data.leaks import leak
from eval_suite.data.outliers import parse_all_outliers
from eval_suite.data.pictures import never_failing
from eval_suite.tasks.ood.confidences import FitOptions, OodScore, TrainingFeatures, make_confidences
from eval_suite.tasks.ood.examples import KNOWN, SHOWN, Pictures
from eval_suite.tasks.ood.features import Outputs, last_layer, run_over
from eval_suite.tasks.ood.odin import EPSILONS, TEMPERATURES, OdinSettings, tuned
from eval_suite.tasks.ood.options import OodOptions
from eval_suite.tasks.ood.predictions import Outliers, Predictions, Scores, write_predictions
from eval_suite.tasks.ood.score import require_enough
from eval_suite.tasks.ood.scores import ODIN
from eval_suite.tasks.ood.sets import ImageSet, LoaderConfig, NoiseSet, image_set, outlier_set

log = logging.getLogger(__name__)

# At 5 images a feature an estimated inverse is a quarter too large; at 2 it is twice as large, and unevenly so.
_WELL_ABOVE = 5


class Ran(NamedTuple):
    """What running leaves: the predictions, and pictures to save next to them."""

    predictions: Predictions
    pictures: Pictures


class _Scored(NamedTuple):
    outputs: Outputs
    scores: Scores
    ids: list[str]
    failed: list[str]


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
            backbone answers in other classes, or it has no last layer where a score needs one.
        EvalSuiteError: if the network gives NaN or infinite numbers.
    """
    sources = parse_all_outliers(options.outliers)
    if not sources:
        raise InputError(
            expected="at least one outlier set",
            found="none",
            remedy="give e.g. --outliers uniform gaussian folder:PATH",
        )
    everything = open_images(options.data, options.split)
    known = image_set(KNOWN, everything, options)
    sets = [outlier_set(source, options, len(known), backbone.card.input_size) for source in sources]
    require_enough(len(known), {each.name: len(each) for each in sets}, options.data)
    runner = _Runner(backbone, options, runtime)
    runner.prepare(known, sets)
    headless = backbone.card.headless
    labelled = None if headless else _labelled(backbone.card, everything, runner)

    inside = runner.score(known)
    seen = set(inside.outputs.digests)
    outliers: dict[str, Outliers] = {}
    for each in sets:
        found = runner.score(each)
        _require_other_images(each.name, found.outputs.digests, seen, options.data, runner.warn)
        outliers[each.name] = Outliers(
            ids=found.ids,
            scores=found.scores,
            predicted=None if headless else found.outputs.logits.argmax(dim=1).numpy(),
            noise=isinstance(each, NoiseSet),
            about=each.about(found.failed),
        )
    require_enough(len(inside.ids), {name: len(each.ids) for name, each in outliers.items()}, options.data)
    predictions = Predictions(
        ids=inside.ids,
        scores=inside.scores,
        logits=None if headless else inside.outputs.logits.numpy(),
        labels=labelled.outputs[inside.outputs.labels] if labelled else None,
        classes=labelled.names if labelled else [],
        about=known.about(inside.failed),
        outliers=outliers,
        settings=runner.settings,
        warnings=runner.warnings,
    )
    return Ran(predictions, runner.pictures)


def _labelled(card: BackboneCard, everything: ImageIndex, runner: "_Runner") -> ClassMatch | None:
    """Which outputs the labels are; None where nothing tells, since no confidence depends on it.

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


class _Runner:
    """What every pass shares: the backbone in its place, what the scores were fitted to, and the pictures gathered."""

    def __init__(self, backbone: Backbone, options: OodOptions, runtime: RuntimeOptions) -> None:
        device = runtime.resolve_device()
        self.backbone, self.options, self.precision = to_device(backbone, device), options, runtime.precision
        self.place = LoaderConfig(backbone.card, runtime, device, options.strict)
        self.pictures = Pictures()
        self.settings = {"outlier_seed": str(options.outlier_seed), "skip_first": str(options.skip_first)}
        self.warnings: list[str] = []
        self._layer: nn.Module | None = None
        self._odin: OdinSettings | None = None
        self._names: list[str] = []
        self._confidences: dict[str, OodScore] = {}

    def warn(self, line: str) -> None:
        """Keep a line that speaks against the numbers; it is printed with the scores."""
        self.warnings.append(line)

    def prepare(self, known: ImageSet, sets: list[ImageSet | NoiseSet]) -> None:
        """Fit the scores that need training images, and settle on ODIN's numbers."""
        options, training = self.options, None
        kinds = [part("ood_score", spec) for spec in options.scores]
        fitted = [kind.name for kind in kinds if kind.fitted]
        self._names = [kind.name for kind in kinds]
        if fitted:
            index = open_images(options.data, options.fit_split).subset(options.fit_limit)
            for line in leak(index, known.whole, ", ".join(fitted)):
                self.warn(line)
            layer = None if self.backbone.card.headless else last_layer(self.backbone)
            self._layer = None if layer is None else layer.module
            training = self._fit(index, layer)
            fitted_to = f"fitted to {len(training.features)} images of '{index.split}'"
            self.settings |= dict.fromkeys(fitted, fitted_to)
            self._note_few([kind.name for kind in kinds if kind.of_covariance], training.features.shape)
        fitting = FitOptions(options.knn_k, options.react_percentile, options.vim_dimension)
        self._confidences = make_confidences(options.scores, training, fitting)
        if ODIN in options.scores:
            self._odin = self._odin_settings(known, sets)

    def _note_few(self, names: list[str], shape: torch.Size) -> None:
        """Say where a covariance of features is estimated from few images."""
        images, width = shape
        if names and images < _WELL_ABOVE * width:
            self.settings |= {name: f"{self.settings[name]}, few for {width} features" for name in names}
            log.warning(
                f"{images:,} training images are few for {width:,} features: {', '.join(names)} may be far off; "
                f"{_WELL_ABOVE} times as many as features are enough (--fit-limit)"
            )

    def score(self, each: ImageSet | NoiseSet) -> _Scored:
        """One pass over a set, and every score of it."""
        batches = each.batches(self.place)
        shown = progress(batches, len(batches), f"ood {self.backbone.card.name}, {each.name}")
        found = run_over(self.backbone, shown, layer=self._layer, odin=self._odin, precision=self.precision)
        found, failed = self._together(found, batches.failed, each.ids)
        self._require_finite(found.logits, each.name)
        count = 1 if isinstance(each, NoiseSet) else SHOWN
        with never_failing("ood"):
            self.pictures.add(each.name, each.ids, found.positions, each.picture, count=count)
        scores = {name: score(found.logits, found.features) for name, score in self._confidences.items()}
        if found.odin is not None:
            scores[ODIN] = found.odin
        for values in scores.values():
            self._require_finite(values, each.name)
        ordered = {name: scores[name].numpy() for name in self._names}
        return _Scored(found, ordered, [each.ids[i] for i in found.positions], failed)

    def _fit(self, index: ImageIndex, layer: ClassifierLayer | None) -> TrainingFeatures:
        batches = self.place.batches(index, own_share())
        shown = progress(batches, len(batches), f"ood {self.backbone.card.name}, fitting to '{index.split}'")
        found = run_over(self.backbone, shown, layer=self._layer, precision=self.precision)
        found, _ = self._together(found, batches.failed, index.ids)
        self._require_finite(found.features, index.split)
        linear = None if layer is None else layer.linear()
        return TrainingFeatures(found.features, torch.from_numpy(found.labels), linear)

    @staticmethod
    def _together(found: Outputs, failed: list[str], ids: list[str]) -> tuple[Outputs, list[str]]:
        """The outputs of all processes, and the names of all unreadable images."""
        columns = {
            name: each.numpy() if isinstance(each, torch.Tensor) else each
            for name, each in found._asdict().items()
        }
        together = gathered(columns, "positions", failed, ids)
        tensors = {
            name: torch.from_numpy(together.columns[name])
            for name in ("logits", "features", "odin")
            if together.columns[name] is not None
        }
        return Outputs(**{**together.columns, **tensors}), together.failed

    def _odin_settings(self, known: ImageSet, sets: list[ImageSet | NoiseSet]) -> OdinSettings:
        temperature, epsilon = self.options.odin_temperature, self.options.odin_epsilon
        if temperature is not None and epsilon is not None:
            found, how = OdinSettings(temperature, epsilon), "as given"
        else:
            batches = known.left_out_batches(self.place)
            found = tuned(
                self.backbone,
                progress(batches, len(batches), f"ood {self.backbone.card.name}, tuning ODIN"),
                {each.name: each.left_out_batches(self.place) for each in sets},
                temperatures=TEMPERATURES if temperature is None else [temperature],
                epsilons=EPSILONS if epsilon is None else [epsilon],
                precision=self.precision,
            )
            how = (
                f"chosen on the first {self.options.skip_first} images of every set, which are not evaluated"
            )
        self.settings[ODIN] = f"temperature {found.temperature:g}, epsilon {found.epsilon:g}, {how}"
        return found

    def _require_finite(self, values: torch.Tensor, where: str) -> None:
        require_finite(bool(values.isfinite().all()), self.backbone.card, f"'{where}'", "numbers")


def _require_other_images(
    name: str, digests: list[bytes], known: set[bytes], data: str, warn: Callable[[str], None]
) -> None:
    """Refuse an outlier set whose images are mostly in-distribution ones; tell of a few."""
    shared = sum(digest in known for digest in digests)
    if 2 * shared > len(digests):
        raise InputError(
            expected=f"other images than the in-distribution ones of {data} in outlier set '{name}'",
            found=f"{shared} of {len(digests)} with the same pixels",
            remedy="choose another set",
        )
    if shared:
        warn(
            f"{shared} of {len(digests)} images of outlier set '{name}' are in-distribution images of {data}"
        )
