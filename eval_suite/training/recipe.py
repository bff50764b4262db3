"""The recipe: everything that decides a trained backbone, except the seed."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eval_suite.backbones.spec import ChannelMeans, ChannelStds
from eval_suite.core.entries import Entry, entry_type
from eval_suite.training.regularizers import REGULARIZERS, Regularizer

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# The authors' settings. CIFAR: PyramidNet-200 on CIFAR-100. ImageNet: ResNet-50; the paper's text names crop and
# flip only, while the authors' code also jitters colours and lighting, hence two presets.
_IMAGENET: dict[str, Any] = {
    "augmentation": "imagenet",
    "epochs": 300,
    "batch_size": 256,
    "lr": 0.1,
    "milestones": [0.25, 0.5, 0.75],
    "mean": _IMAGENET_MEAN,
    "std": _IMAGENET_STD,
    "input_size": (224, 224),
}
PRESETS: dict[str, dict[str, Any]] = {
    "cifar": {
        "augmentation": "cifar",
        "epochs": 300,
        "batch_size": 64,
        "lr": 0.25,
        "milestones": [0.5, 0.75],
        "mean": (125.3 / 255, 123.0 / 255, 113.9 / 255),
        "std": (63.0 / 255, 62.1 / 255, 66.7 / 255),
        "input_size": (32, 32),
    },
    "imagenet": _IMAGENET,
    "imagenet-jitter": {**_IMAGENET, "augmentation": "imagenet-jitter"},
}


if TYPE_CHECKING:
    RegularizerEntry = Entry
else:
    RegularizerEntry = entry_type(
        "RegularizerEntry",
        "expected one regularizer per item, as in '- cutmix: {alpha: 1.0}'",
        REGULARIZERS,
    )


class Recipe(BaseModel):
    """How a backbone is trained. A ``preset`` fills what is not given; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    preset: Literal["cifar", "imagenet", "imagenet-jitter"] | None = None
    """Settings of the CutMix authors to start from; any field given beside it wins."""
    arch: str
    """NAME or timm:NAME, or torchvision:NAME."""
    arch_options: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of the network's constructor."""
    data: str
    """Training images as KIND:PATH."""
    validation_split: str | None = None
    """Split for the metrics of each epoch; by default the evaluation split the layout has."""
    augmentation: Literal["cifar", "imagenet", "imagenet-jitter", "resize-crop", "flip", "none"] = "flip"
    """Geometric and colour augmentation before the regularizers."""
    regularizers: list[RegularizerEntry] = Field(default_factory=list)
    """Each a name, or a name with its hyper-parameters; erasing comes before mixing whatever the order."""
    epochs: int = Field(default=100, ge=1)
    """Passes over the training images."""
    batch_size: int = Field(default=64, ge=1)
    """Images per step over all processes."""
    lr: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """Initial learning rate of SGD."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD."""
    nesterov: bool = True
    """Nesterov's form of the momentum."""
    weight_decay: float = Field(default=1e-4, ge=0, allow_inf_nan=False)
    """L2 penalty on all parameters."""
    milestones: list[Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=lambda: [0.5, 0.75])
    """Shares of the epochs after which the learning rate is multiplied by gamma."""
    gamma: float = Field(default=0.1, gt=0, le=1)
    """Factor of the learning rate at a milestone."""
    input_size: tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]] | None = None
    """Height and width of the network's input; by default the architecture's own."""
    mean: ChannelMeans | None = None
    """Normalisation mean, images in [0, 1]; by default the architecture's own."""
    std: ChannelStds | None = None
    """Normalisation standard deviation, images in [0, 1]; by default the architecture's own."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of training; bf16 uses autocast."""
    channels_last: bool = True
    """Memory layout of the network."""
    keep: Literal["last", "best"] = "last"
    """Which epoch's weights the checkpoint holds; metrics of both are recorded."""
    save_minutes: float = Field(default=10.0, gt=0)
    """Longest time between two saved states within an epoch; every epoch's end is saved too."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        preset = given.get("preset")
        return {**PRESETS.get(preset, {}), **given} if isinstance(preset, str) else given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError(f"milestones must rise, found {self.milestones}")
        if (self.mean is None) != (self.std is None):
            raise ValueError("give both mean and std, or neither")
        mixing = [entry.chosen.name for entry in self.regularizers if entry.chosen.stage == "mix"]
        if len(mixing) > 1:
            raise ValueError(f"only one regularizer may mix a batch, found {' and '.join(mixing)}")
        return self

    def ordered_regularizers(self) -> list[Regularizer]:
        """The regularizers in the order they are applied: erasing, then mixing."""
        chosen = [entry.chosen for entry in self.regularizers]
        return sorted(chosen, key=lambda regularizer: regularizer.stage != "erase")

    def learning_rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0: lr * gamma for every milestone behind it."""
        passed = sum(epoch >= share * self.epochs - 1e-9 for share in self.milestones)
        return self.lr * self.gamma**passed

    def digest(self) -> str:
        """SHA-256 over all that decides the weights."""
        decisive = self.model_dump(mode="json", exclude={"save_minutes", "preset"})
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
