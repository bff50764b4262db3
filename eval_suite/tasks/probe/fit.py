"""Features of the training images, and the linear probes fitted to them."""

import logging
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.checkpoint import state_sha256
from eval_suite.backbones.embedding import Embedding, embedding_of
from eval_suite.backbones.features import Features, cached_features
from eval_suite.backbones.inference import require_finite, to_device
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.core.predictions import About
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.images import ImageIndex, open_images
from eval_suite.tasks.base import Fit
from eval_suite.tasks.probe.few_shot import drawn
from eval_suite.tasks.probe.linear import LinearProbe, Scale, fit_linear
from eval_suite.tasks.probe.options import ProbeOptions
from eval_suite.training.fit_run import FitRun, read_fitted

log = logging.getLogger(__name__)

_DECIDING = {"probes", "fractions", "linear_c", "validation_fraction", "max_iterations"}


class Store(NamedTuple):
    """A backbone's features of any image set, kept on disk under what decides them."""

    backbone: Backbone
    embedding: Embedding
    runtime: RuntimeOptions
    folder: Path
    strict: bool

    def features(self, index: ImageIndex) -> Features:
        """Features (n, D) of the readable images.

        Raises:
            EvalSuiteError: if they are not finite, or all of zero norm.
        """
        key = {"data": index.sha256(), "features": self.embedding.how}
        name = sha256(repr((key, self.backbone.card.weights_sha256)).encode()).hexdigest()[:16]
        found = cached_features(
            self.backbone,
            index,
            self.embedding.of,
            self.runtime,
            self.folder / name,
            key=key,
            strict=self.strict,
        )
        _require_usable(found.values, self.backbone.card, f"{index.spec}, '{index.split}'")
        return found


class Probes(NamedTuple):
    """What predicts: features (n, D) of the training images at ``positions`` (n,) with labels (n,) in ``classes``, the items of each share, and fitted probes."""

    store: Store
    images: ImageIndex
    positions: NDArray[np.int64]
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: list[str]
    shares: dict[float, NDArray[np.int64]]
    linear: dict[float, LinearProbe]
    seed: int

    @property
    def card(self) -> BackboneCard:
        """The backbone's card."""
        return self.store.backbone.card


def fit(backbone: Backbone, options: ProbeOptions, runtime: RuntimeOptions, seed: int, folder: Path) -> Fit:
    """Compute the features of the training images, and fit the linear probes, or read what was left of both.

    Raises:
        InputError: if there are fewer training images than neighbours that vote, or too few to choose a penalty.
        EvalSuiteError: if features are not finite, or all of zero norm.
    """
    everything = open_images(options.data, options.train_split)
    shares = {share: drawn(everything.labels, share, seed) for share in options.fractions}
    smallest = min(options.fractions)
    if "knn" in options.probes and len(shares[smallest]) < options.knn_k:
        raise InputError(
            expected=f"at least --knn-k {options.knn_k} training images",
            where=f"{options.data}, '{everything.split}'",
            found=f"{len(shares[smallest])}" + (f", {smallest:g} of each class" if smallest < 1 else ""),
            remedy="lower --knn-k, or raise --fractions",
        )
    to_device(backbone, runtime.resolve_device())
    store = Store(
        backbone, embedding_of(backbone), runtime, folder.parent / "features", strict=options.strict
    )
    learnt = store.features(everything)
    labels = everything.labels[learnt.positions]
    # Drawn again among those that could be read.
    shares = {share: drawn(labels, share, seed) for share in options.fractions}
    linear: dict[float, LinearProbe] = {}
    if "linear" in options.probes:
        linear = _fitted(learnt.values, labels, everything, options, shares, store, seed, folder)
        backbone.card.fitted_sha256["probe"] = state_sha256(_weights(linear))
    about = About(everything.name, everything.split, len(everything), everything.sha256(), learnt.failed)
    probes = Probes(
        store,
        everything,
        learnt.positions,
        learnt.values,
        labels,
        everything.classes,
        shares,
        linear,
        seed,
    )
    return Fit(probes, about.info(len(labels)))


def _fitted(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    everything: ImageIndex,
    options: ProbeOptions,
    shares: dict[float, NDArray[np.int64]],
    store: Store,
    seed: int,
    folder: Path,
) -> dict[float, LinearProbe]:
    card, device = store.backbone.card, store.runtime.resolve_device()
    identity = {
        "backbone": card.deciding_features(),
        "preparation": card.model_dump(
            mode="json", include={"input_size", "interpolation", "crop_fraction", "resize"}
        ),
        "features": store.embedding.how,
        "data": everything.sha256(),
        "read": len(labels),
        "precision": store.runtime.precision,
        "device": device.type,
        "options": options.model_dump(mode="json", include=_DECIDING),
        "seed": seed,
    }
    run = FitRun(folder, identity, purpose="fitting probes", description="probes.json")
    with run.held():
        done = run.finished()
        if done is not None:
            shape = len(everything.classes), features.shape[1]
            return read_fitted(folder, done, lambda weights: _read(done, weights, shape))
        probes = {}
        for share, places in shares.items():
            probes[share] = fit_linear(
                np.asarray(features[places]),
                labels[places],
                classes=len(everything.classes),
                penalties=options.linear_c,
                validation_fraction=options.validation_fraction,
                max_iterations=options.max_iterations,
                seed=seed,
                device=device,
            )
            log.info(f"linear probe of {len(places):,} images: C = {probes[share].c:g}")
        described = {
            f"{share:g}": {
                "c": probe.c,
                "accuracies": {f"{c:g}": accuracy for c, accuracy in probe.accuracies.items()},
                "converged": probe.converged,
                "size": probe.scale.size,
            }
            for share, probe in probes.items()
        }
        run.finish(_weights(probes), {**identity, "fitted": described, "classes": everything.classes})
        return probes


def _weights(probes: dict[float, LinearProbe]) -> dict[str, Tensor]:
    parts: dict[str, Callable[[LinearProbe], NDArray[np.float64]]] = {
        "weight": lambda probe: probe.weight,
        "bias": lambda probe: probe.bias,
        "mean": lambda probe: probe.scale.mean,
    }
    return {
        f"{share:g}.{name}": torch.from_numpy(np.asarray(part(probe)))
        for share, probe in probes.items()
        for name, part in parts.items()
    }


def _read(
    description: dict[str, Any], weights: dict[str, Tensor], shape: tuple[int, int]
) -> dict[float, LinearProbe]:
    """The probes, of so many classes and features, that a finished fit left."""
    probes = {}
    for share, about in description["fitted"].items():
        weight, bias, mean = (weights[f"{share}.{part}"].numpy() for part in ("weight", "bias", "mean"))
        if (weight.shape, bias.shape, mean.shape) != (shape, shape[:1], shape[1:]):
            raise ValueError(f"a probe of other classes or features than {shape[0]:,} and {shape[1]:,}")
        accuracies = {float(c): accuracy for c, accuracy in about["accuracies"].items()}
        scale = Scale(mean, about["size"])
        probes[float(share)] = LinearProbe(weight, bias, scale, about["c"], accuracies, about["converged"])
    return probes


def zero_norms(features: NDArray[np.float32]) -> int:
    """How many rows of features (n, D) are all zeros."""
    return int((~features.any(axis=1)).sum())


def _require_usable(features: NDArray[np.float32], card: BackboneCard, where: str) -> None:
    require_finite(bool(np.isfinite(features).all()), card, where, "features")
    if zero_norms(features) == len(features):
        raise EvalSuiteError(
            f"backbone '{card.name}' gives features of zero norm for all {len(features):,} images on {where}; its weights are "
            "unusable"
        )
