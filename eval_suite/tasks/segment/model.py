"""A frozen backbone's feature map, and the linear layer that gives each of its places a class."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.inference import autocast
from eval_suite.backbones.structure.sizes import Sizing, find_sizing
from eval_suite.backbones.structure.tokens import dense_layer
from eval_suite.core.errors import InputError

_INITIAL = 0.01
_STEP = 2 / 3  # of a window, to the next: 341 pixels of 512


class DenseProbe(nn.Module):
    """Classes of pixels, from the last feature map of a backbone that stays as it is.

    Args:
        backbone: any network with a feature map, or with tokens of patches.
        classes: how many there are.
        crop_size: side of the images that it is given; None for ``short_side``, or the network's own size where it takes no
            other.
        short_side: of images in evaluation.
        precision: of the backbone; the layer computes in single precision.

    Attributes:
        window: (height, width) of the images that it is given.
        layer: dotted name of the layer with the feature map.

    Raises:
        InputError: if the network has no such map, or does not take images of that size.

    Reference: Oquab et al., DINOv2, TMLR 2024, sec. 7.4: batch normalisation and a convolution of one pixel, whose logits are
    enlarged bilinearly.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        short_side: int,
        crop_size: int | None = None,
        precision: str = "fp32",
    ) -> None:
        super().__init__()
        card = backbone.card
        layer = card.feature_layer or dense_layer(backbone.net, backbone.normalise(backbone.noise(2)))
        if layer is None:
            raise InputError(
                expected=f"a feature map, or tokens of patches, of backbone '{card.name}' ({card.arch})",
                found="neither",
                remedy="name a layer with --feature-layer",
            )
        self.layer = layer
        self._backbone = [
            Backbone(backbone.net, card.model_copy(update={"feature_layer": layer})).eval()
        ]  # in a list, as its weights are none of this module's
        self._backbone[0].contiguous = backbone.contiguous
        self._precision = precision
        self._fill = card.mean
        self.window, self._sizing = self._sizes(crop_size, short_side)
        with torch.inference_mode():
            channels = self._maps(
                self._padded(torch.zeros(1, 3, *self.window, device=backbone.mean.device))
            ).shape[1]
        self.norm = nn.BatchNorm2d(channels)
        self.classify = nn.Conv2d(channels, classes, 1)
        nn.init.normal_(self.classify.weight, std=_INITIAL)
        nn.init.zeros_(self.classify.bias)  # type: ignore[arg-type]

    @property
    def backbone(self) -> Backbone:
        """The backbone with the layer that is read."""
        return self._backbone[0]

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes, H, W) of images (N, 3, H, W) in [0, 1] of the window's size."""
        height, width = images.shape[2:]
        padded = self._padded(images)
        with torch.no_grad(), autocast(images.device, self._precision):
            maps = self._maps(padded)
        logits = self.classify(self.norm(maps.float()))
        logits = F.interpolate(logits, padded.shape[2:], mode="bilinear", align_corners=False)
        return logits[..., :height, :width]

    def whole(self, image: Tensor, batch_size: int) -> Tensor:
        """Logits (classes, H, W) of an image (3, H, W) of any size, the mean over the windows that see a pixel.

        Args:
            image: in [0, 1], on the device.
            batch_size: windows in one pass.
        """
        height, width = image.shape[1:]
        tall, wide = self.window
        image = _filled(image[None], self._fill, (max(height, tall), max(width, wide)))[0]
        places = list(_windows((image.shape[1], image.shape[2]), self.window))
        total = image.new_zeros(self.classify.out_channels, *image.shape[1:])
        counts = image.new_zeros(image.shape[1:])
        for start in range(0, len(places), batch_size):
            part = places[start : start + batch_size]
            windows = torch.stack([image[:, top : top + tall, left : left + wide] for top, left in part])
            for (top, left), logits in zip(part, self(windows), strict=True):
                total[:, top : top + tall, left : left + wide] += logits
                counts[top : top + tall, left : left + wide] += 1
        return (total / counts)[:, :height, :width]

    def _maps(self, images: Tensor) -> Tensor:
        return self.backbone.features(images)

    def _padded(self, images: Tensor) -> Tensor:
        units = (self._sizing.unit if self._sizing else (1, 1), images.shape[2:])
        size = [-(-side // unit) * unit for unit, side in zip(*units, strict=True)]
        return _filled(images, self._fill, (size[0], size[1]))

    def _sizes(self, crop_size: int | None, short_side: int) -> tuple[tuple[int, int], Sizing | None]:
        card = self.backbone.card
        side = crop_size or short_side
        if card.input_size == (side, side):
            return card.input_size, None
        device = self.backbone.mean.device
        sizing = find_sizing(lambda images: [self._maps(images.to(device))], card.input_size)
        if sizing is not None:
            return (side, side), sizing
        height, width = card.input_size
        if crop_size is not None:
            raise InputError(
                expected=f"--crop-size {height}, as '{card.name}' ({card.arch}) takes images of {height} x {width} alone",
                found=str(crop_size),
                remedy="leave the option out",
            )
        return card.input_size, None


def _filled(images: Tensor, colour: tuple[float, float, float], size: tuple[int, int]) -> Tensor:
    """Images (N, 3, H, W) with a colour to the right and below, up to a size (height, width)."""
    height, width = images.shape[2:]
    if (height, width) == size:
        return images
    filled = images.new_tensor(colour).view(1, 3, 1, 1).expand(len(images), 3, *size).clone()
    filled[..., :height, :width] = images
    return filled


def _windows(size: tuple[int, int], window: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Top and left of windows that cover an image, the last of a row or column moved back to its edge."""

    def starts(side: int, length: int) -> list[int]:
        step = max(1, int(length * _STEP))
        count = -(-max(side - length, 0) // step) + 1
        return [min(i * step, side - length) for i in range(count)]

    for top in starts(size[0], window[0]):
        for left in starts(size[1], window[1]):
            yield top, left
