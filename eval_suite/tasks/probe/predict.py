"""Running the probes over the features of the evaluated split."""

from pathlib import Path

import numpy as np

from eval_suite.backbones.inference import require_some_read
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.images import ImageIndex, open_images
from eval_suite.data.layouts.base import some
from eval_suite.data.pictures import never_failing
from eval_suite.tasks.probe.examples import Learnt, write_pictures
from eval_suite.tasks.probe.fit import Probes, zero_norms
from eval_suite.tasks.probe.knn import knn_votes
from eval_suite.tasks.probe.linear import LinearProbe
from eval_suite.tasks.probe.options import ProbeOptions
from eval_suite.tasks.probe.predictions import Predictions, probe_name, write_predictions


def predict(probes: Probes, options: ProbeOptions, runtime: RuntimeOptions, folder: Path) -> Path:
    """Write every probe's scores of every readable image to ``predictions.npz``."""
    everything = open_images(options.data, options.split)
    index = everything.subset(options.limit)
    place = _places(everything, probes.classes, options)
    found = probes.store.features(index)
    require_some_read(len(found.positions), len(index), options.data)
    settings, warnings = {"knn_k": str(options.knn_k), "features": probes.store.embedding.how}, []
    scores = {}
    for share, learnt in probes.shares.items():
        if "knn" in options.probes:
            name = probe_name("knn", share)
            scores[name] = knn_votes(
                probes.features[learnt] if share < 1 else probes.features,
                probes.labels[learnt],
                found.values,
                classes=len(probes.classes),
                k=options.knn_k,
                temperature=options.knn_temperature,
                device=runtime.resolve_device(),
            )
            settings[name] = f"{len(learnt):,} training images, temperature {options.knn_temperature:g}"
        if share in probes.linear:
            name, probe = probe_name("linear", share), probes.linear[share]
            scores[name] = probe.scores(found.values)
            settings[name] = f"{len(learnt):,} training images, {_chosen(probe)}"
            warnings += _doubts(probe, name, options)
    blank = zero_norms(found.values) + zero_norms(probes.features)
    if blank:
        warnings.append(
            f"features of {blank:,} images are all zeros; their cosine similarity to others is taken for 0"
        )
    labels = place[index.labels[found.positions]]
    shown: dict[str, str] = {}
    if "knn" in options.probes:
        with never_failing("probe"):
            votes = next(iter(scores.values()))
            shown = write_pictures(
                index,
                found.positions,
                found.values,
                votes[np.arange(len(labels)), labels],
                Learnt(probes.images, probes.positions, probes.features),
                folder,
            )
    path = folder / "predictions.npz"
    write_predictions(
        path,
        Predictions(
            scores=scores,
            ids=[index.ids[i] for i in found.positions],
            labels=labels,
            classes=probes.classes,
            about=everything.about(index, found.failed),
            settings=settings,
            warnings=warnings,
            shown=shown,
        ),
    )
    return path


def _places(evaluated: ImageIndex, classes: list[str], options: ProbeOptions) -> np.ndarray:
    """Which of the training split's classes each of the evaluated split's is.

    Raises:
        InputError: if one is not among them.
    """
    place = {name: number for number, name in enumerate(classes)}
    unknown = [name for name in evaluated.classes if name not in place]
    if unknown:
        raise InputError(
            expected=f"the classes of '{options.train_split}' ({some(classes)}) in '{evaluated.split}'",
            where=options.data,
            found=f"{len(unknown):,} others: {some(unknown)}",
        )
    return np.array([place[name] for name in evaluated.classes], np.int64)


def _chosen(probe: LinearProbe) -> str:
    if not probe.accuracies:
        return f"C = {probe.c:g} as given"
    return (
        f"C = {probe.c:g} of {len(probe.accuracies)} by a validation part of them "
        f"(accuracy {probe.accuracies[probe.c]:.1%})"
    )


def _doubts(probe: LinearProbe, name: str, options: ProbeOptions) -> list[str]:
    doubts = []
    if not probe.converged:
        doubts.append(
            f"the probe '{name}' had not converged after {options.max_iterations:,} iterations; raise --max-iterations"
        )
    if probe.accuracies:
        lowest, highest = min(probe.accuracies), max(probe.accuracies)
        best = [c for c, accuracy in probe.accuracies.items() if accuracy == probe.accuracies[probe.c]]
        if probe.c == highest or (probe.c == lowest and len(best) == 1):
            doubts.append(
                f"the probe '{name}' chose C = {probe.c:g} at the edge of those tried; try more with --linear-c"
            )
    return doubts
