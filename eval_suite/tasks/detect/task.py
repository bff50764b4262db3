"""The detect task: detectors fine-tuned from a backbone, run over test images, and scored as VOC does."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from eval_suite.core.errors import InputError
from eval_suite.core.papers import CUTMIX
from eval_suite.core.predictions import About
from eval_suite.core.records import Example
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.voc import VocIndex, default_split, open_voc
from eval_suite.tasks.base import Fit, Score, Task, TaskOptions
from eval_suite.tasks.detect.matching import Detections
from eval_suite.tasks.detect.options import TITLES, DetectOptions

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
    annotated = "voc"
    packages = ("onedl-mmdetection", "onedl-mmcv", "onedl-mmengine", "pycocotools")
    protocol: ClassVar[Mapping[str, Sequence[str]]] = {
        "ssd.input_size": ("SSD",),
        "faster_rcnn.short_side": ("Faster R-CNN",),
        "faster_rcnn.long_side": ("Faster R-CNN",),
    }

    def resolved(self, options: Any) -> Any:
        """The options with the names of all splits."""
        split = options.split or default_split(options.data, "evaluate")
        train_split = options.train_split or default_split(options.data, "train")
        return options.model_copy(update={"split": split, "train_split": train_split})

    def fits(self, options: Any) -> bool:
        """Always."""
        return True

    def fit(
        self, backbone: "Backbone", options: Any, runtime: RuntimeOptions, seed: int, folder: Path
    ) -> Fit:
        """Fine-tune each detector in a folder of its own; the backbone's card tells what it was given and what came of it."""
        from eval_suite.backbones.checkpoint import state_sha256
        from eval_suite.tasks.detect.fit import fit_detector, images_per_process
        from eval_suite.tasks.detect.models import build_detector

        # What could stop a later detector, or the predictions, is looked for before hours are spent on fitting.
        for detector in options.detectors:
            images_per_process(detector, options)
        open_voc(options.data, options.split)
        index = open_voc(options.data, options.train_split, purpose="train")
        card = backbone.card
        # Likewise every detector is put together first: not each takes any backbone.
        built = {
            detector: build_detector(detector, backbone, len(index.classes), options, seed=seed)
            for detector in options.detectors
        }
        models = {}
        for detector, made in built.items():
            card.load.notes.append(made.loaded)
            models[detector] = fit_detector(
                made.model,
                detector,
                index,
                options,
                runtime,
                card=card,
                seed=seed,
                folder=folder / detector,
            ).model
            card.fitted_sha256[detector] = state_sha256(models[detector].state_dict())
        return Fit(FittedDetectors(models, card.name), index.about(index, []).info(len(index)))

    def predict(self, backbone: Any, options: Any, runtime: RuntimeOptions, folder: Path) -> Path:
        """Write ``predictions/<detector>.json``, COCO's results, and which images they are of."""
        from eval_suite.tasks.detect.predict import predict_detector
        from eval_suite.tasks.detect.predictions import write_detections, write_run

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
        """Metrics of a folder that `predict` wrote, of one file in it, or of a file of COCO results made elsewhere.

        The ground truth is ``truth``, else the options' data. A file's name tells the detector, and ``images.json`` beside
        it which images it is of; without that list every image of the split counts as predicted on.
        """
        from eval_suite.tasks.detect.examples import write_examples
        from eval_suite.tasks.detect.predictions import read_detections
        from eval_suite.tasks.detect.score import score_detector

        spec = truth or options.data
        if not spec:
            raise InputError(
                f"{predictions} holds detections only; give the ground truth as --truth voc:PATH"
            )
        index, about, files, listed = _scope(predictions, open_voc(spec, options.split))
        found = {name: read_detections(path, index) for name, path in files.items()}
        if not listed:
            _tell_empty(predictions, index, next(iter(found.values())))
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


class _Scope(NamedTuple):
    """The images to score on, what is said of them, the files by detector ('' for one not known), and whether a list told."""

    images: VocIndex
    about: About
    files: dict[str, Path]
    listed: bool


def _scope(predictions: Path, index: VocIndex) -> _Scope:
    from eval_suite.tasks.detect.predictions import IMAGES, read_run

    if predictions.is_dir():
        folder = predictions
        files = {name: folder / f"{name}.json" for name in TITLES if (folder / f"{name}.json").is_file()}
        if not files:
            raise InputError(f"expected {', '.join(TITLES)} as .json in {folder}, found none of them")
    else:
        folder = predictions.parent
        files = {predictions.stem if predictions.stem in TITLES else "": predictions}
        if not (folder / IMAGES).is_file():
            return _Scope(index, index.about(index, []), files, False)
    run = read_run(folder)
    place = {item: i for i, item in enumerate(index.ids)}
    strange = [item for item in run.ids if item not in place]
    if strange:
        raise InputError(
            f"{len(strange):,} images of {predictions} are not in {index.spec} ({index.split}), first: '{strange[0]}'; "
            "name the split they are of with --split"
        )
    return _Scope(index.select(np.array([place[item] for item in run.ids])), run.about, files, True)


def _tell_empty(predictions: Path, index: VocIndex, found: Detections) -> None:
    """Nothing found in an image and an image not looked at are the same to a file without a list of images."""
    empty = len(index) - len(np.unique(found.image))
    if empty:
        print(
            f"warning: {empty:,} of {len(index):,} images of {index.spec} ({index.split}) have no detection in {predictions}; "
            "they are scored as looked at, so all their objects count as missed",
            file=sys.stderr,
        )
