"""k nearest neighbours, exact, in blocks that bound the memory whatever the sizes of both sets."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

_QUERIES, _KEYS = 1024, 65_536


def knn_votes(
    known: NDArray[np.float32],
    labels: NDArray[np.int64],
    queries: NDArray[np.float32],
    *,
    classes: int,
    k: int,
    temperature: float,
    device: torch.device,
    block: tuple[int, int] = (_QUERIES, _KEYS),
) -> NDArray[np.float32]:
    """Each class's share of the votes of the k training items nearest by cosine; a vote weighs exp(similarity / temperature).

    Features of zero norm have the similarity 0 to all others.

    Args:
        known: (n, D) training features, which may be memory-mapped.
        labels: (n,) their classes.
        queries: (m, D) features to classify.
        classes: how many there are.
        k: neighbours, at most n.
        temperature: of the votes.
        device: where to compute.
        block: how many queries meet how many training items at once.

    Returns:
        (m, classes), rows summing to 1.

    Reference: Wu et al., CVPR 2018, sec. 3.4; Caron et al., ICCV 2021, whose k = 20 and temperature = 0.07 are the defaults.
    """
    votes = np.zeros((len(queries), classes), np.float32)
    of_known = torch.from_numpy(labels).to(device)
    for start in range(0, len(queries), block[0]):
        rows = _on(queries[start : start + block[0]], device)
        similar, nearest = _nearest(rows, known, k, block[1], device)
        # The largest is taken off, which changes no share and keeps the smallest temperature from overflowing.
        weights = ((similar - similar[:, :1]) / temperature).exp()
        shares = torch.zeros(len(rows), classes, device=device).scatter_add_(1, of_known[nearest], weights)
        votes[start : start + len(rows)] = (shares / shares.sum(1, keepdim=True)).cpu().numpy()
    return votes


def _nearest(
    rows: Tensor, known: NDArray[np.float32], k: int, block: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Similarities (q, k), falling, and places (q, k) of the nearest training items."""
    similar = torch.zeros(len(rows), 0, device=device)
    places = torch.zeros(len(rows), 0, dtype=torch.int64, device=device)
    for start in range(0, len(known), block):
        keys = _on(known[start : start + block], device)
        these = torch.arange(start, start + len(keys), device=device).expand(len(rows), -1)
        similar, places = torch.cat([similar, rows @ keys.T], 1), torch.cat([places, these], 1)
        similar, best = similar.topk(min(k, similar.shape[1]), dim=1)
        places = places.gather(1, best)
    return similar, places


def _on(features: NDArray[np.float32], device: torch.device) -> Tensor:
    return normalize(torch.from_numpy(np.array(features, np.float32)).to(device), dim=1)
