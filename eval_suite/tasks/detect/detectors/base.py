"""What a detector is: how it is fine-tuned, which maps it takes, and its config."""

import zlib
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from eval_suite.core.cards import BackboneCard
from eval_suite.core.records import Paper

if TYPE_CHECKING:
    from eval_suite.backbones.structure.stages import Part

Config = dict[str, Any]
FPN_CHANNELS = 256
_META = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip", "flip_direction")


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


class Level(NamedTuple):
    """A feature map the detector takes from the backbone; of a stage that runs on regions also the side of what it makes of one."""

    channels: int
    stride: int
    region_side: int = 0


class Detector:
    """A detector that is put together from a backbone and fine-tuned, by MMDetection.

    One of the user's is a subclass with ``name``, ``title``, ``paper``, its `config` and `resize`, named as
    ``path/to/mine.py:MyDetector`` among the task's detectors.

    Attributes:
        schedule: the settings it is fine-tuned with, of the type ``options``.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[Paper]
    options: ClassVar[type[Schedule]] = Schedule
    """Type of its settings."""
    settings: ClassVar[str] = ""
    """The task's option that holds them; without one they are in ``detector_settings`` by the detector's name."""
    plus_one: ClassVar[bool] = False
    """Whether its headline number takes a box from x0 to x1 as x1 - x0 + 1 wide, as in the code that its numbers come from."""
    strides: ClassVar[tuple[int, ...]] = (8, 16, 32)
    """Of the backbone's maps that it takes, finest first; a network that has fewer than two of them gives its last two."""
    last_stage_on_regions: ClassVar[bool] = False
    """Whether it takes the last map but one alone, and the network's last stage runs on regions of it."""
    bias_decay: ClassVar[bool] = True
    """Whether weight decay acts on biases too."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def config(self, levels: list[Level], classes: int, card: BackboneCard, *, head: Level | None) -> Config:
        """MMDetection's config, without the backbone.

        Args:
            levels: the maps of the backbone, finest first.
            classes: number of classes.
            card: the backbone's, for the normalisation.
            head: what the last stage makes of a region: its channels, and its stride relative to the map; None where it
                belongs to the backbone.
        """
        raise NotImplementedError

    def resize(self) -> Config:
        """The transform that brings images to their size."""
        raise NotImplementedError

    def augmentation(self, fill: tuple[float, ...]) -> list[Config]:
        """Transforms of images to learn from; ``fill`` is the RGB mean in 0..255."""
        return [self.resize(), {"type": "RandomFlip", "prob": 0.5}]

    def training_transforms(self, fill: tuple[float, ...]) -> list[Config]:
        """The whole pipeline of images to learn from."""
        return [*self.augmentation(fill), _PACK]

    def evaluation_transforms(self) -> list[Config]:
        """The whole pipeline of images to detect in: resizing alone."""
        return [self.resize(), _PACK]

    def frozen_stride(self, coarsest: int) -> int:
        """Up to which output stride the backbone does not learn, whose maps end at ``coarsest``; 0 for none."""
        return 0

    def taken(self, ends: "list[Part]") -> "list[Part]":
        """Of the ends of a network's stages, two at least, finest first, those whose maps it takes."""
        if self.last_stage_on_regions:
            return [ends[-2]]
        wanted = [end for end in ends if end.stride in self.strides]
        return wanted if len(wanted) > 1 else ends[-2:]

    @classmethod
    def draw_key(cls) -> int:
        """Joins the seed of its new layers."""
        return zlib.crc32(cls.name.encode())


_PACK: Config = {"type": "PackDetInputs", "meta_keys": _META}


def preprocessor(card: BackboneCard, divisor: int) -> Config:
    """As the backbone's card says: RGB, its mean and std; the wrong ones cost several points of mAP."""
    return {
        "type": "DetDataPreprocessor",
        "mean": [255 * value for value in card.mean],
        "std": [255 * value for value in card.std],
        "bgr_to_rgb": True,
        "pad_size_divisor": divisor,
    }


def fpn(levels: list[Level], count: int, extra: str | bool = False) -> Config:
    """A feature pyramid of so many maps."""
    channels = [level.channels for level in levels]
    neck = {"type": "FPN", "in_channels": channels, "out_channels": FPN_CHANNELS, "num_outs": count}
    return {**neck, "add_extra_convs": extra} if extra else neck


def coder(stds: tuple[float, ...]) -> Config:
    """Boxes as offsets from anchors."""
    return {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4, "target_stds": list(stds)}


def assigner(positive: float, negative: float, least: float) -> Config:
    """Which anchors an object is learnt from, by their IoU."""
    thresholds = {"pos_iou_thr": positive, "neg_iou_thr": negative, "min_pos_iou": least}
    return {"type": "MaxIoUAssigner", **thresholds, "ignore_iof_thr": -1}
