"""Square attack: random search in the L∞ ball, which asks the network for answers and for no gradient."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_AREA = 0.8
_HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def square(
    logits_of: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    queries: int,
    seeds: Sequence[int],
) -> Tensor:
    """Squares of a random place and sign are kept where they lower the label's lead over the next class.

    It starts from vertical stripes. A square's share of the image begins at 0.8 and is halved after 10, 50, 200, 500,
    1,000, ... queries. Each image has random numbers of its own seed; those that are fooled are done.

    Args:
        logits_of: images (B, 3, H, W) in [0, 1] → logits (B, classes).
        images: (B, 3, H, W) in [0, 1].
        labels: (B,) true classes.
        epsilon: radius of the ball in pixel units, from 0 to 1.
        queries: how often the network is asked about each image, after the stripes.
        seeds: (B,) of the images.

    Returns:
        (B, 3, H, W) in [0, 1], nowhere farther than ε from the images.

    Reference: Andriushchenko et al., ECCV 2020, algorithms 1 and 2 and sec. 3.4; the schedule is not stretched to the
    number of queries, as in AutoAttack (Croce and Hein, ICML 2020).
    """
    channels, height, width = images.shape[1:]
    stripes, places, signs = _draws(images, queries, seeds)
    best = _clamped(torch.add(images, stripes, alpha=epsilon), images, epsilon)
    if not len(images):
        return best
    lead = _leads(logits_of(best), labels)
    rows, columns = (torch.arange(size, device=images.device) for size in (height, width))
    for query in range(queries):
        (left,) = (lead > 0).nonzero(as_tuple=True)
        if not len(left):
            break
        side = _side(query, height, width)
        top, first = (
            (places[left, query, axis] * (size - side + 1)).long()[:, None]
            for axis, size in enumerate((height, width))
        )
        down = (rows >= top) & (rows < top + side)
        across = (columns >= first) & (columns < first + side)
        inside = (down[:, :, None] & across[:, None, :])[:, None]
        own, before = images[left], best[left]
        change = 2 * epsilon * signs[left, query].view(-1, channels, 1, 1)
        tried = _clamped(torch.where(inside, before + change, before), own, epsilon)
        found = _leads(logits_of(tried), labels[left])
        better = found < lead[left]
        lead[left] = torch.where(better, found, lead[left])
        best[left] = torch.where(better[:, None, None, None], tried, before)
    return best


def _draws(images: Tensor, queries: int, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Stripes (B, 3, 1, W) of ±1, places (B, queries, 2) in [0, 1) and signs (B, queries, 3) of ±1, drawn on the CPU."""
    channels, width = images.shape[1], images.shape[3]
    generator = torch.Generator()
    stripes = torch.empty(len(images), channels, 1, width)
    moves = torch.empty(len(images), queries, 2 + channels)
    for one, of_one, seed in zip(stripes, moves, seeds, strict=True):
        generator.manual_seed(seed)
        one.uniform_(-1, 1, generator=generator)
        of_one.uniform_(0, 1, generator=generator)
    places, signs = moves.to(images.device).split([2, channels], dim=2)
    return _sign(stripes).to(images.device), places, _sign(signs - 0.5)


def _sign(values: Tensor) -> Tensor:
    return torch.where(values >= 0, 1.0, -1.0)


def _side(query: int, height: int, width: int) -> int:
    share = _AREA / 2 ** sum(query > after for after in _HALVED_AFTER)
    return min(max(round((share * height * width) ** 0.5), 1), height, width)


def _clamped(x: Tensor, images: Tensor, epsilon: float) -> Tensor:
    return torch.clamp(x, images - epsilon, images + epsilon).clamp_(0, 1)


def _leads(logits: Tensor, labels: Tensor) -> Tensor:
    """How far the label's logit is above the next class's: (B,)."""
    own = labels[:, None]
    return logits.gather(1, own)[:, 0] - logits.scatter(1, own, -torch.inf).amax(1)
