"""A multiplication whose gradient is that of another one."""

from typing import Any

import torch
from torch import Tensor


def shake(x: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
    """Multiply by one factor per image, and the gradient by another.

    Args:
        x: (N, C, h, w).
        forward: (N,) factors of the output.
        backward: (N,) factors of the gradient.
    """
    shape = (-1, *[1] * (x.ndim - 1))
    shaken: Tensor = _Shake.apply(x, forward.view(shape), backward.view(shape))
    return shaken


class _Shake(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
        ctx.save_for_backward(backward)
        return x * forward

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (backward,) = ctx.saved_tensors
        return gradients[0] * backward, None, None
