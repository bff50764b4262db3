"""Training augmentations as named presets, worked on whole batches.

Every random decision is drawn on the CPU from the generator it is given, for the whole batch at once; the
image work then happens wherever the images lie. So CPU and GPU, and one process or eight, see the same decisions.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor

_IN_CACHE = 1 << 19  # bytes of uint8 pixels; in floats and in both directions they are six times as many
_GREY = (0.299, 0.587, 0.114)
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


class Decisions(NamedTuple):
    """What was drawn for each of B images; None where the augmentation draws nothing.

    ``offsets`` (B, 2) top and left of the crop in the padded image, ``place`` (B, 2) those of the crop in the larger
    image as shares of the room it has, in [0, 1), ``flip`` (B,) bool, ``jitter`` (B, 3) strengths
    of brightness, contrast and saturation, ``order`` (B, 3) their order, ``lighting`` (B, 3) weights of the components.
    """

    offsets: Tensor | None = None
    place: Tensor | None = None
    flip: Tensor | None = None
    jitter: Tensor | None = None
    order: Tensor | None = None
    lighting: Tensor | None = None

    def select(self, rows: slice | Tensor) -> "Decisions":
        """The decisions of some of the images."""
        return Decisions(*(None if drawn is None else drawn[rows] for drawn in self))


@dataclass(frozen=True)
class Augmentation:
    """What happens to a training image.

    ``geometry`` says how an image meets the wanted size: ``exact`` must have it already, ``fit`` resizes the short
    side and crops the centre, ``resized_crop`` takes a random part, ``stretch`` resizes both sides, whatever their
    ratio, so that the size is ``share`` of them. Then follow a random crop of that share, zero ``padding`` with a
    random crop, a random horizontal ``flip``, colour ``jitter`` and PCA ``lighting``.
    """

    geometry: Literal["exact", "fit", "resized_crop", "stretch"]
    share: float = 1.0
    padding: int = 0
    flip: bool = True
    jitter: float = 0.0
    lighting: float = 0.0

    def draw(self, count: int, generator: Generator) -> Decisions:
        """Draw for ``count`` images what `apply` will do."""
        jitter, order = _draw_jitter(count, self.jitter, generator) if self.jitter else (None, None)
        return Decisions(
            offsets=_draw_offsets(count, self.padding, generator) if self.padding else None,
            place=torch.rand(count, 2, generator=generator) if self.share < 1 else None,
            flip=_draw_flip(count, generator) if self.flip else None,
            jitter=jitter,
            order=order,
            lighting=_draw_lighting(count, self.lighting, generator) if self.lighting else None,
        )

    def source_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) that images are to have before `apply` brings them to ``size``."""
        return round(size[0] / self.share), round(size[1] / self.share)

    def apply(self, images: Tensor, decisions: Decisions) -> Tensor:
        """Augment a batch.

        Args:
            images: (B, 3, H, W) uint8, on any device, of the `source_size`.
            decisions: what `draw` gave for these B images.

        Returns:
            (B, 3, H, W), or the share of it that is cropped, float in [0, 1]; jitter and lighting may leave that range, as in the reference code.
        """
        if decisions.place is not None:
            images = _crop_share(images, self.share, decisions.place)
        if decisions.offsets is not None:
            images = _crop(images, self.padding, decisions.offsets)
        result = _to_floats(images, decisions.flip)
        if decisions.jitter is not None and decisions.order is not None:
            result = _jitter(result, decisions.jitter, decisions.order)
        if decisions.lighting is not None:
            result += _shift(decisions.lighting).to(result.device)[:, :, None, None]
        return result


AUGMENTATIONS: dict[str, Augmentation] = {
    "cifar": Augmentation("exact", padding=4),
    "flip": Augmentation("fit"),
    "imagenet": Augmentation("resized_crop"),
    "imagenet-jitter": Augmentation("resized_crop", jitter=0.4, lighting=0.1),
    "none": Augmentation("fit", flip=False),
    "resize-crop": Augmentation("stretch", share=0.875),
}


class CropBox(NamedTuple):
    """A part of an image in pixels."""

    top: int
    left: int
    height: int
    width: int


def to_unit_range(images: Tensor) -> Tensor:
    """Bring uint8 images to float in [0, 1]."""
    return images.to(torch.float32).div_(255)


def random_resized_crop_box(size: tuple[int, int], generator: Generator) -> CropBox:
    """A part of 8-100 % of the area with an aspect ratio in [3/4, 4/3], as torchvision's RandomResizedCrop draws it.

    Args:
        size: (height, width) of the image.
        generator: CPU generator.
    """
    height, width = size
    for _ in range(10):
        area = height * width * torch.empty(1).uniform_(0.08, 1.0, generator=generator).item()
        low, high = math.log(3 / 4), math.log(4 / 3)
        ratio = math.exp(torch.empty(1).uniform_(low, high, generator=generator).item())
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = int(torch.randint(0, height - h + 1, (1,), generator=generator).item())
            left = int(torch.randint(0, width - w + 1, (1,), generator=generator).item())
            return CropBox(top, left, h, w)
    w, h = min(width, round(height * 4 / 3)), min(height, round(width / (3 / 4)))
    return CropBox((height - h) // 2, (width - w) // 2, h, w)


def _draw_offsets(count: int, padding: int, generator: Generator) -> Tensor:
    return torch.randint(0, 2 * padding + 1, (count, 2), generator=generator)


def _draw_flip(count: int, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator) < 0.5


def _draw_jitter(count: int, strength: float, generator: Generator) -> tuple[Tensor, Tensor]:
    strengths = torch.empty(count, 3).uniform_(-strength, strength, generator=generator)
    return strengths, torch.rand(count, 3, generator=generator).argsort(dim=1)


def _draw_lighting(count: int, std: float, generator: Generator) -> Tensor:
    return torch.randn(count, 3, generator=generator) * std


def _crop(images: Tensor, padding: int, offsets: Tensor) -> Tensor:
    """Laid out flat, a shifted image is the padded one read from a later start: one gather moves all of them."""
    count, channels, height, width = images.shape
    tall, wide = height + 2 * padding, width + 2 * padding
    area = channels * tall * wide
    # The largest shift reads past the last image; columns and rows beyond the crop are cut off in the end.
    flat = images.new_zeros(count * area + 2 * padding * (wide + 1))
    inner = slice(padding, padding + height), slice(padding, padding + width)
    flat[: count * area].view(count, channels, tall, wide)[:, :, *inner] = images
    windows = flat.as_strided((len(flat) - area + 1, area), (1, 1))
    starts = torch.arange(count) * area + offsets[:, 0] * wide + offsets[:, 1]
    shifted = windows.index_select(0, starts.to(images.device))
    return shifted.view(count, channels, tall, wide)[:, :, :height, :width]


def _crop_share(images: Tensor, share: float, place: Tensor) -> Tensor:
    """The crops are read out of all windows at once, which are views."""
    height, width = (round(side * share) for side in images.shape[2:])
    room = torch.tensor([images.shape[2] - height + 1, images.shape[3] - width + 1])
    top, left = (place * room).long().to(images.device).unbind(1)
    windows = images.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, top, left]


def _to_floats(images: Tensor, flip: Tensor | None) -> Tensor:
    """Images flipped where ``flip`` (B,) says so, float in [0, 1]; on a CPU by as many at a time as its cache holds."""
    result = torch.empty(images.shape, dtype=torch.float32, device=images.device)
    count = max(1, _IN_CACHE // images.shape[1:].numel()) if images.device.type == "cpu" else len(images)
    for begin in range(0, len(images), count):
        rows = slice(begin, begin + count)
        some = images[rows] if flip is None else _flip(images[rows], flip[rows])
        result[rows].copy_(some).div_(255)
    return result


def _flip(images: Tensor, flip: Tensor) -> Tensor:
    count = len(images)
    choice = torch.arange(count) + count * flip
    # Choosing whole images from both versions copies rows; `where` would go pixel by pixel.
    return torch.cat([images, images.flip(3)]).index_select(0, choice.to(images.device))


def _jitter(images: Tensor, strengths: Tensor, order: Tensor) -> Tensor:
    """Change brightness, contrast and saturation, each image in its own order.

    Each step is ``(1 - a) x + a t`` with the step's strength a; the target t is black for brightness, the mean of the
    grey image for contrast and the grey image for saturation. It is affine in an image's colours, so the three are
    first composed to one matrix and offset per image.

    Reference: fb.resnet.torch, datasets/transforms.lua, ColorJitter.
    """
    strengths, order = strengths.to(images.device), order.to(images.device)
    grey = images.new_tensor(_GREY)
    mean = images.mean(dim=(2, 3))
    matrix = torch.eye(3, device=images.device).expand(len(images), 3, 3)
    offset = torch.zeros_like(mean)
    for step in range(3):
        kind = order[:, step : step + 1]
        weight = strengths.gather(1, kind)
        to_mean, to_grey = weight * (kind == 1), weight * (kind == 2)
        level = (((matrix * mean[:, None]).sum(2) + offset) * grey).sum(1, keepdim=True)
        grey_row, grey_offset = (matrix * grey[:, None]).sum(1), (offset * grey).sum(1, keepdim=True)
        matrix = (1 - weight)[:, None] * matrix + (to_grey * grey_row)[:, None]
        offset = (1 - weight) * offset + to_grey * grey_offset + to_mean * level
    # Three multiply-adds: a matrix product would follow the reduced precision that training may have set.
    matrix, offset = matrix[..., None, None], offset[..., None, None]
    result = torch.addcmul(offset, matrix[:, :, 0], images[:, 0:1])
    for channel in (1, 2):
        result.addcmul_(matrix[:, :, channel], images[:, channel : channel + 1])
    return result


def _shift(weights: Tensor) -> Tensor:
    """The colours (B, 3) to add: combinations of the principal components of ImageNet's colours.

    Reference: Krizhevsky et al., NeurIPS 2012, sec. 4.1; constants of fb.resnet.torch.
    """
    return (weights * torch.tensor(_EIGENVALUES)) @ torch.tensor(_EIGENVECTORS).T
