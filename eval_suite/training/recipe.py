"""The recipe: everything that decides a trained backbone, except the seed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eval_suite.backbones.spec import (
    ChannelMeans,
    ChannelStds,
    CropFraction,
    Interpolation,
    is_weights_file,
    parse_source,
)
from eval_suite.core.entries import ONE_FOR_BOTH, Entry, entry_type
from eval_suite.core.errors import InputError
from eval_suite.core.parts import is_file_spec, parts
from eval_suite.core.validation import as_yaml
from eval_suite.data.policies import require_policy
from eval_suite.training import schedules
from eval_suite.training.identity import settings_sha256
from eval_suite.training.presets import PRESETS
from eval_suite.training.regularizers import STAGES, Regularizer

_Side = Annotated[int, Field(ge=8)]
_ImageSize = Annotated[tuple[_Side, _Side], ONE_FOR_BOTH]
# Arguments by which timm and torchvision load weights where a network is built.
_LOADING_OPTIONS = {
    "checkpoint_path",
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "weights",
    "weights_backbone",
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

    preset: (
        Literal["cifar", "imagenet", "imagenet-jitter", "deit", "rsb-a1", "rsb-a2", "rsb-a3", "convnext"]
        | None
    ) = None
    """Settings of a paper to start from; any field given with it wins."""
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
    validate_every: int = Field(default=1, ge=1)
    """Epochs from one that is judged on that split to the next; the last one always is."""
    augmentation: Literal["cifar", "imagenet", "imagenet-jitter", "resize-crop", "flip", "none"] = "flip"
    """Geometric and colour augmentation before the regularizers."""
    policy: str | None = None
    """Further augmentation of each image by chosen operations, once it has its size: a name such as trivial-augment, or timm's specification."""
    repeats: Annotated[int, Field(ge=1)] = 1
    """Copies of an image in a batch, each augmented by itself; an epoch then sees a smaller share of the images."""
    train_size: _ImageSize | None = None
    """Height and width of training images, one number for a square, where evaluation has another input_size; by default the same."""
    train_interpolation: Interpolation | Literal["random"] = "bilinear"
    """How images are resized for training; random takes bilinear or bicubic for each image."""
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
    loss: Literal["ce", "bce"] = "ce"
    """Cross entropy of the softmax, or binary cross entropy of every class by itself; a regularizer may set its own."""
    bce_threshold: float | None = Field(default=None, ge=0, lt=1)
    """Share of a mixed label above which a class counts as wholly there, for bce; by default targets stay soft."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Rate at which residual branches are dropped, as the architecture's drop_path_rate has it."""
    optimizer: Literal["sgd", "adamw", "lamb", "lion"] = "sgd"
    """The optimiser."""
    lr: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """Learning rate that the schedule starts from, for batches of batch_size."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD."""
    nesterov: bool = True
    """Nesterov's form of the momentum."""
    weight_decay: float = Field(default=1e-4, ge=0, allow_inf_nan=False)
    """L2 penalty in SGD; decay apart from the gradient in adamw and lion."""
    weight_decay_on: Literal["all", "weights"] = "all"
    """All parameters, or weights alone: no biases, norms, or what the network exempts."""
    layer_decay: float | None = Field(default=None, gt=0, le=1)
    """Factor of the learning rate from a layer to the one below it, as timm counts layers."""
    clip_grad: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Largest norm of all gradients together."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of the moving average of the weights; with it the averages are judged and kept."""
    schedule: Literal["milestones", "cosine"] = "milestones"
    """How the learning rate falls."""
    schedule_by: Literal["epoch", "step"] = "epoch"
    """Whether the learning rate changes with every epoch or every step."""
    warmup_epochs: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Epochs over which the learning rate rises from warmup_lr."""
    warmup_lr: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Learning rate at the first step of the warm-up."""
    warmup_prefix: bool = False
    """Begin the cosine after the warm-up; else it runs beneath it from the first epoch."""
    min_lr: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Learning rate at the end of the cosine."""
    milestones: list[Annotated[float, Field(gt=0)]] = Field(default_factory=lambda: [0.5, 0.75])
    """Shares of the epochs after which the learning rate is multiplied by gamma, in that schedule."""
    gamma: float = Field(default=0.1, gt=0, le=1)
    """Factor of the learning rate at a milestone."""
    input_size: _ImageSize | None = None
    """Height and width of the network's input, one number for a square; by default the architecture's own."""
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
    compile: bool = False
    """Compile the network with torch.compile; needs a C++ compiler on a CPU, Triton on a GPU."""
    checkpoint: Literal["last", "best"] = "last"
    """Which epoch's weights the checkpoint holds; metrics of both are recorded."""
    save_interval: float = Field(default=10.0, gt=0)
    """Minutes between two saved states within an epoch; every epoch's end is saved too."""
    trackers: list[Literal["tensorboard", "wandb", "mlflow", "trackio"]] = Field(default_factory=list)
    """Experiment trackers that get each epoch's line of the log too; each is a package of its own."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        given = as_yaml(cls, {cls.renamed.get(name, name): value for name, value in given.items()})
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
        self._require_consistent_schedule()
        if self.policy is not None:
            require_policy(self.policy)
        for whole, what in ((self.batch_size, "batch_size"), (self.batch_norm_groups, "batch_norm_groups")):
            if whole is not None and whole % self.accumulate:
                raise ValueError(f"{what} {whole} cannot be divided into accumulate {self.accumulate} passes")
        if self.batch_norm_groups is not None and self.batch_size % self.batch_norm_groups:
            raise ValueError(
                f"batch_size {self.batch_size} cannot be divided into batch_norm_groups {self.batch_norm_groups}"
            )
        return self

    def _require_consistent_schedule(self) -> None:
        if self.warmup_epochs and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"expected warmup_epochs below the {self.epochs} epochs, found {self.warmup_epochs:g}; give fewer, 0 for none"
            )
        if self.warmup_epochs and not self.warmup_lr and self.schedule_by == "epoch":
            raise ValueError(
                "expected a warmup_lr above 0, found 0, at which the whole first epoch would train nothing; give one, or schedule_by: step"
            )
        for name, lower in (("warmup_lr", self.warmup_lr), ("min_lr", self.min_lr)):
            if lower > self.lr:
                raise ValueError(f"expected {name} up to lr {self.lr:g}, found {lower:g}")

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
        if dropping and self.drop_path:
            raise ValueError(
                f"only one may drop branches, found {dropping[0]} and drop_path {self.drop_path:g}"
            )
        if self.bce_threshold is not None and self.loss != "bce":
            raise ValueError(f"bce_threshold needs loss: bce, found {self.loss}")
        if self.bce_threshold is not None and any(one.stage == "labels" for one in chosen):
            raise ValueError(
                "bce_threshold makes labels hard again, so that smoothing them has no effect; give one"
            )
        changing = [one.name for one in chosen if one.acts_on_network()]
        if changing and self.compile:
            raise ValueError(f"{changing[0]} changes the network from step to step, which compile rules out")
        features = [one.name for one in chosen if one.stage == "features"]
        if features and self.accumulate > 1:
            raise ValueError(
                f"{features[0]} mixes maps across the batch, which accumulate {self.accumulate} would take apart"
            )

    def ordered_regularizers(self) -> list[Regularizer]:
        """The regularizers in the order they are applied: erasing, then mixing, then smoothing labels."""
        chosen = [entry.chosen for entry in self.regularizers]
        return sorted(chosen, key=lambda regularizer: STAGES.index(regularizer.stage))

    def learning_rate(self, epoch: float) -> float:
        """The learning rate at a place of the training, in epochs from its beginning.

        The warm-up takes the place of the schedule's first epochs; of a rate that changes by epoch, the epoch's beginning counts.
        """
        epoch = float(epoch // 1) if self.schedule_by == "epoch" else epoch
        if epoch < self.warmup_epochs:
            return schedules.warm_up(epoch, self.warmup_epochs, self.warmup_lr, self.lr)
        if self.schedule == "milestones":
            return schedules.milestones(epoch, self.epochs, self.lr, self.milestones, self.gamma)
        before = self.warmup_epochs if self.warmup_prefix else 0.0
        return schedules.cosine(epoch - before, self.epochs - before, self.lr, self.min_lr)

    def digest(self) -> str:
        """SHA-256 over all that decides the weights.

        Raises:
            InputError: if the weights to start from are a file that is missing.
        """
        settings = self.model_dump(mode="json", exclude={"save_interval", "preset", "trackers"})
        if self.checkpoint == "last":
            del settings["validate_every"]
        files = [
            name.rpartition(":")[0]
            for entry in settings["regularizers"]
            for name in entry
            if is_file_spec(name)
        ]
        files += [path for one in self.ordered_regularizers() for path in one.files()]
        return settings_sha256(settings, init=self.init, files=files)
