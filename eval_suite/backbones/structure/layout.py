"""Which axis of a feature map holds the channels: told by its shape, and where that fits both ways by timm's word."""

from torch import Tensor, nn


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
