"""The grammar of ``--backbone`` and the flags that go with it (no torch, so help stays fast)."""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from eval_suite.core.errors import InputError

_GRAMMAR = "a checkpoint folder, timm:NAME[@FILE], torchvision:NAME[/WEIGHTS][@FILE] or path/to/model.py:FACTORY[@FILE]"


def _in_unit_range(values: tuple[float, float, float]) -> tuple[float, float, float]:
    if not all(0 <= value <= 1 for value in values):
        raise ValueError(
            f"expected values of images in [0, 1], found {values}; divide those of 0..255 by 255"
        )
    return values


def _above_zero(values: tuple[float, float, float]) -> tuple[float, float, float]:
    if min(values) <= 0:
        raise ValueError(f"expected values above 0, found {values}")
    return _in_unit_range(values)


ChannelMeans = Annotated[tuple[float, float, float], AfterValidator(_in_unit_range)]
ChannelStds = Annotated[tuple[float, float, float], AfterValidator(_above_zero)]
CropFraction = Annotated[float, Field(gt=0, le=1)]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


class SourceSpec(NamedTuple):
    """A parsed ``--backbone``.

    ``name`` is a folder, a model name or a factory's name; ``tag`` torchvision's weights name; ``module`` the Python
    file of a factory; ``weights`` a local weights file.
    """

    kind: Literal["checkpoint", "timm", "torchvision", "factory"]
    name: str
    tag: str | None = None
    module: Path | None = None
    weights: Path | None = None


class BackboneOptions(BaseModel):
    """What a weights file does not say; flags for a user's own factory, overrides for the others."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    mean: ChannelMeans | None = None
    """Mean per channel that the network was trained with, images in [0, 1]."""
    std: ChannelStds | None = None
    """Standard deviation per channel that the network was trained with, images in [0, 1]."""
    input_size: tuple[int, int] | None = None
    """Height and width of the network's input."""
    crop_fraction: CropFraction | None = None
    """Share of an image's side that the centre crop keeps; images already of the input's size are left whole."""
    interpolation: Interpolation | None = None
    """How images are resized."""
    num_classes: int | None = Field(default=None, ge=1)
    """Outputs of the last layer; by default the number of classes of the data."""
    feature_layer: str | None = None
    """Dotted name of the layer with the last feature map; found by itself where possible."""


def parse_source(text: str) -> SourceSpec:
    """Parse a ``--backbone``.

    Raises:
        InputError: if the text follows none of the four forms.
    """
    if text and Path(text).is_dir():
        return SourceSpec("checkpoint", text)
    head, _, file = text.partition("@")
    weights = Path(file) if file else None
    prefix, colon, rest = head.partition(":")
    if colon and prefix in ("timm", "torchvision") and rest:
        if prefix == "timm":
            return SourceSpec("timm", rest, weights=weights)
        name, _, tag = rest.partition("/")
        return SourceSpec("torchvision", name, tag=tag or None, weights=weights)
    if ".py:" in head:
        path, _, factory = head.rpartition(":")
        if not factory.isidentifier():
            raise InputError(f"expected path/to/model.py:FACTORY, found '{head}'; name the factory function")
        return SourceSpec("factory", factory, module=Path(path), weights=weights)
    raise InputError(f"no backbone at '{text}': expected {_GRAMMAR}")


def default_name(text: str) -> tuple[str, int | None]:
    """A short name for a backbone given by its source, and its seed where the source is a checkpoint folder.

    ``resnet20-12fca82f`` for that weights file, ``cutmix`` and 0 for ``checkpoints/demo/cutmix-s0``.
    """
    spec = parse_source(text)
    if spec.weights is not None:
        return spec.weights.stem, None
    if spec.kind == "checkpoint":
        folder = Path(spec.name).resolve().name
        name, _, seed = folder.rpartition("-s")
        return (name, int(seed)) if name and seed.isdigit() else (folder, None)
    return (spec.name if spec.tag is None else f"{spec.name}-{spec.tag}"), None
