"""In-between class samples: two images of different classes, blended or one set into the other."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval_suite.core.runtime import derive_seed
from eval_suite.tasks.robustness.occlusion import centre_hole

_PARTNERS = 0x1BE701


def draw_pairs(labels: NDArray[np.integer], per_item: int) -> NDArray[np.int64]:
    """Random partners of another class, the same for every backbone on the same items.

    Every item comes first in ``per_item`` pairs, and its partners are drawn uniformly among all items of other
    classes. On the 50,000 images of ImageNet's validation set one partner each makes the paper's 50,000 pairs.

    Args:
        labels: (n,) class indices, at least two different ones.
        per_item: partners per item.

    Returns:
        (n * per_item, 2) positions, ordered by round and within it by the first item.

    Raises:
        ValueError: if all items are of one class.
    """
    n = len(labels)
    order = np.argsort(labels, kind="stable")
    _, first, inverse, size = np.unique(
        labels[order], return_index=True, return_inverse=True, return_counts=True
    )
    if len(size) < 2 and per_item:
        raise ValueError("expected items of at least two classes, found one")
    block = np.empty(n, np.int64)
    block[order] = inverse
    pairs = []
    for number in range(per_item):
        rng = np.random.default_rng(derive_seed(number, _PARTNERS))
        # Counted from the end of the own class's block in label order, so that the block itself is never reached.
        ahead = rng.integers(0, n - size[block])
        partner = order[(first[block] + size[block] + ahead) % n]
        pairs.append(np.stack([np.arange(n), partner], axis=1))
    return np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int64)


def mixup_between(first: Tensor, second: Tensor, share: float) -> Tensor:
    """λ x_A + (1 - λ) x_B.

    Args:
        first: (B, 3, H, W) images x_A.
        second: (B, 3, H, W) images x_B.
        share: λ, from 0 to 1.

    Reference: Yun et al., ICCV 2019, sec. 4.4 and Figure 5b.
    """
    return torch.lerp(second, first, share)


def cutmix_between(first: Tensor, second: Tensor, share: float) -> Tensor:
    """x_A with a centre square taken from x_B.

    Args:
        first: (B, 3, H, W) images x_A.
        second: (B, 3, H, W) images x_B.
        share: side of the square as a share of the image's side, from 0 to 1.

    Reference: Yun et al., ICCV 2019, sec. 4.4 and Figure 5b.
    """
    top, left, bottom, right = centre_hole((first.shape[2], first.shape[3]), share)
    mixed = first.clone()
    mixed[:, :, top:bottom, left:right] = second[:, :, top:bottom, left:right]
    return mixed
