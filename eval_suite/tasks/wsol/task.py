"""The wsol task: maps of a classifier over images with boxes, after fine-tuning where it is wanted."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from eval_suite.core.errors import InputError
from eval_suite.core.papers import CUTMIX
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.tasks.base import Fit, Score, Task, TaskOptions
from eval_suite.tasks.wsol.options import WsolOptions

if TYPE_CHECKING:
    from eval_suite.backbones.backbone import Backbone
    from eval_suite.tasks.wsol.maps import Extractor


class WsolTask(Task):
    """Weakly supervised localisation: Top-1 Loc, GT-known Loc and MaxBoxAccV2 of boxes drawn from class activation maps."""

    name = "wsol"
    version = 1
    title = "Localisation"
    paper = CUTMIX
    options: ClassVar[type[TaskOptions]] = WsolOptions
    packages = ("opencv-python-headless", "numba", "grad-cam")
    protocol: ClassVar[Mapping[str, Sequence[str]]] = {
        "transform": (),
        "map_class": (),
        "interval": ("best σ", "MaxBoxAcc", "PxAP"),
    }

    def fits(self, options: Any) -> bool:
        """Where a preset or settings of its own are given."""
        return bool(options.fit.wanted)

    def fit(
        self, backbone: "Backbone", options: Any, runtime: RuntimeOptions, seed: int, folder: Path
    ) -> Fit:
        """Fine-tune a copy of the backbone where the options want it; a finished one of the same making is read again.

        Raises:
            InputError: if the maps are not computed in the precision asked for.
        """
        if options.maps != "cam" and runtime.precision != "fp32":
            raise InputError(
                f"maps {options.maps} are computed in single precision, found --precision {runtime.precision}; leave that "
                "out, or take --maps cam"
            )
        if not self.fits(options):
            return Fit(backbone)
        from eval_suite.data.boxes import open_localisation
        from eval_suite.tasks.wsol.fit import fit, learnt_from

        # Boxes that are missing are told now, not after days of fitting.
        open_localisation(options.data, options.split, warn=lambda _line: None)
        fitted = fit(backbone, options, runtime, seed, folder)
        backbone.card.load.notes.extend(fitted.card.load.notes)
        backbone.card.fitted_sha256["localiser"] = fitted.card.weights_sha256 or ""
        return Fit(fitted, learnt_from(fitted.card, options))

    def predict(self, backbone: "Backbone", options: Any, runtime: RuntimeOptions, folder: Path) -> Path:
        """Write the map and the logits of every readable image to ``predictions.npz``, and pictures to show."""
        from eval_suite.backbones.inference import place
        from eval_suite.backbones.sources import require_classes
        from eval_suite.data.boxes import open_localisation
        from eval_suite.tasks.wsol.examples import write_pictures
        from eval_suite.tasks.wsol.predict import predict_maps
        from eval_suite.tasks.wsol.predictions import write_predictions

        truth = open_localisation(options.data, options.split)
        card = backbone.card
        try:
            require_classes(card, truth.images.classes, options.data)
        except InputError as error:
            raise InputError(f"{error}, or let a fit replace its last layer (--fit.preset)") from None
        print(_prepared(card.input_size, options), file=sys.stderr)
        device = runtime.resolve_device()
        extract = self._extractor(place(backbone, device), options, runtime)
        found = predict_maps(extract, truth.images, card, options, runtime, device)
        path = folder / "predictions.npz"
        write_predictions(path, found)
        write_pictures(extract, found, truth, options.sigma, card.mean, device, folder)
        return path

    def score(self, predictions: Path, options: Any, truth: str | None, folder: Path | None) -> Score:
        """Metrics of a predictions file against the boxes of ``truth`` (KIND:PATH), by default of the options' data.

        Raises:
            InputError: if there is no truth, or the file does not belong to it.
        """
        from eval_suite.data.boxes import open_localisation
        from eval_suite.tasks.wsol.predictions import read_predictions
        from eval_suite.tasks.wsol.score import ScoreOptions, score_predictions

        found = read_predictions(predictions)
        spec = truth or options.data
        if not spec:
            raise InputError(f"{predictions} holds no boxes; give the ground truth as --truth KIND:PATH")
        own = found.about.split if found.about.split != "unknown" else None
        index = open_localisation(spec, options.split or own)
        score = score_predictions(found, index, ScoreOptions(sigma=options.sigma, interval=options.interval))
        if folder is None:
            return score
        from eval_suite.tasks.wsol.examples import examples

        return replace(score, examples=examples(folder, found, index, options.sigma))

    @staticmethod
    def _extractor(backbone: "Backbone", options: WsolOptions, runtime: RuntimeOptions) -> "Extractor":
        from eval_suite.tasks.wsol.maps import PackageMaps
        from eval_suite.tasks.wsol.methods import make_method

        if options.maps != "cam":
            return PackageMaps(backbone, options.maps)
        return make_method(options.method.chosen).extractor(backbone, runtime.precision)


def _prepared(input_size: tuple[int, int], options: WsolOptions) -> str:
    """How test images are brought to the input, which is not what the backbone's card says."""
    height, width = input_size
    tall, wide = round(height / options.crop_fraction), round(width / options.crop_fraction)
    crop = f", centre crop of {height}x{width}" if options.crop_fraction < 1 else ""
    return f"wsol: images resized to {tall}x{wide} whatever their shape{crop} (transform {options.transform})"
