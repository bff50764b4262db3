"""What every pass over a set shares: the backbone in its place, the fitted scores, and the pictures gathered."""

import logging
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.class_names import match_outputs
from eval_suite.backbones.inference import require_finite, to_device
from eval_suite.backbones.shares import gathered, own_share
from eval_suite.backbones.structure.classifier import ClassifierLayer
from eval_suite.core.errors import InputError
from eval_suite.core.parts import part
from eval_suite.core.runtime import RuntimeOptions, progress
from eval_suite.data.images import open_images
from eval_suite.data.leaks import leak
from eval_suite.data.pictures import never_failing
from eval_suite.tasks.ood.choosing import Validation, confidences, fitted
from eval_suite.tasks.ood.confidences import FitOptions, OodScore, TrainingFeatures, needs_features
from eval_suite.tasks.ood.examples import SHOWN, Pictures
from eval_suite.tasks.ood.features import Outputs, last_layer, run_over
from eval_suite.tasks.ood.odin import EPSILONS, TEMPERATURES, OdinSettings, tuned
from eval_suite.tasks.ood.options import OodOptions
from eval_suite.tasks.ood.predictions import Scores
from eval_suite.tasks.ood.scores import ODIN
from eval_suite.tasks.ood.sets import ImageSet, LoaderConfig, NoiseSet

log = logging.getLogger(__name__)

# At 5 images a feature an estimated inverse is a quarter too large; at 2 it is twice as large, and unevenly so.
_WELL_ABOVE = 5


class Sets(NamedTuple):
    """The sets of an evaluation: in-distribution, out of it, shifted, and those to choose hyper-parameters on.

    ``validation`` holds the in-distribution images to choose on first, then the outlier sets; it is empty where nothing is
    chosen.
    """

    known: ImageSet
    outliers: list[ImageSet | NoiseSet]
    shifted: list[ImageSet | NoiseSet]
    validation: list[ImageSet | NoiseSet]


class Scored(NamedTuple):
    """What a pass over one set leaves; ``failed`` names the unreadable images."""

    outputs: Outputs
    scores: Scores
    ids: list[str]
    failed: list[str]


class _Pass(NamedTuple):
    outputs: Outputs
    failed: list[str]


class Runner:
    """Runs a backbone over sets, one pass over each for all scores."""

    def __init__(self, backbone: Backbone, options: OodOptions, runtime: RuntimeOptions) -> None:
        device = runtime.resolve_device()
        self.backbone, self.options, self.precision = to_device(backbone, device), options, runtime.precision
        self.place = LoaderConfig(backbone.card, runtime, device, options.strict)
        self.pictures = Pictures()
        self.settings = {"outlier_seed": str(options.outlier_seed), "skip_first": str(options.skip_first)}
        self.warnings: list[str] = []
        self.validated: Validation | None = None
        self._kinds: list[type[OodScore]] = [part("ood_score", spec) for spec in options.scores]
        self._layer: ClassifierLayer | None = None
        self._odin: OdinSettings | None = None
        self._of_maps: dict[str, OodScore] = {}
        self._scores: dict[str, OodScore] = {}

    def warn(self, line: str) -> None:
        """Keep a line that speaks against the numbers, once; it is printed with the scores."""
        if line not in self.warnings:
            self.warnings.append(line)

    def prepare(self, sets: Sets, *, labels_known: bool) -> None:
        """Find the layers that scores need, fit the scores, and choose their hyper-parameters.

        Args:
            sets: of the evaluation.
            labels_known: whether it is known which output is which class of the data.

        Raises:
            InputError: if the network lacks what a score needs, or there are too few training images.
        """
        if any(map(needs_features, self._kinds)) and not self.backbone.card.headless:
            self._layer = last_layer(self.backbone)
        scores = [kind() for kind in self._kinds if not kind.of_images]
        for score in scores:
            if score.of_maps:
                score.prepare(self.backbone)
                self._of_maps[score.name] = score
        outputs = self._training(sets.known, labels_known)
        if sets.validation:
            inside, *outside = [self._run(each).outputs for each in sets.validation]
            names = [each.name for each in sets.validation[1:]]
            split = sets.validation[0].name
            self.validated = Validation(inside, dict(zip(names, outside, strict=True)), split)
        linear = None if self._layer is None else self._layer.linear()
        for score in scores:
            self._fit(score, outputs, linear)
        if ODIN in self.options.scores:
            self._odin = self._odin_settings(sets)

    def score(self, each: ImageSet | NoiseSet) -> Scored:
        """One pass over a set, and every score of it."""
        found, failed = self._run(each)
        count = 1 if isinstance(each, NoiseSet) else SHOWN
        with never_failing("ood"):
            self.pictures.add(each.name, each.ids, found.positions, each.picture, count=count)
        scores = {name: confidences(score, found) for name, score in self._scores.items()}
        if found.odin is not None:
            scores[ODIN] = found.odin
        for name, values in scores.items():
            self._require_numbers(name, values, each.name)
        ordered = {kind.name: scores[kind.name].numpy() for kind in self._kinds}
        return Scored(found, ordered, [each.ids[i] for i in found.positions], failed)

    def _run(self, each: ImageSet | NoiseSet) -> _Pass:
        batches = each.batches(self.place)
        shown = progress(batches, len(batches), f"ood {self.backbone.card.name}, {each.name}")
        found = run_over(
            self.backbone,
            shown,
            layer=self._layer,
            odin=self._odin,
            of_maps=self._of_maps,
            precision=self.precision,
        )
        together = _together(found, batches.failed, each.ids)
        self._look_at(together.outputs, each.name)
        return together

    def _training(self, known: ImageSet, labels_known: bool) -> Outputs | None:
        """A pass over the training images, where a score learns from some."""
        learning = [kind for kind in self._kinds if kind.fitted]
        if not learning:
            return None
        names = ", ".join(kind.name for kind in learning)
        index = open_images(self.options.data, self.options.fit_split).subset(self.options.fit_limit)
        for line in leak(index, known.whole, names):
            self.warn(line)
        if labels_known:
            index = match_outputs(self.backbone.card, index).relabel(index)
        elif labelled := [kind.name for kind in learning if kind.of_labels]:
            raise InputError(
                expected=f"to know which output is which class of {self.options.data}, for {', '.join(labelled)}",
                found="neither names of the outputs nor as many classes as outputs",
                remedy="name the outputs with --classes FILE, or leave these scores out",
            )
        batches = self.place.batches(index, own_share())
        shown = progress(batches, len(batches), f"ood {self.backbone.card.name}, fitting to '{index.split}'")
        of_maps = {name: score for name, score in self._of_maps.items() if score.fitted}
        found = run_over(self.backbone, shown, layer=self._layer, of_maps=of_maps, precision=self.precision)
        found = _together(found, batches.failed, index.ids).outputs
        self._look_at(found, index.split)
        if found.features.numel() and not found.features.any():
            raise InputError(
                expected=f"features of '{index.split}' in {self.options.data} that are not all 0, for {names}",
                found=f"0 in all features of {len(found.features):,} images",
                remedy="check the weights of the network, or leave these scores out",
            )
        fitted_to = f"fitted to {len(found.labels)} images of '{index.split}'"
        self.settings |= {kind.name: fitted_to for kind in learning}
        self._note_few([kind.name for kind in learning if kind.of_covariance], found.features.shape)
        return found

    def _fit(self, score: OodScore, outputs: Outputs | None, linear: nn.Linear | None) -> None:
        nothing = torch.zeros(0)
        training = TrainingFeatures(nothing, nothing.long(), linear)
        if outputs is not None:
            features = outputs.statistics.get(score.name, outputs.features)
            training = TrainingFeatures(features, torch.from_numpy(outputs.labels), linear, outputs.logits)
        found = fitted(score, training, FitOptions.of(self.options), self.validated)
        self._scores[score.name] = found.score
        if found.how:
            log.info(f"{score.name}: {found.how}")
            self.settings[score.name] = "; ".join(filter(None, (self.settings.get(score.name), found.how)))

    def _note_few(self, names: list[str], shape: torch.Size) -> None:
        """Say where a covariance of features is estimated from few images."""
        if not names:
            return
        images, width = shape
        if images < _WELL_ABOVE * width:
            self.settings |= {name: f"{self.settings[name]}, few for {width} features" for name in names}
            log.warning(
                f"{images:,} training images are few for {width:,} features: {', '.join(names)} may be far off; "
                f"{_WELL_ABOVE} times as many as features are enough (--fit-limit)"
            )

    def _odin_settings(self, sets: Sets) -> OdinSettings:
        temperature, epsilon = self.options.odin_temperature, self.options.odin_epsilon
        chosen = bool(sets.validation)
        if temperature is not None and epsilon is not None and not chosen:
            self.settings[ODIN] = f"temperature {temperature:g}, epsilon {epsilon:g}, as given"
            return OdinSettings(temperature, epsilon)
        if chosen:
            known, *outliers = sets.validation
            batches = known.all_batches(self.place)
            others = {each.name: each.all_batches(self.place) for each in outliers}
            assert self.validated is not None
            how = f"chosen by AUROC on {self.validated.named()}"
        else:
            batches = sets.known.left_out_batches(self.place)
            others = {each.name: each.left_out_batches(self.place) for each in sets.outliers}
            skipped = self.options.skip_first
            how = f"chosen on the first {skipped} images of every set, which are not evaluated"
        found = tuned(
            self.backbone,
            progress(batches, len(batches), f"ood {self.backbone.card.name}, tuning ODIN"),
            others,
            temperatures=TEMPERATURES if temperature is None or chosen else [temperature],
            epsilons=EPSILONS if epsilon is None or chosen else [epsilon],
            measure="auroc" if chosen else "tnr",
            precision=self.precision,
        )
        self.settings[ODIN] = f"temperature {found.temperature:g}, epsilon {found.epsilon:g}, {how}"
        log.info(f"{ODIN}: {self.settings[ODIN]}")
        return found

    def _look_at(self, found: Outputs, where: str) -> None:
        """Refuse outputs that are no numbers, and speak of features that scores cannot use."""
        for values in (found.logits, found.features, *found.statistics.values()):
            require_finite(bool(values.isfinite().all()), self.backbone.card, f"'{where}'", "numbers")
        features = found.features
        if not features.numel():
            return
        if zero := int((features == 0).all(dim=1).sum()):
            names = ", ".join(kind.name for kind in self._kinds if needs_features(kind))
            self.warn(
                f"{zero:,} of {len(features):,} images of '{where}' have features that are all 0: "
                f"{names} cannot tell them apart"
            )
        shaped = [kind.name for kind in self._kinds if kind.of_activations]
        if shaped and bool((features < 0).any()):
            self.warn(
                f"features are below 0 in places: {', '.join(shaped)} are defined for activations of at least 0, as a ReLU "
                "leaves them"
            )

    def _require_numbers(self, name: str, values: Tensor, where: str) -> None:
        if not bool(values.isfinite().all()):
            raise InputError(
                expected=f"numbers from the score '{name}'",
                found=f"NaN or infinity for {int((~values.isfinite()).sum()):,} of {len(values):,} images of '{where}'",
                remedy="leave the score out: it is not defined for features of this network",
            )


def _together(found: Outputs, failed: list[str], ids: list[str]) -> _Pass:
    """The outputs of all processes, and the names of all unreadable images."""
    statistics = {f"statistics {name}": values for name, values in found.statistics.items()}
    columns: dict[str, Any] = {**found._asdict(), **statistics}
    del columns["statistics"]
    arrays = {name: x.numpy() if isinstance(x, Tensor) else x for name, x in columns.items()}
    joined, unreadable = gathered(arrays, "positions", failed, ids)
    back: dict[str, Any] = {
        name: torch.from_numpy(values) if isinstance(columns.get(name), Tensor) else values
        for name, values in joined.items()
    }
    of_scores = {name: back.pop(f"statistics {name}") for name in found.statistics}
    return _Pass(Outputs(**back, statistics=of_scores), unreadable)
