"""The recipe: everything that decides a trained backbone, except the seed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eval_suite.backbones.spec import (
    ChannelMeans,
    ChannelStds,
    CropFraction,
    Interpolation,
    is_weights_file,
    parse_source,
    source_sha256,
)
from eval_suite.core.entries import Entry, entry_type
from eval_suite.core.errors import InputError
from eval_suite.core.parts import is_file_spec, parts
from eval_suite.training.regularizers import STAGES, Regularizer

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
    "crop_fraction": 0.875,
    "interpolation": "bilinear",
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

# Arguments by which timm and torchvision load weights where a network is built.
_LOADING_OPTIONS = {
    "checkpoint_path",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "weights",
    "weights_backbone",
}

# Keys that joined later, and the values at which they change nothing: left out of the digest there, so that what was
# trained before them is known again.
_NEUTRAL: dict[str, Any] = {
    "init": None,
    "init_entry": None,
    "accumulate": 1,
    "batch_norm_groups": None,
    "limit": None,
    "crop_fraction": None,
    "interpolation": None,
}
_NEUTRAL_IN: dict[str, dict[str, Any]] = {
    "cutmix": {
        "per_sample": False,
        "schedule": "constant",
        "centre": "uniform",
        "sigma": 0.25,
        "size": None,
        "labels": "mixed",
    },
    "mixup": {"per_sample": False},
}


if TYPE_CHECKING:
    RegularizerEntry = Entry
else:
    RegularizerEntry = entry_type(
        "RegularizerEntry",
        "expected one regularizer per item, as in '- cutmix: {alpha: 1.0}'",
        parts("regularizer"),
        kind="regularizer",
    )


class Recipe(BaseModel):
    """How a backbone is trained. A ``preset`` fills what is not given; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    renamed: ClassVar[Mapping[str, str]] = {"keep": "checkpoint", "save_minutes": "save_interval"}
    """Fields that had another name in the version before, which is still read: the old name and the new one."""

    preset: Literal["cifar", "imagenet", "imagenet-jitter"] | None = None
    """Settings of the CutMix authors to start from; any field given with it wins."""
    arch: str
    """NAME or timm:NAME, or torchvision:NAME."""
    arch_options: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of the network's constructor."""
    init: str | None = None
    """Weights to start from, under a new last layer: any source that --backbone takes, or a weights file alone; by default random ones."""
    init_entry: str | None = None
    """Which of several sets of weights in init's file, by its path there."""
    data: str
    """Training images as KIND:PATH."""
    validation_split: str | None = None
    """Split for the metrics of each epoch; by default the evaluation split the layout has."""
    augmentation: Literal["cifar", "imagenet", "imagenet-jitter", "resize-crop", "flip", "none"] = "flip"
    """Geometric and colour augmentation before the regularizers."""
    regularizers: list[RegularizerEntry] = Field(default_factory=list)
    """Each a name, or a name with its hyper-parameters; erasing comes before mixing whatever the order."""
    limit: int | None = Field(default=None, ge=1)
    """Train, and judge each epoch, on this many images of a split, spread evenly over it."""
    epochs: int = Field(default=100, ge=1, le=1_000_000)
    """Passes over the training images."""
    batch_size: int = Field(default=64, ge=1)
    """Images per step over all processes."""
    accumulate: int = Field(default=1, ge=1)
    """Forward and backward passes a process divides its part of a batch into; their gradients make one step."""
    batch_norm_groups: int | None = Field(default=None, ge=1)
    """Parts of a batch over each of which BatchNorm takes its own statistics, as DataParallel has one per GPU; by default one per pass of each process, and with 1 several processes share theirs."""
    lr: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """Initial learning rate of SGD."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD."""
    nesterov: bool = True
    """Nesterov's form of the momentum."""
    weight_decay: float = Field(default=1e-4, ge=0, allow_inf_nan=False)
    """L2 penalty on all parameters."""
    milestones: list[Annotated[float, Field(gt=0)]] = Field(default_factory=lambda: [0.5, 0.75])
    """Shares of the epochs after which the learning rate is multiplied by gamma."""
    gamma: float = Field(default=0.1, gt=0, le=1)
    """Factor of the learning rate at a milestone."""
    input_size: tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]] | None = None
    """Height and width of the network's input; by default the architecture's own."""
    crop_fraction: CropFraction | None = None
    """Share of an image's side that the centre crop of evaluation keeps; by default the architecture's own."""
    interpolation: Interpolation | None = None
    """How images are resized for evaluation; by default the architecture's own."""
    mean: ChannelMeans | None = None
    """Normalisation mean, images in [0, 1]; by default the architecture's own."""
    std: ChannelStds | None = None
    """Normalisation standard deviation, images in [0, 1]; by default the architecture's own."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of training; bf16 uses autocast."""
    channels_last: bool = True
    """Memory layout of the network."""
    checkpoint: Literal["last", "best"] = "last"
    """Which epoch's weights the checkpoint holds; metrics of both are recorded."""
    save_interval: float = Field(default=10.0, gt=0)
    """Minutes between two saved states within an epoch; every epoch's end is saved too."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        given = {cls.renamed.get(name, name): value for name, value in given.items()}
        preset = given.get("preset")
        return {**PRESETS.get(preset, {}), **given} if isinstance(preset, str) else given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError(f"milestones must rise, found {self.milestones}")
        if (self.mean is None) != (self.std is None):
            raise ValueError("give both mean and std, or neither")
        past = next((milestone for milestone in self.milestones if milestone >= 1), None)
        if past is not None:
            raise ValueError(
                f"milestones are shares of the epochs, found {past:g}, which lies past the end; "
                f"for epoch {min(past, self.epochs / 2):g} of {self.epochs} write {min(past / self.epochs, 0.5):g}"
            )
        self._require_weights_by_init()
        self._require_compatible()
        for whole, what in ((self.batch_size, "batch_size"), (self.batch_norm_groups, "batch_norm_groups")):
            if whole is not None and whole % self.accumulate:
                raise ValueError(f"{what} {whole} cannot be divided into accumulate {self.accumulate} passes")
        if self.batch_norm_groups is not None and self.batch_size % self.batch_norm_groups:
            raise ValueError(
                f"batch_size {self.batch_size} cannot be divided into batch_norm_groups {self.batch_norm_groups}"
            )
        return self

    def _require_weights_by_init(self) -> None:
        loading = sorted(_LOADING_OPTIONS & self.arch_options.keys())
        if loading:
            raise ValueError(
                f"expected weights to start from as init: SOURCE, found {', '.join(loading)} in arch_options"
            )
        if self.init is not None and not is_weights_file(self.init):
            try:
                parse_source(self.init)
            except InputError as error:
                raise ValueError(f"init: {error}") from None
        if self.init_entry is not None and self.init is None:
            raise ValueError("expected init with init_entry, found init_entry alone")

    def _require_compatible(self) -> None:
        chosen = self.ordered_regularizers()
        mixing = [one.name for one in chosen if one.stage in ("mix", "features")]
        if len(mixing) > 1:
            raise ValueError(f"only one regularizer may mix a batch, found {' and '.join(mixing)}")
        dropping = [one.name for one in chosen if one.name in ("shakedrop", "stochastic-depth")]
        if len(dropping) > 1:
            raise ValueError(f"only one regularizer may drop branches, found {' and '.join(dropping)}")
        features = [one.name for one in chosen if one.stage == "features"]
        if features and self.accumulate > 1:
            raise ValueError(
                f"{features[0]} mixes maps across the batch, which accumulate {self.accumulate} would take apart"
            )

    def ordered_regularizers(self) -> list[Regularizer]:
        """The regularizers in the order they are applied: erasing, then mixing, then smoothing labels."""
        chosen = [entry.chosen for entry in self.regularizers]
        return sorted(chosen, key=lambda regularizer: STAGES.index(regularizer.stage))

    def learning_rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0: lr * gamma for every milestone behind it."""
        passed = sum(epoch >= share * self.epochs - 1e-9 for share in self.milestones)
        return self.lr * self.gamma**passed

    def digest(self) -> str:
        """SHA-256 over all that decides the weights.

        Raises:
            InputError: if the weights to start from are a file that is missing.
        """
        decisive = self.model_dump(mode="json", exclude={"save_interval", "preset"})
        # Under the name that digests on disk were made with.
        decisive["keep"] = decisive.pop("checkpoint")
        decisive = _without(decisive, _NEUTRAL)
        decisive["regularizers"] = [
            {name: _without(options, _NEUTRAL_IN.get(name, {})) for name, options in entry.items()}
            for entry in decisive["regularizers"]
        ]
        if self.init is not None:
            decisive["init_sha256"] = source_sha256(self.init)
        files = [
            name.rpartition(":")[0]
            for entry in decisive["regularizers"]
            for name in entry
            if is_file_spec(name)
        ]
        files += [path for one in self.ordered_regularizers() for path in one.files()]
        if files:
            decisive["files"] = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in files]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _without(given: dict[str, Any], neutral: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in neutral or value != neutral[key]}
