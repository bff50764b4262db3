"""What several processes that train together exchange, apart from the gradients."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from eval_suite.data.loading import Batch


def gather(rows: Tensor) -> Tensor:
    """The parts of all processes, one behind the other; gradients go back to where a part came from.

    Args:
        rows: (N, ...) of the same shape in every process.

    Returns:
        (world * N, ...).
    """
    gathered: Tensor = _Gather.apply(rows)
    return gathered


def pad_batch(batch: Batch, rows: int) -> Batch:
    """A batch of exactly ``rows``: where images could not be read, the others come again from the first on.

    Processes that exchange rows need equally many of them.
    """
    if len(batch.labels) == rows:
        return batch
    again = torch.arange(rows) % len(batch.labels)
    there = again.to(batch.images.device)
    return Batch(batch.images[there], batch.labels[there], batch.index[again])


def share_buffers(module: nn.Module) -> None:
    """Give every process the first one's buffers: the running statistics, which each has followed on its own part.

    To be called before the network is used in evaluation mode, where it answers by them.
    """
    if dist.is_available() and dist.is_initialized():
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.rows = len(rows)
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous()
        dist.all_reduce(gradient)
        begin = dist.get_rank() * ctx.rows
        return gradient[begin : begin + ctx.rows]
