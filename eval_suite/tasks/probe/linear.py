"""Logistic regression on frozen features, its penalty chosen on a part of the training images."""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval_suite.core.errors import InputError
from eval_suite.tasks.probe.few_shot import validation_split

_TOLERANCE = 1e-4
_ABSENT = -1e4  # the score of a class without training images: no probability is left, and it stays finite


class Scale(NamedTuple):
    """Features less their mean (D,), divided by one number, so that a penalty means the same for every backbone."""

    mean: NDArray[np.float64]
    size: float

    def apply(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Features (n, D) in this scale."""
        return ((features - self.mean) / self.size).astype(np.float32)


class LinearProbe(NamedTuple):
    """A fitted probe: ``weight`` (classes, D) and ``bias`` (classes,) of scaled features, and how it came about."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    scale: Scale
    c: float
    accuracies: dict[float, float]
    """Of each penalty on the validation part; empty where there was one alone."""
    converged: bool

    def scores(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Logits (n, classes) of features (n, D)."""
        logits = self.scale.apply(features) @ self.weight.T + self.bias
        return logits.astype(np.float32)


class _Fit(NamedTuple):
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    converged: bool


def scale_of(features: NDArray[np.floating]) -> Scale:
    """The mean of features (n, D), and their root mean square around it."""
    mean = features.mean(axis=0, dtype=np.float64)
    size = float(np.sqrt(np.square(features - mean).mean(dtype=np.float64)))
    return Scale(mean, size if size > 0 else 1.0)


def fit_linear(
    features: NDArray[np.floating],
    labels: NDArray[np.int64],
    *,
    classes: int,
    penalties: list[float],
    validation_fraction: float,
    max_iterations: int,
    seed: int,
    device: torch.device,
) -> LinearProbe:
    """Choose the penalty by the accuracy on a part of the items, the strongest of equals, and fit to all of them with it.

    Args:
        features: (n, D).
        labels: (n,) classes.
        classes: how many there are.
        penalties: inverse strengths C of the L2 penalty.
        validation_fraction: share of each class that chooses.
        max_iterations: of L-BFGS, each fit.
        seed: decides which part.
        device: a CPU takes scikit-learn's solver, a GPU the same problem in torch.

    Raises:
        InputError: if no item can be spared to choose one of several penalties, or there is one class alone.

    Reference: Radford et al., ICML 2021, app. A.3, whose sweep this is, on a coarser grid.
    """
    if len(np.unique(labels)) < 2:
        raise InputError(
            expected="training images of two classes or more for a linear probe", found="those of one"
        )
    scale = scale_of(features)
    scaled = scale.apply(features)
    accuracies: dict[float, float] = {}
    chosen = penalties[0]
    if len(penalties) > 1:
        fitted, validated = validation_split(labels, validation_fraction, seed)
        if not len(validated):
            raise InputError(
                expected="two training images of some class, of which one chooses the linear probe's penalty",
                found=f"{len(labels)} images of {len(np.unique(labels))} classes",
                remedy="name one penalty with --linear-c, or a larger share with --fractions",
            )
        start = None
        for c in sorted(penalties):
            start = logistic(scaled[fitted], labels[fitted], c, classes, max_iterations, device, start)
            predicted = (scaled[validated] @ start.weight.T + start.bias).argmax(axis=1)
            accuracies[c] = float((predicted == labels[validated]).mean())
        chosen = max(accuracies, key=lambda c: (accuracies[c], -c))
    weight, bias, converged = logistic(scaled, labels, chosen, classes, max_iterations, device)
    return LinearProbe(weight, bias, scale, chosen, accuracies, converged)


def logistic(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    c: float,
    classes: int,
    max_iterations: int,
    device: torch.device,
    start: _Fit | None = None,
) -> _Fit:
    """Minimise the sum of C · cross entropy and half the squared weights, the bias unpenalised, by L-BFGS.

    Args:
        features: (n, D), scaled.
        labels: (n,) of two classes or more.
        c: C.
        classes: how many there are; one without items gets a score that no item is given it by.
        max_iterations: of L-BFGS.
        device: where; see `fit_linear`.
        start: where to begin, a fit of other penalty.
    """
    present, places = np.unique(labels, return_inverse=True)
    begin = None if start is None else np.hstack([start.weight[present], start.bias[present, None]])
    if device.type == "cpu":
        found, converged = _by_scikit_learn(features, places, c, max_iterations, begin)
    else:
        found, converged = by_torch(features, places, c, max_iterations, device, begin)
    weight, bias = np.zeros((classes, features.shape[1])), np.full(classes, _ABSENT)
    weight[present], bias[present] = found[:, :-1], found[:, -1]
    return _Fit(weight, bias, converged)


def _by_scikit_learn(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    c: float,
    max_iterations: int,
    begin: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], bool]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    model = LogisticRegression(C=c, tol=_TOLERANCE, max_iter=max_iterations, warm_start=begin is not None)
    if begin is not None:
        # Of two classes scikit-learn keeps the one whose score is the difference.
        both = begin[1:] - begin[:1] if len(begin) == 2 else begin
        model.classes_, model.coef_, model.intercept_ = np.unique(labels), both[:, :-1], both[:, -1]
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(torch.get_num_threads()):
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(features.astype(np.float64), labels)
    converged = not any(issubclass(each.category, ConvergenceWarning) for each in caught)
    found = np.hstack([model.coef_, model.intercept_[:, None]])
    return (np.vstack([-found / 2, found / 2]) if len(found) == 1 else found), converged


def by_torch(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    c: float,
    max_iterations: int,
    device: torch.device,
    begin: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], bool]:
    """The same minimum as scikit-learn's, in double precision on a device: (classes, D + 1) with the bias last.

    Args:
        features: (n, D).
        labels: (n,) in 0..classes - 1, each of which occurs.
        c: C.
        max_iterations: of L-BFGS.
        device: where.
        begin: (classes, D + 1) to begin with.
    """
    from scipy.optimize import minimize

    x, y = torch.from_numpy(features).to(device).double(), torch.from_numpy(labels).to(device)
    classes, width = int(labels.max()) + 1, features.shape[1]
    # For two classes scikit-learn penalises the difference of the two rows, which is twice as long as each.
    penalty = (2 if classes == 2 else 1) / (c * len(labels))

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights: Tensor = torch.from_numpy(flat.reshape(classes, -1)).to(device).requires_grad_()
        logits = x @ weights[:, :width].T + weights[:, width]
        value = torch.nn.functional.cross_entropy(logits, y) + penalty / 2 * weights[:, :width].square().sum()
        (gradient,) = torch.autograd.grad(value, weights)
        return float(value.detach()), gradient.cpu().numpy().ravel()

    at = np.zeros((classes, width + 1)) if begin is None else begin
    limits = {"maxiter": max_iterations, "maxls": 50, "gtol": _TOLERANCE, "ftol": 64 * np.finfo(float).eps}
    found = minimize(loss, at.ravel(), jac=True, method="L-BFGS-B", options=limits)
    return found.x.reshape(classes, -1), bool(found.success)
