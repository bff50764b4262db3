"""Learning rates over a training: a pure function of the place in it, so that resuming needs no state.

Places are epochs from the beginning, whole or with the share of an epoch that is behind.
"""

import math
from collections.abc import Sequence


def warm_up(epoch: float, length: float, start: float, end: float) -> float:
    """The linear way from ``start`` to ``end`` over ``length`` epochs (Goyal et al., arXiv:1706.02677)."""
    return start + (end - start) * epoch / length


def milestones(epoch: float, epochs: int, lr: float, shares: Sequence[float], gamma: float) -> float:
    """``lr`` times ``gamma`` for every milestone behind, each a share of the epochs."""
    passed = sum(epoch >= share * epochs - 1e-9 for share in shares)
    return lr * gamma**passed


def cosine(epoch: float, epochs: float, lr: float, end: float) -> float:
    """Half a cosine from ``lr`` at the first epoch to ``end`` after the last: end + (lr - end) (1 + cos(pi t / T)) / 2.

    Reference: Loshchilov and Hutter, "SGDR", ICLR 2017; equals timm's CosineLRScheduler with one cycle.
    """
    return end + 0.5 * (lr - end) * (1 + math.cos(math.pi * min(1.0, epoch / epochs)))
