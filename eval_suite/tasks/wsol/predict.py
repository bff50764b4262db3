"""Running a localiser over an image set: maps, logits and what they are of."""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.class_names import match_outputs
from eval_suite.backbones.inference import evaluation_batches, require_finite, require_some_read, to_device
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions, progress
from eval_suite.data.boxes import open_localisation
from eval_suite.data.class_order import ClassMatch
from eval_suite.data.images import ImageIndex
from eval_suite.data.loading import Batch
from eval_suite.data.pictures import never_failing
from eval_suite.tasks.wsol.attention_maps import ATTENTION_MAPS
from eval_suite.tasks.wsol.examples import write_pictures
from eval_suite.tasks.wsol.geometry import Transform
from eval_suite.tasks.wsol.localiser import with_map
from eval_suite.tasks.wsol.maps import ClassMaps, Extractor, PackageMaps
from eval_suite.tasks.wsol.methods import make_method
from eval_suite.tasks.wsol.options import WsolOptions, require_precision
from eval_suite.tasks.wsol.predictions import Predictions, write_predictions

log = logging.getLogger(__name__)


def predict(backbone: Backbone, options: WsolOptions, runtime: RuntimeOptions, folder: Path) -> Path:
    """Write the map and the logits of every readable image to ``predictions.npz``, and pictures to show."""
    require_precision(options, runtime)
    truth = open_localisation(options.data, options.split)
    card = backbone.card
    match = _match(card, truth.images, options)
    log.info(_prepared(card.input_size, options))
    device = runtime.resolve_device()
    extract = _extractor(with_map(to_device(backbone, device)), options, runtime)
    found = predict_maps(extract, match.relabel(truth.images), card, options, runtime, device)
    place = np.full(len(match.names), -1)
    place[match.outputs] = np.arange(len(match.outputs))
    found = found._replace(
        logits=found.logits[:, match.outputs],
        labels=place[found.labels],
        classes=truth.images.classes,
        of_outputs=None if match.subset is None else len(match.names),
        about=truth.images.about(truth.images.subset(options.limit), found.about.failed),
    )
    path = folder / "predictions.npz"
    write_predictions(path, found)
    with never_failing("wsol"):
        outputs = torch.from_numpy(match.outputs).to(device)

        def of_data(images: Tensor, wanted: Tensor | None) -> ClassMaps:
            return extract(images, None if wanted is None else outputs[wanted])

        write_pictures(of_data, found, truth, options.sigma, card.mean, device, folder)
    return path


def _match(card: BackboneCard, images: ImageIndex, options: WsolOptions) -> ClassMatch:
    """Which output stands for which class; the map of a predicted class needs a network without further outputs."""
    remedy = "let a fit replace the last layer (--fit.preset)"
    try:
        match = match_outputs(card, images)
    except InputError as error:
        raise InputError(f"{error}, or {remedy}") from None
    if match.subset is not None and options.map_class == "predicted":
        raise InputError(
            expected=f"as many classes as the network has outputs, {len(match.names):,}",
            where=images.spec,
            found=f"{len(images.classes):,}",
            remedy=f"take the maps of the labels (--map-class ground-truth), or {remedy}",
        )
    return match


def predict_maps(
    extract: Extractor,
    everything: ImageIndex,
    card: BackboneCard,
    options: WsolOptions,
    runtime: RuntimeOptions,
    device: torch.device,
) -> Predictions:
    """Maps and logits of every readable image of a split, or of the number that the options limit it to.

    Args:
        extract: how maps are read.
        everything: the split.
        card: of the backbone: its input size, and its name for messages.
        options: whose class's map, the test transform, the limit.
        runtime: batches and workers.
        device: where the network lies.

    Raises:
        EvalSuiteError: if no image can be read, or logits are not finite.
    """
    index = everything.subset(options.limit)
    transform = Transform(card.input_size, options.crop_fraction)
    batches = evaluation_batches(
        index,
        card,
        runtime=runtime,
        device=device,
        strict=options.strict,
        transform=transform.of_images,
    )
    shown = progress(batches, len(batches), f"wsol {card.name}")
    logits, maps, positions = _gather(extract, shown, predicted=options.map_class == "predicted")
    require_some_read(len(positions), len(index), options.data)
    require_finite(bool(logits.isfinite().all()), card, options.data)
    kept = positions.numpy()
    return Predictions(
        maps=maps.numpy(),
        logits=logits.numpy(),
        ids=[index.ids[i] for i in kept],
        labels=index.labels[kept].astype(np.int64),
        classes=index.classes,
        transform=transform,
        map_class=options.map_class,
        about=everything.about(index, batches.failed),
    )


def _gather(
    extract: Extractor, batches: Iterable[Batch], *, predicted: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, maps and positions of all batches, on the CPU."""
    logits, maps, positions = [torch.zeros(0, 0)], [torch.zeros(0, 0, 0)], [torch.zeros(0, dtype=torch.int64)]
    for batch in batches:
        found = extract(batch.images, None if predicted else batch.labels)
        logits.append(found.logits.cpu())
        maps.append(found.maps.cpu())
        positions.append(batch.index)
    filled = 1 if len(logits) > 1 else 0
    return torch.cat(logits[filled:]), torch.cat(maps[filled:]), torch.cat(positions[filled:])


def _extractor(backbone: Backbone, options: WsolOptions, runtime: RuntimeOptions) -> Extractor:
    if options.cam_method in ATTENTION_MAPS:
        return ATTENTION_MAPS[options.cam_method](backbone)
    if options.cam_method != "cam":
        return PackageMaps(backbone, options.cam_method)
    return make_method(options.method.chosen).extractor(backbone, runtime.precision)


def _prepared(input_size: tuple[int, int], options: WsolOptions) -> str:
    """How test images are brought to the input, which is not what the backbone's card says."""
    height, width = input_size
    tall, wide = round(height / options.crop_fraction), round(width / options.crop_fraction)
    crop = f", centre crop of {height}x{width}" if options.crop_fraction < 1 else ""
    return f"wsol: images resized to {tall}x{wide} whatever their shape{crop} (transform {options.transform})"
