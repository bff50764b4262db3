"""Corrupted images as their authors publish them, ImageNet-C, ImageNet-C-bar, ImageNet-3DCC and CIFAR-C, in place of those made here."""

import numpy as np
import torch

from eval_suite.backbones.inference import evaluation_batches
from eval_suite.backbones.shares import own_share
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions, progress
from eval_suite.data.class_order import match_classes
from eval_suite.data.images import open_images, parse_spec, splits_of
from eval_suite.data.layouts.base import some
from eval_suite.tasks.robustness.options import (
    COMMON,
    CORRUPTIONS,
    PUBLISHED_CORRUPTIONS,
    RobustnessOptions,
    expand_corruptions,
)
from eval_suite.tasks.robustness.predictions import Corruptions
from eval_suite.tasks.robustness.sweep import Classifier, Rows


def published_versions(spec: str, options: RobustnessOptions) -> dict[str, list[str]]:
    """The splits of a published set to evaluate on: by corruption, one for each severity.

    Args:
        spec: ``KIND:PATH`` with splits ``<corruption>-<severity>``.
        options: the corruptions, by default those of the common fifteen, or of the set's own, that it has, and the severities.

    Raises:
        InputError: if one is missing, or there is none.
    """
    held = splits_of(spec)
    own = PUBLISHED_CORRUPTIONS.get(parse_spec(spec).kind)
    names = expand_corruptions(options.corruptions, own or CORRUPTIONS) or [
        name for name in own or COMMON if any(split.rpartition("-")[0] == name for split in held)
    ]
    wanted = {name: [f"{name}-{severity}" for severity in options.severities] for name in names}
    missing = [split for splits in wanted.values() for split in splits if split not in held]
    if missing or not names or not options.severities:
        raise InputError(
            expected="every corruption at every severity asked for, as splits <corruption>-<severity>",
            where=spec,
            found=f"no {some(missing)}" if missing else some(held),
            remedy="choose with --corruptions and --severities",
        )
    return wanted


def sweep_published(
    classify: Classifier,
    spec: str,
    classes: list[str],
    options: RobustnessOptions,
    card: BackboneCard,
    runtime: RuntimeOptions,
    device: torch.device,
) -> Corruptions:
    """Predictions on the images of a published set under every corruption and severity.

    Args:
        classify: answers in the classes of the evaluated data.
        spec: the published set.
        classes: of the evaluated data; the set's are matched with them.
        options: corruptions, severities, limit.
        card: how images are brought to the network.
        runtime: batches and workers.
        device: where the network is.

    Raises:
        InputError: if the set lacks a version or an image, cannot be read, or has other classes.
    """
    versions = published_versions(spec, options)
    predicted, first = [], None
    for name, splits in versions.items():
        for split in splits:
            whole = open_images(spec, split)
            index = match_classes(whole.classes, spec, outputs=len(classes), names=classes).relabel(whole)
            index = index.subset(options.limit)
            first = first or index
            if index.ids != first.ids:
                raise InputError(
                    expected=f"the {len(first):,} images of '{first.split}' in '{split}'",
                    where=spec,
                    found=f"{len(index):,} or others",
                    remedy="unpack the set again",
                )
            batches = evaluation_batches(
                index, card, runtime=runtime, device=device, strict=True, share=own_share()
            )
            shown = progress(batches, len(batches), f"robustness {card.name}, {name} {split[-1]}")
            rows = Rows()
            for batch in shown:
                rows.add("positions", batch.index)
                rows.add("predicted", classify(batch.images, batch.labels[:, None]))
            predicted.append(rows.together("positions").arrays["predicted"])
    assert first is not None
    shape = (len(first), len(versions), len(options.severities))
    return Corruptions(
        np.stack(predicted, axis=1).reshape(shape),
        list(versions),
        options.severities,
        labels=first.labels,
        ids=first.ids,
    )
