"""Running a backbone over its images, as they are and under every perturbation."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.class_names import match_outputs, select_outputs
from eval_suite.backbones.inference import compiled, evaluation_batches, require_finite, to_device
from eval_suite.backbones.shares import own_share
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.class_order import ClassMatch
from eval_suite.data.images import ImageIndex, open_images, parse_spec
from eval_suite.data.pictures import never_failing
from eval_suite.tasks.robustness.attacks import frozen
from eval_suite.tasks.robustness.context import SweepContext
from eval_suite.tasks.robustness.corruptions import require_large_enough
from eval_suite.tasks.robustness.in_between import draw_pairs
from eval_suite.tasks.robustness.options import (
    ATTACKS,
    FEWEST_CLASSES,
    RobustnessOptions,
    epsilon_name,
    expand_corruptions,
    odd_epsilons,
)
from eval_suite.tasks.robustness.panels import write_panels
from eval_suite.tasks.robustness.patches import require_whole_patches
from eval_suite.tasks.robustness.predictions import Family, Predictions, write_predictions
from eval_suite.tasks.robustness.published import published_versions, sweep_published
from eval_suite.tasks.robustness.shifted import open_shifted, parse_shifted, sweep_shifted
from eval_suite.tasks.robustness.sweep import Classifier, sweep_corrupted, sweep_images, sweep_pairs

log = logging.getLogger(__name__)


def predict(backbone: Backbone, options: RobustnessOptions, runtime: RuntimeOptions, folder: Path) -> Path:
    """Write the predicted class of every readable image under every perturbation, and a few panels to show."""
    everything = open_images(options.data, options.split)
    index = everything.subset(options.limit)
    card = backbone.card
    match = match_outputs(card, everything)
    _require_possible(card.input_size, index, options)
    attacked = options.attack_epsilons if options.attacks else []
    for line in odd_epsilons([*options.fgsm_epsilons, *options.pgd_epsilons, *attacked]):
        log.warning(line)
    if options.pairs() and len(index.classes) == 2:
        log.warning("with two classes no in-between sample can be wrong; --pairs-per-image 0 leaves them out")
    device = runtime.resolve_device()
    network = to_device(select_outputs(backbone, match), device)
    settings = _settings(options, match)
    found = _answers(network, everything, options, runtime, folder, settings=settings)
    if match.subset is not None:
        # Attacked anew, since an attack on another classifier is none on this one.
        whole = match.relabel(everything)
        settings = {**settings, "outputs": str(len(match.names))}
        every = _answers(
            to_device(backbone, device), whole, options, runtime, None, settings=settings, pairs=found.pairs
        )
        found = found._replace(among_all=every)
    path = folder / "predictions.npz"
    write_predictions(path, found)
    return path


def _answers(
    network: Backbone,
    everything: ImageIndex,
    options: RobustnessOptions,
    runtime: RuntimeOptions,
    folder: Path | None,
    *,
    settings: dict[str, str],
    pairs: NDArray[np.int64] | None = None,
) -> Predictions:
    """What a network that answers in the classes of its images predicts under every perturbation.

    Args:
        network: the backbone, on its device.
        everything: the images of the split, of which the options take a part.
        options: which perturbations.
        runtime: how to compute.
        folder: where panels are written, or None for none.
        settings: of the predictions.
        pairs: (m, 2) the items of in-between samples; None draws them.
    """
    index, card, device = everything.subset(options.limit), network.card, runtime.resolve_device()
    batches = evaluation_batches(
        index,
        card,
        runtime=runtime,
        device=device,
        strict=options.strict,
        share=own_share(),
        repeatedly=True,
    )
    network = compiled(network) if runtime.compile else network
    setting = SweepContext.of(network, index, options, runtime, device)
    with frozen(network):
        classify = Classifier(network, runtime.precision, device)
        swept = sweep_images(classify, batches, setting)
        _require_pairs(swept.labels, index, options)  # those that could be read
        pairs = draw_pairs(swept.labels, options.pairs()) if pairs is None else pairs
        families = dict(swept.families)
        if len(pairs):
            families |= sweep_pairs(classify, batches, swept.positions[pairs], setting)
        corruptions = sweep_corrupted(classify, swept, setting) if setting.corruptions else None
        if options.corrupted:
            corruptions = sweep_published(
                classify, options.corrupted, everything.classes, options, card, runtime, device
            )
        shifted = sweep_shifted(classify, index, options, card, runtime, device)
        require_finite(classify.usable, card, options.data)
        found = Predictions(
            ids=[index.ids[i] for i in swept.positions],
            labels=swept.labels,
            classes=index.classes,
            about=everything.about(index, swept.failed),
            clean=swept.clean,
            families={name: Family(families[name], setting.grids[name]) for name in families},
            pairs=pairs,
            notes=swept.notes,
            corruptions=corruptions,
            settings=settings,
            shifted=tuple(shifted),
        )
        if folder is not None:
            with never_failing("robustness"):
                write_panels(folder, network, batches, found, swept, setting)
    return found


def _require_possible(size: tuple[int, int], index: ImageIndex, options: RobustnessOptions) -> None:
    """Refuse before anything is computed what cannot be done on these images."""
    _require_pairs(index.labels, index, options)
    _require_classes(len(index.classes), index, options)
    require_whole_patches(
        size, options.patch_size if options.patch_drop_shares else None, options.patch_shuffle_grids
    )
    for text in options.shifted:
        open_shifted(parse_shifted(text), index.classes)
    if options.corrupted:
        published_versions(options.corrupted, options)
    elif expand_corruptions(options.corruptions):
        require_large_enough(size)


def _require_classes(classes: int, index: ImageIndex, options: RobustnessOptions) -> None:
    if classes < 2 and (options.fgsm_epsilons or options.pgd_epsilons or options.attacks):
        raise InputError(
            f"attacks need a backbone of at least two classes, found one in {index.spec}; leave them out with "
            "--fgsm-epsilons, --pgd-epsilons and --attacks without values"
        )
    for name in options.attacks:
        if classes < FEWEST_CLASSES.get(name, 2):
            others = [other for other in ATTACKS if classes >= FEWEST_CLASSES.get(other, 2)]
            raise InputError(
                expected=f"at least {FEWEST_CLASSES[name]} classes for {name}, whose loss compares as many",
                where=index.spec,
                found=f"{classes}",
                remedy=f"name others: --attacks {' '.join(others)}",
            )


def _require_pairs(labels: NDArray[np.int64], index: ImageIndex, options: RobustnessOptions) -> None:
    held = np.unique(labels)
    if options.pairs() and len(held) < 2:
        names = ", ".join(f"'{index.classes[label]}'" for label in held)
        raise InputError(
            f"in-between samples need images of at least two classes, found only {names or 'none'} in split "
            f"'{index.split}' of {index.spec}; leave them out with --pairs-per-image 0"
        )


def _settings(options: RobustnessOptions, match: ClassMatch) -> dict[str, str]:
    among = {} if match.subset is None else {"outputs": str(len(match.subset))}
    return {
        **among,
        **({"corrupted": parse_spec(options.corrupted).kind} if options.corrupted else {}),
        "attack_loss": options.attack_loss,
        "pgd_steps": str(options.pgd_steps),
        "pgd_step_sizes": " ".join(epsilon_name(size) for size in options.step_sizes()),
        "pgd_restarts": str(options.pgd_restarts),
        "pgd_seed": str(options.pgd_seed),
        **(
            {
                name: str(getattr(options, name))
                for name in (
                    "attack_steps",
                    "attack_restarts",
                    "attack_targets",
                    "square_queries",
                    "attack_seed",
                )
            }
            if options.attacks
            else {}
        ),
        "occlusion_fill": options.occlusion_fill,
        **({"patch_size": str(options.patch_size)} if options.patch_drop_shares else {}),
    }
