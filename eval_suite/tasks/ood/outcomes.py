"""AUROCs and confidences item by item: what differences between backbones are tested on."""

import numpy as np
from numpy.typing import NDArray

from eval_suite.tasks.ood.metrics import AUROC, params_of
from eval_suite.tasks.ood.predictions import Predictions
from eval_suite.tasks.ood.rates import placements
from eval_suite.tasks.ood.scores import MAX_SOFTMAX


def auroc_outcomes(found: Predictions) -> dict[str, NDArray[np.float64]]:
    """AUROCs item by item, of in-distribution items and of those of all sets, in the order of `item_ids`.

    An AUROC is a mean over pairs of one of each kind. Linearised, it is a mean over the items of both kinds: its value, and
    for each item by how much the share of the other kind that it is right against differs from that, weighed by how
    few of its kind there are. The variance of that mean is DeLong's, so paired differences between backbones tell of the
    sampling of both kinds. A mean over sets is linearised likewise.

    Reference: DeLong et al., Biometrics 1988, eq. 5-6.
    """
    outcomes = {}
    for score, known in found.scores.items():
        inside = {name: placements(known, each.scores[score]) for name, each in found.outliers.items()}
        outside = {name: placements(-each.scores[score], -known) for name, each in found.outliers.items()}
        for sets, names in ((None, list(inside)), *found.means().items()):
            mean = np.mean([inside[name] for name in names], axis=0)
            outcomes[AUROC.id(**params_of(score, sets))] = _linearised(mean, outside, names)
    return outcomes


def confidence_outcomes(found: Predictions) -> NDArray[np.float64]:
    """The mean over the sets of their mean max softmax, item by item of everything that there is."""
    outside = {name: each.scores[MAX_SOFTMAX] for name, each in found.outliers.items()}
    mean = float(np.mean([values.mean() for values in outside.values()]))
    return _linearised(np.full(len(found.scores[MAX_SOFTMAX]), mean), outside, list(outside))


def _linearised(
    mean: NDArray[np.float64], outside: dict[str, NDArray[np.float64]], names: list[str]
) -> NDArray[np.float64]:
    """A mean over the named sets, item by item of everything that there is.

    Args:
        mean: (n,) what each in-distribution item counts, on the mean over the named sets.
        outside: by set, (m,) what each of its items counts.
        names: of sets; items of the others have the mean itself.
    """
    parts = [(mean - mean.mean()) / len(mean)]
    for name, shares in outside.items():
        weight = 1 / (len(names) * len(shares)) if name in names else 0.0
        parts.append(weight * (shares - shares.mean()))
    moved = np.concatenate(parts)
    linearised: NDArray[np.float64] = mean.mean() + len(moved) * moved
    return linearised


def item_ids(found: Predictions) -> list[str]:
    """In-distribution items and, after the name of their set, outliers; none where the former are unnamed."""
    if not found.ids:
        return []
    first = next(iter(found.scores))
    ids = list(found.ids)
    for name, each in found.outliers.items():
        ids += [f"{name}: {item}" for item in each.ids or range(len(each.scores[first]))]
    return ids
