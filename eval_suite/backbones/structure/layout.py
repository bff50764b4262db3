"""What a layer gives, as a feature map (N, C, h, w): channels that lie last, and tokens of patches."""

from typing import Any

from torch import Tensor, nn

_MAP, _TOKENS = 4, 3


def channels_first(maps: Tensor, image_size: tuple[int, int], net: nn.Module) -> Tensor:
    """A feature map as (N, C, h, w), whichever of (N, C, h, w) and (N, h, w, C) a layer gives.

    Height and width of a map are to each other as those of the image; the layout is the one whose axes come closer to that.

    Args:
        maps: (N, C, h, w) or (N, h, w, C).
        image_size: (H, W) of the images.
        net: the network; timm's say by ``output_fmt`` how their maps lie, which decides where both layouts fit alike.
    """
    height, width = image_size
    _, first, second, third = maps.shape
    as_first, as_last = (abs(h * width - w * height) for h, w in ((second, third), (first, second)))
    timm_says_last = getattr(net, "output_fmt", "NCHW") == "NHWC"
    return maps.permute(0, 3, 1, 2) if as_last < as_first + timm_says_last else maps


def map_of(output: Tensor, image_size: tuple[int, int], net: nn.Module) -> Tensor | None:
    """A layer's output as a feature map (N, C, h, w); None where it is neither a map nor tokens of a known grid of patches.

    Args:
        output: a map of either layout, or tokens (N, prefix + h*w, C), the class and register tokens first.
        image_size: (H, W) of the images.
        net: the network, which says how its patches lie.
    """
    if output.ndim == _MAP:
        return channels_first(output, image_size, net)
    grid = _patch_grid(net, image_size) if output.ndim == _TOKENS else None
    if grid is None:
        return None
    height, width = grid
    prefix = output.shape[1] - height * width
    if prefix not in (0, _prefix_tokens(net)):
        return None
    return output[:, prefix:].transpose(1, 2).unflatten(2, (height, width))


def _patch_grid(net: nn.Module, image_size: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of patches: timm's embedding says so, torchvision's vision transformer by the side of a patch."""
    for module in net.modules():
        embedding: Any = module
        if hasattr(embedding, "dynamic_feat_size"):
            rows, columns = embedding.dynamic_feat_size(image_size)
            return int(rows), int(columns)
        if hasattr(embedding, "class_token") and isinstance(getattr(embedding, "patch_size", None), int):
            return image_size[0] // embedding.patch_size, image_size[1] // embedding.patch_size
    return None


def _prefix_tokens(net: nn.Module) -> int:
    for module in net.modules():
        number = getattr(module, "num_prefix_tokens", None)
        if isinstance(number, int):
            return number
        if hasattr(module, "class_token"):
            return 1
    return 0
