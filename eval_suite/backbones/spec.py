"""The grammar of ``--backbone`` and the flags that go with it (no torch, so help stays fast)."""

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from eval_suite.core.entries import ONE_FOR_BOTH
from eval_suite.core.errors import InputError

PROBE = "probe"
"""As a head: the folder in which the task of that name left its fit under the same name."""
_GRAMMAR = (
    "a checkpoint folder, timm:NAME[@FILE], torchvision:NAME[/WEIGHTS][@FILE], path/to/model.py:FACTORY[@FILE], "
    "hf-hub:ORG/NAME or local-dir:FOLDER"
)
WEIGHTS_SUFFIXES = (".pt", ".pth", ".th", ".ckpt", ".bin", ".safetensors", ".tar", ".pkl", ".model")
# What timm fetches or reads itself, with the configuration that lies next to the weights.
_HUBS = ("hf-hub", "hf_hub", "local-dir")
_HUB_MODEL = r"[\w.-]+/[\w.-]+"
_NAME = re.compile(r"[A-Za-z][\w-]*(\.[\w-]+)*")


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
Resize = Literal["crop", "squash"]


class SourceSpec(NamedTuple):
    """A parsed ``--backbone``.

    ``name`` is a folder, a model name (of timm also ``hf-hub:ORG/NAME`` and ``local-dir:FOLDER``) or a factory's name;
    ``tag`` torchvision's weights name; ``module`` the Python file of a factory; ``weights`` a local weights file.
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
    input_size: Annotated[tuple[int, int] | None, ONE_FOR_BOTH] = None
    """Height and width of the network's input; one number for a square."""
    crop_fraction: CropFraction | None = None
    """Share of an image's side that the centre crop keeps; images already of the input's size are left whole."""
    interpolation: Interpolation | None = None
    """How images are resized."""
    resize: Resize | None = None
    """How an image of another shape meets the input: crop resizes the short side and cuts the centre out, squash both sides, whatever their ratio, as Caffe's networks were fed."""
    num_classes: int | None = Field(default=None, ge=1)
    """Outputs of the last layer; by default the number of classes of the data."""
    classes: Path | None = None
    """File with the names of the outputs in their order, one a line or JSON; they are matched with the data's classes by name."""
    class_order: str | None = None
    """Which of the data's classes each output is, where outputs have no names: sorted (by code points), natural (class_2 before class_10), or a FILE as for --classes."""
    headless: bool = False
    """The network returns features and no classes; an architecture of timm or torchvision is built without its last layer."""
    head: str | None = None
    """A fitted probe's linear layer as the last layer of a network of features, for tasks of classes: probe for the one that eval-suite probe left under the same --name and --out, or a folder that holds one."""
    random_weights: bool = False
    """Weights drawn at random in place of the source's, from a fixed seed: what the architecture alone reaches."""
    feature_layer: str | None = None
    """Dotted name of the layer with the last feature map; found by itself where possible."""
    weights_entry: str | None = None
    """Which of several sets of weights in a file, by its path there, such as state_dict_ema; . for the top."""

    @model_validator(mode="after")
    def _one_order(self) -> "BackboneOptions":
        if self.classes is not None and self.class_order is not None:
            raise ValueError("expected classes or class_order, found both; a file with names says the order")
        if self.class_file is not None and not self.class_file.is_file():
            orders = "" if self.classes else "sorted, natural or "
            raise ValueError(f"expected {orders}a file with class names, found '{self.class_file}'")
        return self

    @model_validator(mode="after")
    def _no_classes_without_a_head(self) -> "BackboneOptions":
        given = [
            name for name in ("num_classes", "classes", "class_order") if getattr(self, name) is not None
        ]
        if self.headless and given:
            raise ValueError(f"expected no {given[0]} with headless, as the network has no classes then")
        return self

    @property
    def class_file(self) -> Path | None:
        """The file that names the outputs."""
        named = self.classes or (
            None if self.class_order in (None, "natural", "sorted") else self.class_order
        )
        return None if named is None else Path(named).expanduser()


def parse_source(text: str) -> SourceSpec:
    """Parse a ``--backbone``; a name without a library is one of timm's.

    ``~`` is the home folder, also after ``@``. Folders and files may have ``@`` in their names.

    Raises:
        InputError: if the text follows none of the forms; the message says what is missing where that can be seen.
    """
    if text and (folder := _home(text)).is_dir():
        return _folder(folder)
    prefix, _, rest = text.partition(":")
    if prefix == "timm" and rest.partition(":")[0] in _HUBS:
        prefix, _, rest = rest.partition(":")
    if prefix in _HUBS and rest:
        return _hub(prefix, rest, text)
    factory = re.match(r"(?P<path>.+?\.py):(?P<name>[^@]*)(?:@(?P<file>.*))?$", text)
    head, _, file = text.partition("@")
    weights = _home(file) if file else None
    if prefix in ("timm", "torchvision") and rest and not rest.startswith("@"):
        name, _, tag = head.partition(":")[2].partition("/" if prefix == "torchvision" else "\0")
        return SourceSpec(
            "timm" if prefix == "timm" else "torchvision", name, tag=tag or None, weights=weights
        )
    if factory is not None:
        if not factory["name"].isidentifier():
            raise InputError(
                expected="path/to/model.py:FACTORY",
                found=f"'{text}'",
                remedy="name the function or class that makes the network",
            )
        file = factory["file"]
        return SourceSpec(
            "factory", factory["name"], module=_home(factory["path"]), weights=_home(file) if file else None
        )
    if nameless := re.fullmatch(r"(.+?\.py)(@.*)?", text):
        raise InputError(
            expected=f"{nameless[1]}:FACTORY{nameless[2] or ''}",
            found=f"'{text}'",
            remedy="name the function or class in it that makes the network",
        )
    if text.startswith(("http://", "https://")):
        raise InputError(
            expected="a source on this machine", found=f"{text}", remedy="download it and give timm:NAME@FILE"
        )
    if head and _NAME.fullmatch(head) and ("@" in text or Path(text).suffix not in WEIGHTS_SUFFIXES):
        return SourceSpec("timm", head, weights=weights)
    alone = Path(text).suffix in WEIGHTS_SUFFIXES or (text and _home(text).is_file())
    if alone and ":" not in head and not (head and _home(head).is_dir()):
        raise _without_architecture(text.removeprefix("@"))
    hub = f"; a model of the Hub is hf-hub:{text}" if re.fullmatch(_HUB_MODEL, text) else ""
    raise InputError(f"no backbone at '{text}': expected {_GRAMMAR}{hub}")


def _home(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # the home of a user that there is not
        return Path(text)


def _folder(folder: Path) -> SourceSpec:
    """A checkpoint of ours, or a snapshot of a hub with timm's configuration."""
    if not (folder / "card.json").is_file() and (folder / "config.json").is_file():
        return SourceSpec("timm", f"local-dir:{folder}")
    return SourceSpec("checkpoint", str(folder))


def _hub(prefix: str, rest: str, text: str) -> SourceSpec:
    if prefix != "local-dir":
        if not re.fullmatch(_HUB_MODEL + r"(@[\w./-]+)?", rest):
            raise InputError(
                expected="hf-hub:ORG/NAME", found=f"'{text}'", remedy="give the model's owner and name"
            )
        return SourceSpec("timm", f"hf-hub:{rest}")
    folder = _home(rest)
    if not (folder / "config.json").is_file():
        raise InputError(
            expected=f"a folder with timm's config.json at {folder}",
            found="none",
            remedy="give the snapshot of a model of the hub, or timm:NAME@FILE for weights alone",
        )
    return SourceSpec("timm", f"local-dir:{folder}")


def _without_architecture(file: str) -> InputError:
    return InputError(
        expected="an architecture with the weights",
        where=file,
        found="the file alone",
        remedy=f"which one? write timm:NAME@{file}, torchvision:NAME@{file} or path/to/model.py:FACTORY@{file}",
    )


def _stem(file: Path) -> str:
    """A weights file's name without its suffixes, of which there may be two, as in ``.pth.tar``."""
    while file.suffix in WEIGHTS_SUFFIXES and file.stem != file.name:
        file = Path(file.stem)
    return file.name


def is_weights_file(text: str) -> bool:
    """Whether a text names a weights file, without an architecture."""
    return (
        ":" not in text
        and "@" not in text
        and (Path(text).suffix in WEIGHTS_SUFFIXES or _home(text).is_file())
    )


def source_sha256(text: str) -> str:
    """SHA-256 over what a source names: its files' content; published weights by their name.

    Args:
        text: a source as `parse_source` reads it, or a weights file alone.

    Raises:
        InputError: if a file is missing.
    """
    if is_weights_file(text):
        files, name = [_home(text)], ""
    else:
        spec = parse_source(text)
        name = spec.name
        files = [path for path in (spec.module, spec.weights) if path is not None]
        library, _, place = spec.name.partition(":")
        if spec.kind == "checkpoint":
            name, files = "", [Path(spec.name) / "model.safetensors"]
        elif library == "local-dir":
            name, files = "", sorted(path for path in Path(place).iterdir() if path.is_file())
    digest = hashlib.sha256(name.encode())
    for path in files:
        if not path.is_file():
            raise InputError(expected=f"a file at {path}", found="none", remedy="check the path")
        state = path.stat()
        digest.update(_file_sha256(path, state.st_mtime_ns, state.st_size).encode())
    return digest.hexdigest()


@cache
def _file_sha256(path: Path, _changed: int, _size: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def default_name(text: str) -> tuple[str, int | None]:
    """A short name for a backbone given by its source, and its seed where the source is a checkpoint folder.

    ``resnet20-12fca82f`` for that weights file, ``cutmix`` and 0 for ``checkpoints/demo/cutmix-s0``.
    """
    spec = parse_source(text)
    if spec.weights is not None:
        return _stem(spec.weights), None
    library, _, place = spec.name.partition(":")
    if spec.kind == "timm" and place:
        return Path(place if library == "local-dir" else place.partition("@")[0]).name, None
    if spec.kind == "checkpoint":
        folder = Path(spec.name).resolve().name
        name, _, seed = folder.rpartition("-s")
        return (name, int(seed)) if name and seed.isdecimal() else (folder, None)
    return (spec.name if spec.tag is None else f"{spec.name}-{spec.tag}"), None
