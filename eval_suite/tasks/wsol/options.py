"""Options of the wsol task: what is fitted, whose map is read how, and how boxes are judged."""

from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from eval_suite.core.entries import Entry, InlineYaml, entry_type
from eval_suite.core.errors import InputError, unknown_name
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.tasks.base import TaskOptions
from eval_suite.tasks.wsol.geometry import EVALUATION_PAPER, PAPER
from eval_suite.tasks.wsol.hyperparameters import METHOD_SETTINGS
from eval_suite.training.recipe import RegularizerEntry

MapName = Literal[
    "cam",
    "gradcam",
    "gradcam++",
    "xgradcam",
    "hirescam",
    "gradcam-elementwise",
    "layercam",
    "scorecam",
    "ablationcam",
    "eigencam",
    "eigengradcam",
    "rollout",
    "legrad",
]
CROP_FRACTIONS = {"paper": PAPER.crop_fraction, "evaluation-paper": EVALUATION_PAPER.crop_fraction}

if TYPE_CHECKING:
    MethodEntry = Entry
else:
    MethodEntry = entry_type(
        "MethodEntry", "expected one method, as in 'has: {sizes: [16]}'", METHOD_SETTINGS
    )

# The fit settings of the CutMix paper, appendix B. What it does not state: Nesterov's form, taken from the authors'
# classification code, and the regularizers' probabilities, for which a backbone's own recipe stands.
_PAPER: dict[str, Any] = {
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 1e-4,
    "gamma": 0.1,
    "augmentation": "resize-crop",
}
_CUB = {**_PAPER, "epochs": 600, "batch_size": 32, "milestones": [0.25, 0.5, 0.75]}
PRESETS: dict[str, dict[str, Any]] = {
    "custom": {
        **_PAPER,
        "epochs": 10,
        "batch_size": 32,
        "lr": 0.001,
        "head_lr": 0.01,
        "milestones": [0.5, 0.75],
    },
    "paper-cub": {**_CUB, "lr": 0.001, "head_lr": 0.01},
    "paper-cub-vgg": {**_CUB, "lr": 0.0001, "head_lr": 0.001},
    "paper-imagenet": {
        **_PAPER,
        "epochs": 20,
        "batch_size": 256,
        "lr": 0.01,
        "head_lr": 0.1,
        "milestones": [0.3, 0.6, 0.9],
    },
}

_FITTED = (*PRESETS["custom"], "regularizers")


class FitOptions(BaseModel):
    """How the network is fine-tuned for localisation. Any field given with a preset wins."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    preset: Literal["none", "custom", "paper-cub", "paper-cub-vgg", "paper-imagenet"] = "none"
    """none takes the classifier as it is; the paper's are those of the CutMix paper, appendix B; custom is short."""
    enlarge: bool = True
    """Enlarge the last map: no stride in a ResNet's last stage, GoogLeNet and Inception-v3 cut off at stride 16; else it is kept."""
    epochs: int | None = Field(default=None, ge=1)
    """Passes over the training images."""
    batch_size: int | None = Field(default=None, ge=1)
    """Images per step."""
    lr: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Initial learning rate of the backbone's own layers."""
    head_lr: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Initial learning rate of the layers initialised anew."""
    momentum: float | None = Field(default=None, ge=0, lt=1)
    """Momentum of SGD."""
    nesterov: bool | None = None
    """Nesterov's form of the momentum."""
    weight_decay: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """L2 penalty on all parameters."""
    milestones: list[Annotated[float, Field(gt=0, lt=1)]] | None = None
    """Shares of the epochs after which the learning rates are multiplied by gamma."""
    gamma: float | None = Field(default=None, gt=0, le=1)
    """Factor of the learning rates at a milestone."""
    augmentation: Literal["cifar", "imagenet", "imagenet-jitter", "resize-crop", "flip", "none"] | None = None
    """Augmentation before the regularizers; resize-crop is the paper's (256, random crop of 224, flip)."""
    regularizers: Annotated[list[RegularizerEntry] | None, InlineYaml()] = None
    """Names, or names with options as in a recipe; by default those that the backbone was trained with."""

    @model_validator(mode="before")
    @classmethod
    def _preset_alone(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"preset": given}
        if isinstance(given, Mapping) and given and "preset" not in given:
            return {"preset": "custom", **given}
        return given

    @model_validator(mode="after")
    def _fill_from_preset(self) -> Self:
        if self.preset == "none":
            given = [name for name in _FITTED if getattr(self, name) is not None]
            if given:
                raise ValueError(f"preset none fits nothing, found {given[0]} with it; choose preset custom")
            return self
        for name, value in PRESETS[self.preset].items():
            if getattr(self, name) is None:
                setattr(self, name, copy(value))
        milestones = self.milestones or []
        if milestones != sorted(set(milestones)):
            raise ValueError(f"milestones must rise, found {milestones}")
        return self

    @property
    def wanted(self) -> bool:
        """Whether anything is fitted."""
        return self.preset != "none"


class WsolOptions(TaskOptions):
    """Options of the wsol task."""

    renamed: ClassVar[Mapping[str, str]] = {"maps": "cam_method", "interval": "threshold_step"}

    data: str
    """Images with boxes or masks to evaluate on, as KIND:PATH (cub, ilsvrc, tinyimagenet, wsoleval); a fit trains on its split train."""
    method: Annotated[MethodEntry, InlineYaml()] = Field(
        default_factory=lambda: MethodEntry.model_validate("cam")
    )
    """Method of localisation: cam, has, acol, adl or spg; all but cam need a fit."""
    cam_method: MapName = "cam"
    """Whose map is scored: cam is the plain class activation map, of the forward pass alone; rollout and legrad are made of a vision transformer's attention; the others are the grad-cam package's."""
    map_class: Literal["ground-truth", "predicted"] = "ground-truth"
    """Class whose map is scored; Top-1 Loc is the same for both."""
    transform: Literal["paper", "evaluation-paper"] = "paper"
    """Test images: paper resizes to 8/7 of the input's sides and crops the centre, evaluation-paper resizes to the input's sides; neither keeps the ratio of the sides."""
    sigma: float = Field(default=0.15, gt=0, lt=1)
    """Fixed threshold of the boxes, as a share of a map's maximum."""
    threshold_step: float = Field(default=0.001, ge=0.0001, le=0.5)
    """Step between the thresholds tried for the threshold-free metrics."""
    fit: FitOptions = Field(default_factory=FitOptions)
    """Fine-tuning before prediction."""

    @field_validator("cam_method", mode="before")
    @classmethod
    def _known_map(cls, given: Any) -> Any:
        if isinstance(given, str) and given not in get_args(MapName):
            raise ValueError(str(unknown_name("map", given, get_args(MapName))))
        return given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        method = self.method.chosen.name
        if method != "cam" and not self.fit.wanted:
            raise ValueError(
                f"method {method} is trained, found fit none; choose a fit, such as preset paper-cub"
            )
        if method == "acol" and self.cam_method != "cam":
            raise ValueError(
                f"method acol reads the maps of its two classifiers, found maps {self.cam_method}"
            )
        return self

    def smoke_options(self, epochs: int | None, limit: int | None) -> dict[str, Any]:
        """Fewer epochs of the fit too, where there is one."""
        fit = {"fit": {"epochs": epochs}} if epochs is not None and self.fit.wanted else {}
        return {**super().smoke_options(epochs, limit), **fit}

    @property
    def crop_fraction(self) -> float:
        """Share of the resized image's sides that the input is."""
        return CROP_FRACTIONS[self.transform]


def require_precision(options: WsolOptions, runtime: RuntimeOptions) -> None:
    """Check that the maps can be computed in the precision asked for.

    Raises:
        InputError: if not.
    """
    if options.cam_method != "cam" and runtime.precision != "fp32":
        raise InputError(
            f"maps {options.cam_method} are computed in single precision, found --precision {runtime.precision}; leave that "
            "out, or take --cam-method cam"
        )
