"""The detect task: detectors fine-tuned from a backbone, run over test images, and scored as VOC does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from eval_suite.core.errors import InputError
from eval_suite.core.papers import CUTMIX
from eval_suite.core.predictions import About
from eval_suite.core.records import Example
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.core.task import Score, Task, TaskOptions
from eval_suite.data.voc import VocIndex, open_voc
from eval_suite.detection.options import TITLES, DetectOptions

if TYPE_CHECKING:
    from torch import nn

    from eval_suite.backbones.backbone import Backbone

_PREDICTIONS = "predictions"


class FittedDetectors(NamedTuple):
    """What `predict` runs: the detectors by name, and the name of their backbone."""

    models: dict[str, "nn.Module"]
    backbone: str


class DetectTask(Task):
    """mAP of SSD and Faster R-CNN fine-tuned from the backbone on Pascal VOC."""

    name = "detect"
    version = 1
    title = "Detection"
    paper = CUTMIX
    options: ClassVar[type[TaskOptions]] = DetectOptions
    protocol: ClassVar[Mapping[str, Sequence[str]]] = {
        "ssd.input_size": ("SSD",),
        "faster_rcnn.short_side": ("Faster R-CNN",),
        "faster_rcnn.long_side": ("Faster R-CNN",),
    }
    answers_in_classes = False

    def fit(
        self, backbone: "Backbone", options: Any, runtime: RuntimeOptions, seed: int, folder: Path
    ) -> FittedDetectors:
        """Fine-tune each detector in a folder of its own; the backbone's card tells what it was given and what came of it."""
        from eval_suite.backbones.checkpoint import state_sha256
        from eval_suite.detection.fitting import fit_detector
        from eval_suite.detection.models import build_detector

        # What is to be predicted on is looked for before hours are spent on fitting.
        open_voc(options.data, options.split)
        index = open_voc(options.data, options.train_split, purpose="train")
        card = backbone.card
        models = {}
        for detector in options.detectors:
            built = build_detector(detector, backbone, len(index.classes), options, seed=seed)
            card.load.notes.append(built.loaded)
            models[detector] = fit_detector(
                built.model,
                detector,
                index,
                options,
                runtime,
                mean=card.mean,
                seed=seed,
                weights=card.weights_sha256 or "",
                folder=folder / detector,
            ).model
            card.fitted_sha256[detector] = state_sha256(models[detector].state_dict())
        return FittedDetectors(models, card.name)

    def predict(self, backbone: Any, options: Any, runtime: RuntimeOptions, folder: Path) -> Path:
        """Write ``predictions/<detector>.json``, COCO's results, and which images they are of."""
        from eval_suite.detection.predicting import predict_detector
        from eval_suite.detection.predictions import write_detections, write_run

        everything = open_voc(options.data, options.split)
        index = everything.subset(options.limit)
        target = folder / _PREDICTIONS
        failed: list[str] = []
        for detector, model in backbone.models.items():
            label = f"{TITLES[detector]} {backbone.backbone}"
            found = predict_detector(model, detector, index, options, runtime, label=label)
            failed = found.failed
            write_detections(target / f"{detector}.json", index, found.detections)
        for other in set(TITLES) - set(backbone.models):
            (target / f"{other}.json").unlink(missing_ok=True)
        write_run(target, everything.about(index, failed), index, failed)
        return target

    def score(self, predictions: Path, options: Any, truth: str | None, folder: Path | None) -> Score:
        """Metrics of a folder that `predict` wrote, or of one file of COCO results made elsewhere.

        The ground truth is ``truth``, else the options' data. Of a file, every image of the split counts as predicted on.
        """
        from eval_suite.detection.pictures import write_examples
        from eval_suite.detection.predictions import read_detections
        from eval_suite.detection.scoring import score_detector

        spec = truth or options.data
        if not spec:
            raise InputError(
                f"{predictions} holds detections only; give the ground truth as --truth voc:PATH"
            )
        index = open_voc(spec, options.split)
        index, about, files = _scope(predictions, index)
        found = {name: read_detections(path, index) for name, path in files.items()}
        scores = [score_detector(each, index, TITLES.get(name, "")) for name, each in found.items()]
        heads = [score.metrics[0] for score in scores]
        shown: list[Example] = write_examples(folder, index, found, TITLES) if folder is not None else []
        return Score(
            metrics=[*heads, *(metric for score in scores for metric in score.metrics[1:])],
            data=about.info(len(index)),
            curves=[curve for score in scores for curve in score.curves],
            examples=shown,
            ids=index.ids,
            outcomes={name: values for score in scores for name, values in score.outcomes.items()},
        )


def _scope(predictions: Path, index: VocIndex) -> tuple[VocIndex, About, dict[str, Path]]:
    """The images to score on, what is said of them, and the files by detector ('' for a file made elsewhere)."""
    from eval_suite.detection.predictions import read_run

    if not predictions.is_dir():
        return index, index.about(index, []), {"": predictions}
    run = read_run(predictions)
    place = {item: i for i, item in enumerate(index.ids)}
    strange = [item for item in run.ids if item not in place]
    if strange:
        raise InputError(
            f"{len(strange):,} images of {predictions} are not in {index.spec} ({index.split}), first: '{strange[0]}'; "
            "name the split they are of with --split"
        )
    files = {
        name: predictions / f"{name}.json" for name in TITLES if (predictions / f"{name}.json").is_file()
    }
    if not files:
        raise InputError(f"expected {', '.join(TITLES)} as .json in {predictions}, found none of them")
    return index.select(np.array([place[item] for item in run.ids])), run.about, files
