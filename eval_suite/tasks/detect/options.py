"""Options of the detect task, with the protocol of the CutMix paper as defaults."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from eval_suite.tasks.base import TaskOptions

_VOC_IMAGES = 16_551  # of the trainval splits of 2007 and 2012 together
DetectorName = Literal["ssd", "ssd-fpn", "faster-rcnn-c4", "faster-rcnn-fpn"]
TITLES: dict[str, str] = {
    "ssd": "SSD",
    "ssd-fpn": "SSD-FPN",
    "faster-rcnn-c4": "Faster R-CNN C4",
    "faster-rcnn-fpn": "Faster R-CNN FPN",
}


def _ascending_shares(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(not 0 < value < 1 for value in values) or list(values) != sorted(set(values)):
        raise ValueError(f"expected rising shares between 0 and 1, found {values}")
    return values


Shares = Annotated[tuple[float, ...], AfterValidator(_ascending_shares)]


class Schedule(BaseModel):
    """How a detector is fine-tuned."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    iterations: int = Field(default=120_000, ge=1)
    """Steps of SGD."""
    batch_size: int = Field(default=32, ge=1)
    """Images a step, over all processes."""
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate; momentum is 0.9."""
    milestones: Shares = (2 / 3, 5 / 6)
    """Shares of the iterations after which the learning rate is divided by ten."""
    warmup: int = Field(default=500, ge=0)
    """Steps over which the learning rate rises from a thousandth; the paper names none, MMDetection takes 500."""
    weight_decay: float = Field(default=5e-4, ge=0)
    """Weight decay of SGD."""
    batch_norm: Literal["frozen", "trained"] = "trained"
    """Whether the backbone's batch normalisation keeps its statistics and weights or goes on learning."""


class SsdOptions(Schedule):
    """SSD: one stage, fixed input size, anchors on maps from stride 8 on."""

    input_size: tuple[int, int] = (300, 300)
    """Height and width that images are brought to."""
    augmentation: Literal["published", "flip"] = "published"
    """Published: colours, zoom out, crop by overlap, flip; made for hundreds of epochs, a short schedule learns from flips alone."""
    l2_norm: bool = True
    """Scale the finest map to norm 20 at each place, as the original does."""


class FasterRcnnOptions(Schedule):
    """Faster R-CNN: proposals, then a classifier on each region."""

    batch_size: int = Field(default=8, ge=1)
    """Images a step, over all processes."""
    lr: float = Field(default=0.01, gt=0)
    """Learning rate; momentum is 0.9."""
    milestones: Shares = (5 / 6,)
    """Shares of the iterations after which the learning rate is divided by ten."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Weight decay of SGD; biases have none."""
    batch_norm: Literal["frozen", "trained"] = "frozen"
    """Whether the backbone's batch normalisation keeps its statistics and weights or goes on learning."""
    regions: int = Field(default=128, ge=1)
    """Regions an image that the second stage learns from in a step."""
    short_side: int = Field(default=600, ge=32)
    """Shorter side that images are resized to ..."""
    long_side: int = Field(default=1000, ge=32)
    """... unless the longer one would exceed this."""


class DetectOptions(TaskOptions):
    """Options of the detect task."""

    renamed: ClassVar[Mapping[str, str]] = {"save_minutes": "save_interval"}

    data: str
    """Images with boxes as voc:PATH, the folder that holds VOC2007 and VOC2012."""
    split: str | None = None
    """Splits to evaluate on, joined by +; by default VOC2007/test, or the first test or val there is."""
    train_split: str | None = None
    """Splits to fine-tune on, joined by +; by default the trainval of every year there is."""
    detectors: tuple[DetectorName, ...] = ("ssd", "faster-rcnn-c4")
    """Detectors to fine-tune and evaluate, one after the other."""
    iterations: int | None = Field(default=None, ge=1)
    """Steps of each detector's schedule, instead of its own number; milestones are shares and move along."""
    ssd: SsdOptions = Field(default_factory=SsdOptions)
    """Settings of ssd and ssd-fpn."""
    faster_rcnn: FasterRcnnOptions = Field(default_factory=FasterRcnnOptions)
    """Settings of faster-rcnn-c4 and faster-rcnn-fpn."""
    save_interval: float = Field(default=10.0, gt=0)
    """Minutes between two saved states of a fine-tuning."""

    @field_validator("detectors")
    @classmethod
    def _each_once(cls, value: tuple[DetectorName, ...]) -> tuple[DetectorName, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError(f"expected one detector or more, each once, found {list(value)}")
        return value

    def schedule(self, detector: str) -> Schedule:
        """The schedule of a detector, with ``iterations`` applied."""
        own: Schedule = self.ssd if detector.startswith("ssd") else self.faster_rcnn
        return own if self.iterations is None else own.model_copy(update={"iterations": self.iterations})

    def in_short(self, epochs: int | None, limit: int | None) -> dict[str, Any]:
        """Fewer steps too: those of so many passes over ``limit`` images, or over those of VOC2007+2012."""
        if epochs is None:
            return super().in_short(epochs, limit)
        images = epochs * (limit or _VOC_IMAGES)
        steps = {
            name: {"iterations": -(-images // schedule.batch_size)}
            for name, schedule in (("ssd", self.ssd), ("faster_rcnn", self.faster_rcnn))
        }
        return {**super().in_short(epochs, limit), "iterations": None, **steps}
