"""Networks by the name of their architecture, with weights drawn at random."""

from typing import Any

import timm
import torchvision
from torch import nn

from eval_suite.backbones import architectures  # noqa: F401 - registers our architectures with timm
from eval_suite.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD, noise_images
from eval_suite.backbones.structure.classifier import classifier_layer
from eval_suite.core.errors import InputError, first_line, unknown_name

_AUXILIARY_HEADS = ("googlenet", "inception_v3")


def architecture_names() -> dict[str, list[str]]:
    """Every architecture a recipe can name, by library."""
    return {
        "timm": timm.list_models(),
        "torchvision": torchvision.models.list_models(module=torchvision.models),
    }


def build_net(arch: str, num_classes: int, options: dict[str, Any] | None = None) -> nn.Module:
    """A randomly initialised network.

    Args:
        arch: ``NAME`` or ``timm:NAME`` for timm (ours are registered there), ``torchvision:NAME`` for torchvision.
        num_classes: outputs of the last layer.
        options: further arguments of the network's constructor.

    Raises:
        InputError: if the name is unknown (nearest match given) or an option is not accepted.
    """
    require_architecture(arch)
    library, _, name = arch.rpartition(":")
    options = dict(options or {})
    try:
        if library == "torchvision":
            if name in _AUXILIARY_HEADS:
                options = {"aux_logits": False, "init_weights": True, **options}
            net: nn.Module = torchvision.models.get_model(
                name, weights=None, num_classes=num_classes, **options
            )
        else:
            net = timm.create_model(name, pretrained=False, num_classes=num_classes, **options)
    except TypeError as error:
        raise InputError(
            f"architecture '{arch}' does not accept its options {options}: {first_line(error)}"
        ) from None
    return net


def require_architecture(arch: str) -> None:
    """Check that a recipe's architecture exists.

    Raises:
        InputError: if it does not; the message gives the nearest.
    """
    library, _, name = arch.rpartition(":")
    if library not in ("", "timm", "torchvision"):
        raise unknown_name("library of architectures", library, ("timm", "torchvision"))
    require_known(name, library or "timm")


def native_config(arch: str, net: nn.Module) -> dict[str, Any]:
    """Input size, mean, std, interpolation and crop fraction that an architecture was made for."""
    if arch.startswith("torchvision:"):
        return {"input_size": (224, 224), "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    config = timm.data.resolve_model_data_config(net)
    return {
        "input_size": tuple(config["input_size"][1:]),
        "mean": tuple(config["mean"]),
        "std": tuple(config["std"]),
        "interpolation": config["interpolation"],
        "crop_fraction": config["crop_pct"],
    }


def require_known(name: str, library: str) -> None:
    """Check that a library has an architecture of that name, and timm the weights of its tag.

    Raises:
        InputError: if it does not; the message gives the nearest, or the library that has it.
    """
    known = architecture_names()[library]
    arch, dot, tag = name.partition(".")
    if library == "torchvision":
        arch, dot = name, ""
    if arch not in known:
        other = "torchvision" if library == "timm" else "timm"
        if name in architecture_names()[other]:
            raise InputError(f"unknown {library} architecture '{name}'; {other} has it: {other}:{name}")
        raise unknown_name(f"{library} architecture", name, known, listed_by="eval-suite list architectures")
    tags = [model.partition(".")[2] for model in timm.list_pretrained(f"{arch}.*")] if dot else []
    if dot and tag not in tags:
        raise unknown_name(f"weights of timm:{arch}", tag, tags)


def take_last_layer(net: nn.Module) -> None:
    """Leave a network of torchvision's without the layer that classifies, in place.

    Raises:
        InputError: if it does not end in a linear layer.
    """
    layer = classifier_layer(net, noise_images(2, (224, 224)))
    if layer is None:
        raise InputError(
            expected="a network that ends in a linear layer with --headless",
            found=type(net).__name__,
            remedy="let a factory in a file of yours return its features",
        )
    net.set_submodule(layer.name, nn.Identity())
