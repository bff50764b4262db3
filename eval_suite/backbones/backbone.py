"""The one type every task evaluates: a classifier or a network of features that owns its normalisation."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn

from eval_suite.backbones.checkpoint import state_sha256
from eval_suite.backbones.operations import multiply_adds
from eval_suite.backbones.probe import behaviour, probe
from eval_suite.backbones.spec import BackboneOptions
from eval_suite.backbones.structure.hooks import evaluating, watching
from eval_suite.backbones.structure.layout import map_of
from eval_suite.backbones.structure.vectors import vectors_of
from eval_suite.core.cards import Assumable, BackboneCard, LoadReport
from eval_suite.core.errors import EvalSuiteError, InputError, unknown_name
from eval_suite.core.validation import validated

ASSUMABLE: tuple[Assumable, ...] = get_args(Assumable)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Prediction(NamedTuple):
    """Logits and the feature map they come from, of one forward pass."""

    logits: Tensor
    features: Tensor


class Backbone(nn.Module):
    """An image classifier: RGB images in [0, 1] → its own normalisation → feature map → logits.

    Where the card says ``headless``, feature vectors (N, D) stand for the logits.

    Args:
        net: the network, called with normalised images (N, 3, H, W), returning logits (N, classes) or features.
        card: name, classes, input size, mean and std, and how it was loaded.

    Attributes:
        contiguous: the network needs images in the plain memory layout, as it views its maps; see `to_device`.
    """

    contiguous = False
    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, card: BackboneCard) -> None:
        super().__init__()
        self.net = net
        self.card = card
        self.register_buffer("mean", torch.tensor(card.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(card.std).view(1, 3, 1, 1), persistent=False)

    @classmethod
    def wrap(
        cls,
        net: nn.Module,
        *,
        name: str = "model",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        input_size: tuple[int, int] | int | None = None,
        classes: Sequence[str] = (),
        crop_fraction: float | None = None,
        interpolation: str | None = None,
        resize: str | None = None,
        feature_layer: str | None = None,
        headless: bool = False,
    ) -> "Backbone":
        """A backbone from a network in memory, which is not copied, and is put into evaluation mode.

        Args:
            net: normalised images (N, 3, H, W) → logits (N, classes).
            name: in records and reports.
            mean: per channel, images in [0, 1]; by default what timm says of the network, else ImageNet's, with a warning.
            std: likewise.
            input_size: (H, W), or one number for a square; by default what timm says of the network, else 224x224 until it is evaluated on images that
                all have another size.
            classes: names in the order of the outputs, where they are known; they are then held against the data's.
            crop_fraction: share of an image's side that the centre crop keeps.
            interpolation: how images are resized: nearest, bilinear, bicubic or lanczos.
            resize: crop, or squash to resize both sides whatever their ratio; see `BackboneOptions`.
            feature_layer: dotted name of the layer with the last feature map; found by itself where possible.
            headless: the network returns features (N, D) and no classes; other shapes are taken for features by themselves.

        Raises:
            InputError: if a setting is out of range, the network cannot take such images or does not return (N, classes),
                or the classes are not as many.

        Example:
            >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
            >>> Backbone.wrap(net, input_size=(32, 32)).card.num_classes
            2
        """
        if not isinstance(net, nn.Module):
            raise InputError(expected="a torch.nn.Module", found=f"{type(net).__name__}")
        if other := _other_precision(net):
            raise InputError(
                expected="a network in single precision",
                found=f"weights of {other}",
                remedy="pass net.float()",
            )
        config = getattr(net, "pretrained_cfg", None) or {}
        timms = {
            "mean": config.get("mean"),
            "std": config.get("std"),
            "input_size": _size_of(net, config),
            "crop_fraction": config.get("crop_pct"),
            "interpolation": config.get("interpolation"),
        }
        given = {
            "mean": mean,
            "std": std,
            "input_size": input_size,
            "crop_fraction": crop_fraction,
            "interpolation": interpolation,
            "resize": resize,
        }
        settings: dict[str, Any] = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "input_size": (224, 224)}
        settings |= {key: value for key, value in timms.items() if value is not None}
        settings |= {key: value for key, value in given.items() if value is not None}
        options = validated("Backbone.wrap", BackboneOptions, settings)
        names = [str(each) for each in classes]
        open_ = [key for key in ASSUMABLE if given[key] is None]
        card = BackboneCard(
            name=name,
            source=f"{type(net).__module__}.{type(net).__qualname__} in memory",
            arch=type(net).__qualname__,
            classes=names,
            feature_layer=feature_layer,
            headless=headless,
            load=LoadReport(matched=len(net.state_dict()), notes=["a network in memory, as it is"]),
            assumed=[key for key in open_ if timms[key] is None],
            library_defaults=[key for key in open_ if timms[key] is not None],
            **{key: getattr(options, key) for key in settings},
        )
        made = finish(net, card)
        if names and len(names) != made.card.num_classes:
            raise InputError(
                expected=f"as many classes as the network has outputs, {made.card.num_classes}",
                found=f"{len(names)}",
            )
        return made

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes), or vectors (N, D) of a headless network, of images (N, 3, H, W) in [0, 1]."""
        normalised = self.normalise(images)
        if len(images) == 1 and not self.training:
            return self._of_one(normalised)
        return self._run(normalised)

    def _run(self, normalised: Tensor) -> Tensor:
        output = self.net(normalised)
        if self.card.headless:
            vectors = vectors_of(output)
            assert vectors is not None  # as the network was looked at when it was wrapped
            return vectors.values
        logits: Tensor = output
        return logits

    def _of_one(self, normalised: Tensor) -> Tensor:
        """Networks that squeeze lose the first axis of a batch of one; such an image is given twice."""
        try:
            logits = self._run(normalised)
            if logits.ndim == 2:
                return logits
        except (RuntimeError, IndexError, ValueError):
            pass  # where that is not the reason, the pass below raises it
        return self._run(torch.cat([normalised, normalised]))[:1]

    def normalise(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] as the network expects them: (x - mean) / std per channel."""
        normalised = (images - self.mean).div_(self.std)
        return normalised.contiguous() if self.contiguous else normalised

    def noise(self, count: int) -> Tensor:
        """`noise_images` of the network's input size, on its device."""
        return noise_images(count, self.card.input_size).to(self.mean.device)

    def features(self, images: Tensor) -> Tensor:
        """The last feature map (N, C, h, w) before pooling."""
        return self.predict(images).features

    def predict(self, images: Tensor) -> Prediction:
        """Logits and the last feature map before pooling, in one forward pass.

        Raises:
            EvalSuiteError: if the network has no two-dimensional feature map (a token model).
        """
        if self.card.feature_layer is None:
            raise EvalSuiteError(
                f"backbone '{self.card.name}' ({self.card.arch}) has no feature map of height and width; "
                "choose a convolutional backbone, or name one of its layers with --feature-layer"
            )
        kept: list[Tensor] = []
        layer = self.net.get_submodule(self.card.feature_layer)
        handle = layer.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
        try:
            logits = self(images)
        finally:
            handle.remove()
        features = map_of(kept[-1], (images.shape[2], images.shape[3]), self.net)
        if features is None:
            raise EvalSuiteError(
                expected=f"a feature map or tokens of patches from '{self.card.feature_layer}' of backbone '{self.card.name}'",
                found=f"{tuple(kept[-1].shape)}",
                remedy="name another layer with --feature-layer",
            )
        return Prediction(logits, features if len(features) == len(images) else features[: len(images)])


def noise_images(count: int, size: tuple[int, int]) -> Tensor:
    """Images (count, 3, H, W) in [0, 1], always the same, to find out about a network by what it does with them."""
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0))


def single_precision(net: nn.Module) -> torch.dtype | None:
    """Convert a network of another precision, in place; gives the one it had, or None where it was single."""
    other = _other_precision(net)
    if other is not None:
        net.float()
    return other


def _size_of(net: nn.Module, config: Mapping[str, Any]) -> tuple[int, int] | None:
    """What timm says of a network's input: the size that its patches were laid out for, before that of its architecture."""
    built_for = getattr(getattr(net, "patch_embed", None), "img_size", None)
    if config and isinstance(built_for, tuple):
        height, width = built_for
        return height, width
    return tuple(config["input_size"][1:]) if config.get("input_size") else None


def _other_precision(net: nn.Module) -> torch.dtype | None:
    types = (parameter.dtype for parameter in net.parameters() if parameter.is_floating_point())
    return next((dtype for dtype in types if dtype != torch.float32), None)


def _listed(keys: Sequence[Assumable]) -> str:
    words = [each.replace("_", " ") for each in keys]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _flags(keys: Sequence[Assumable]) -> str:
    return ", ".join(f"--{each.replace('_', '-')}" for each in keys)


def finish(net: nn.Module, card: BackboneCard) -> Backbone:
    """Wrap a network, filling in what can be read off it: outputs, parameters, feature layer, warnings, weights hash."""
    found = probe(net, card.input_size, headless=card.headless)
    if found.features:
        card.load.notes.append(f"the network has no classes; its features are {found.features}")
    card.load.warnings.extend(found.warnings)
    if defaults := card.library_defaults:
        card.load.notes.append(
            f"{_listed(defaults)} of the input are the library's for this architecture, as the weights do not say theirs ({_flags(defaults)})"
        )
    if unknown := [each for each in card.assumed if each != "input_size"]:
        card.load.warnings.append(
            f"{_listed(unknown)} of the input are assumed to be ImageNet's ({_flags(unknown)}); "
            "a network that normalises its input itself needs --mean 0 0 0 --std 1 1 1"
        )
    if card.feature_layer is not None and card.feature_layer not in dict(net.named_modules()):
        raise unknown_name("feature layer", card.feature_layer, dict(net.named_modules()))
    if card.feature_layer is not None:
        _require_map(net, card.feature_layer, card.input_size)
    card = card.model_copy(
        update={
            "num_classes": found.outputs,
            "headless": not found.outputs,
            "parameters": sum(parameter.numel() for parameter in net.parameters()),
            "multiply_adds": multiply_adds(net, card.input_size),
            "feature_layer": card.feature_layer or found.feature_layer,
            "weights_sha256": state_sha256(net.state_dict()),
            "behaviour": behaviour(net, card.input_size),
        }
    )
    return Backbone(net, card).eval()


def at_size(backbone: Backbone, size: tuple[int, int]) -> Backbone:
    """The same network for images of another size (H, W).

    Raises:
        InputError: if it cannot take them.
    """
    probe(backbone.net, size, headless=backbone.card.headless)
    update = {
        "input_size": size,
        "multiply_adds": multiply_adds(backbone.net, size),
        "behaviour": behaviour(backbone.net, size),
    }
    return Backbone(backbone.net, backbone.card.model_copy(update=update)).eval()


def _require_map(net: nn.Module, layer: str, input_size: tuple[int, int]) -> None:
    """Refuse a named layer that gives tokens, windows or nothing at all in place of one map an image."""
    given: list[object] = []
    with evaluating(net), watching(net, lambda _name, _layer, _inputs, output: given.append(output), [layer]):
        parameter = next(net.parameters(), torch.empty(0))
        net(torch.zeros(2, 3, *input_size, device=parameter.device))
    output = given[-1] if given else None
    if not isinstance(output, Tensor) or output.ndim != 4 or len(output) != 2:
        gives = (
            f"{tuple(output.shape)} for two images" if isinstance(output, Tensor) else type(output).__name__
        )
        raise InputError(
            expected=f"a map (2, channels, height, width) for two images from the feature layer '{layer}'",
            found=gives,
            remedy="name a layer that gives one with --feature-layer",
        )
