"""Class activation maps: plain ones of a single forward pass, and the family of the grad-cam package by name."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.inference import autocast
from eval_suite.backbones.structure.layout import map_of
from eval_suite.core.errors import InputError
from eval_suite.tasks.wsol.localiser import map_weights

_CLASSES = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "xgradcam": "XGradCAM",
    "hirescam": "HiResCAM",
    "gradcam-elementwise": "GradCAMElementWise",
    "layercam": "LayerCAM",
    "scorecam": "ScoreCAM",
    "ablationcam": "AblationCAM",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
}
# They run the network once for each channel, and hold an image for each meanwhile.
_IMAGE_BY_IMAGE = ("scorecam", "ablationcam")
_PASSES_AT_ONCE = 64


class ClassMaps(NamedTuple):
    """Logits (N, classes), and for each image the map (N, h, w) of one class at the features' resolution, float32."""

    logits: Tensor
    maps: Tensor


class Extractor(Protocol):
    """From images to maps."""

    def __call__(self, images: Tensor, wanted: Tensor | None) -> ClassMaps:
        """Maps of one class per image.

        Args:
            images: (N, 3, H, W) in [0, 1].
            wanted: (N,) classes; None takes the predicted ones.
        """
        ...


def activation_maps(features: Tensor, weights: Tensor, wanted: Tensor) -> Tensor:
    """The sum of a feature map's channels, weighted as the last layer does for one class of each image.

    Args:
        features: (N, C, h, w).
        weights: (classes, C) of the linear layer behind the average.
        wanted: (N,) classes.

    Returns:
        (N, h, w) float32; its mean over the pixels is the logit without the bias.

    Reference: Zhou et al., CVPR 2016, eq. 2.
    """
    chosen = weights[wanted].float().unsqueeze(1)
    # Flattened pixels by channels is how a channels-last map lies in memory; the product then copies nothing.
    pixels = features.float().permute(0, 2, 3, 1).flatten(1, 2)
    return torch.bmm(chosen, pixels.transpose(1, 2)).view(len(features), *features.shape[2:])


def min_max(maps: Tensor) -> Tensor:
    """Maps (N, h, w) brought to [0, 1] each; zeros where a map is constant."""
    low = maps.amin((1, 2), keepdim=True)
    span = maps.amax((1, 2), keepdim=True) - low
    return (maps - low) / span.where(span > 0, torch.ones_like(span))


class PlainMaps:
    """Plain maps of a network whose logits are linear in the mean of its map, or a cosine to it: no pass beyond the forward one.

    Of a cosine the weights are those of length one; the mean over a map's pixels is then the logit times the length of the mean
    feature, the same for all classes of an image.

    Raises:
        InputError: if the network does not end so.
    """

    def __init__(self, backbone: Backbone, precision: str = "fp32") -> None:
        self._backbone, self._precision = backbone, precision
        self._weights = map_weights(backbone)

    @torch.inference_mode()
    def __call__(self, images: Tensor, wanted: Tensor | None) -> ClassMaps:
        """Maps of the wanted classes, or of the predicted ones."""
        with autocast(images.device, self._precision):
            found = self._backbone.predict(images)
        if wanted is None:
            wanted = found.logits.argmax(1)
        maps = activation_maps(found.features, self._weights, wanted)
        return ClassMaps(found.logits.float(), maps)


class PackageMaps:
    """Maps of the grad-cam package at the feature layer, in single precision whatever is asked for.

    They come normalised to [0, 1] as the package does, at the resolution of the features.

    Args:
        backbone: any classifier with a feature map of height and width.
        name: of the map.

    Raises:
        InputError: if the network has no such feature map.
    """

    def __init__(self, backbone: Backbone, name: str) -> None:
        # Imported here for what the package draws in, matplotlib and scikit-learn among it.
        import pytorch_grad_cam

        layer = backbone.card.feature_layer
        if layer is None:
            raise InputError(
                f"backbone '{backbone.card.name}' ({backbone.card.arch}) has no feature map of height and width, which "
                f"{name} needs; name a layer with --feature-layer"
            )
        kind: Any = getattr(pytorch_grad_cam, _CLASSES[name])
        target = backbone.net.get_submodule(layer)
        self._one_by_one = name in _IMAGE_BY_IMAGE
        self._image_size = backbone.card.input_size

        def reshape(maps: Tensor) -> Tensor:
            first = map_of(maps, self._image_size, backbone.net)
            assert first is not None  # as `with_map` found it
            if name == "ablationcam" and first is not maps:
                raise InputError(
                    f"layer '{layer}' of {backbone.card.arch} gives its channels last, of which ablationcam can take none "
                    "away; choose another --cam-method, such as scorecam"
                )
            return first

        self._cam = kind(model=backbone, target_layers=[target], reshape_transform=reshape)
        self._cam.get_target_width_height = lambda _images: None  # or maps are stretched to the images' size
        if self._one_by_one:
            self._cam.batch_size = _PASSES_AT_ONCE
            sys.modules[kind.__module__].tqdm = _NoBar  # type: ignore[attr-defined]
            _keep_first_activation(self._cam.activations_and_grads, target, reshape)

    def __call__(self, images: Tensor, wanted: Tensor | None) -> ClassMaps:
        """Maps of the wanted classes, or of the predicted ones."""
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        self._image_size = (images.shape[2], images.shape[3])
        step = 1 if self._one_by_one else len(images)
        classes = (
            [None] * len(images) if wanted is None else [ClassifierOutputTarget(c) for c in wanted.tolist()]
        )
        logits, maps = [], []
        for start in range(0, len(images), step):
            part = classes[start : start + step]
            try:
                found = self._cam(images[start : start + step], None if wanted is None else part)
            except RuntimeError as error:
                if "does not require grad" not in str(error):
                    raise
                raise InputError(
                    expected="a network that passes gradients to its feature layer",
                    found="one that passes none (no_grad or detach inside)",
                    remedy="choose a --cam-method without gradients, such as cam, scorecam or eigencam",
                ) from None
            maps.append(torch.from_numpy(found).float())
            logits.append(self._cam.outputs.detach().float())
        self._cam.model.zero_grad(set_to_none=True)
        return ClassMaps(torch.cat(logits), torch.cat(maps))


class _NoBar:
    """In place of the progress bar that the package shows for every image."""

    @staticmethod
    def tqdm(items: Any) -> Any:
        return items


def _keep_first_activation(store: Any, layer: nn.Module, reshape: Callable[[Tensor], Tensor]) -> None:
    """The package keeps what every one of those passes gives, and reads the first: gigabytes for a large network."""
    for handle in store.handles:
        handle.remove()

    def save(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        if not store.activations:
            store.activations.append(reshape(output).detach().cpu())

    store.handles = [layer.register_forward_hook(save)]
