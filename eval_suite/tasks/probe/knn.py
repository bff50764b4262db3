"""k nearest neighbours, exact, in blocks that bound the memory whatever the sizes of both sets."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

_HELD, _QUERIES, _KEYS = 65_536, 1_024, 65_536
_GROUP = 64


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
    for start in range(0, len(queries), _HELD):
        rows = _on(queries[start : start + _HELD], device)
        similar, nearest = _nearest(rows, known, k, block, device)
        # The largest is taken off, which changes no share and keeps the smallest temperature from overflowing.
        weights = ((similar - similar[:, :1]) / temperature).exp()
        shares = torch.zeros(len(rows), classes, device=device).scatter_add_(1, of_known[nearest], weights)
        votes[start : start + len(rows)] = (shares / shares.sum(1, keepdim=True)).cpu().numpy()
    return votes


def nearest_of(
    known: NDArray[np.float32], queries: NDArray[np.float32], k: int, device: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Cosine similarities (m, k), falling, and places (m, k) of the training features nearest to each of a few.

    Args:
        known: (n, D) training features, which may be memory-mapped.
        queries: (m, D) features.
        k: neighbours, at most n.
        device: where to compute.
    """
    similar, places = _nearest(_on(queries, device), known, k, (_QUERIES, _KEYS), device)
    return similar.cpu().numpy(), places.cpu().numpy()


def _nearest(
    rows: Tensor, known: NDArray[np.float32], k: int, block: tuple[int, int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Similarities (q, k), falling, and places (q, k) of the nearest training items, each of which is read once."""
    similar = torch.full((len(rows), k), -torch.inf, device=device)
    places = torch.zeros(len(rows), k, dtype=torch.int64, device=device)
    for start in range(0, len(known), block[1]):
        keys = _on(known[start : start + block[1]], device)
        for first in range(0, len(rows), block[0]):
            part = slice(first, first + block[0])
            values, at = _largest(rows[part] @ keys.T, k)
            values, at = torch.cat([similar[part], values], 1), torch.cat([places[part], at + start], 1)
            similar[part], best = values.topk(k, dim=1)
            places[part] = at.gather(1, best)
    return similar, places


def _largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, or all, and their places.

    They lie in the k groups with the largest maxima: a search of these alone, and of what is left over, finds them.
    """
    rows, columns = values.shape
    groups = columns // _GROUP
    if groups <= 2 * k:
        return values.topk(min(k, columns), dim=1)
    whole = values[:, : groups * _GROUP].view(rows, groups, _GROUP)
    chosen = whole.amax(2).topk(k, dim=1).indices
    at = (chosen[:, :, None] * _GROUP + torch.arange(_GROUP, device=values.device)).flatten(1)
    rest = torch.arange(groups * _GROUP, columns, device=values.device).expand(rows, -1)
    at = torch.cat([at, rest], 1)
    found, best = values.gather(1, at).topk(k, dim=1)
    return found, at.gather(1, best)


def _on(features: NDArray[np.float32], device: torch.device) -> Tensor:
    return normalize(torch.from_numpy(np.array(features, np.float32)).to(device), dim=1)
