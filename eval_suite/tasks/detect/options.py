"""Options of the detect task, with the protocol of the CutMix paper as defaults."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from eval_suite.core.entries import InlineYaml
from eval_suite.core.errors import EvalSuiteError
from eval_suite.core.parts import part
from eval_suite.data.detection import open_objects
from eval_suite.data.objects import ObjectIndex, Purpose
from eval_suite.tasks.base import TaskOptions
from eval_suite.tasks.detect.detectors.base import Detector, Schedule
from eval_suite.tasks.detect.detectors.faster_rcnn import FasterRcnnOptions
from eval_suite.tasks.detect.detectors.ssd import SsdOptions

Ious = tuple[Annotated[float, Field(gt=0, lt=1)], ...]
_VOC_IMAGES = 16_551  # of the trainval splits of 2007 and 2012 together


class DetectOptions(TaskOptions):
    """Options of the detect task."""

    renamed: ClassVar[Mapping[str, str]] = {"save_minutes": "save_interval"}

    data: str
    """Images with boxes as voc:PATH (the folder with VOC2007 and VOC2012, or own annotations) or coco:PATH (instances files)."""
    split: str | None = None
    """Splits to evaluate on, those of voc joined by +; by default VOC2007/test or val2017, or the first test or val there is."""
    train_split: str | None = None
    """Splits to fine-tune on, those of voc joined by +; by default the trainval or train of every year there is."""
    detectors: tuple[str, ...] = ("ssd", "faster-rcnn-c4")
    """Detectors to fine-tune and evaluate, one after the other: ssd, ssd-fpn, faster-rcnn-c4, faster-rcnn-fpn, or your own as path/to/mine.py:MyDetector."""
    iterations: int | None = Field(default=None, ge=1)
    """Steps of each detector's schedule, instead of its own number; milestones are shares and move along."""
    ssd: SsdOptions = Field(default_factory=SsdOptions)
    """Settings of ssd and ssd-fpn."""
    faster_rcnn: FasterRcnnOptions = Field(default_factory=FasterRcnnOptions)
    """Settings of faster-rcnn-c4 and faster-rcnn-fpn."""
    classes: Path | None = None
    """File with the classes of boxes in VOC's format, one a line or JSON; by default those that the folder lists, or that occur."""
    ious: Ious = ()
    """Further overlaps (IoU) to report the mAP at, besides 0.5 and COCO's."""
    save_interval: float = Field(default=10.0, gt=0)
    """Minutes between two saved states of a fine-tuning."""

    detector_settings: Annotated[dict[str, dict[str, Any]], InlineYaml()] = Field(default_factory=dict)
    """Settings of other detectors, by their names."""

    @field_validator("detectors")
    @classmethod
    def _each_once(cls, specs: tuple[str, ...]) -> tuple[str, ...]:
        try:
            names = [part("detector", spec).name for spec in specs]
        except EvalSuiteError as error:
            raise ValueError(str(error)) from None
        if not names or len(set(names)) != len(names):
            raise ValueError(f"expected one detector or more, each once, found {list(specs)}")
        return specs

    @model_validator(mode="after")
    def _settings_of_chosen_ones(self) -> Self:
        others = {kind.name: kind for kind in map(_kind, self.detectors) if not kind.settings}
        for name, settings in self.detector_settings.items():
            if name not in others:
                raise ValueError(
                    f"detector_settings are for {', '.join(others) or 'other detectors than ours'}, found '{name}'"
                )
            others[name].options.model_validate(settings)
        return self

    def objects(self, split: str | None, *, purpose: Purpose = "evaluate") -> ObjectIndex:
        """The images of a split with their objects, as `open_objects` gives them.

        Raises:
            InputError: as it does.
        """
        return open_objects(self.data, split, purpose=purpose, class_file=self.classes)

    def chosen(self) -> list[Detector]:
        """The detectors, each with its schedule, ``iterations`` applied."""
        return [self.detector(spec) for spec in self.detectors]

    def detector(self, spec: str) -> Detector:
        """One detector with its schedule, ``iterations`` applied."""
        kind = _kind(spec)
        schedule: Schedule = (
            getattr(self, kind.settings)
            if kind.settings
            else kind.options.model_validate(self.detector_settings.get(kind.name, {}))
        )
        if self.iterations is not None:
            schedule = schedule.model_copy(update={"iterations": self.iterations})
        return kind(schedule)

    def smoke_options(self, epochs: int | None, limit: int | None) -> dict[str, Any]:
        """Fewer steps too: those of so many passes over ``limit`` images, or over those of VOC2007+2012."""
        if epochs is None:
            return super().smoke_options(epochs, limit)
        images = epochs * (limit or _VOC_IMAGES)

        def short(schedule: Schedule) -> dict[str, Any]:
            return {"iterations": -(-images // schedule.batch_size)}

        others = {
            each.name: {**self.detector_settings.get(each.name, {}), **short(each.schedule)}
            for each in self.chosen()
            if not each.settings
        }
        return {
            **super().smoke_options(epochs, limit),
            "iterations": None,
            "ssd": short(self.ssd),
            "faster_rcnn": short(self.faster_rcnn),
            **({"detector_settings": others} if others else {}),
        }


def _kind(spec: str) -> type[Detector]:
    kind: type[Detector] = part("detector", spec)
    return kind
