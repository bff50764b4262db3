"""Captions of a set of images: features batch by batch, then one search over the whole batch."""

from pathlib import Path

import torch

from eval_suite.backbones.inference import (
    autocast,
    evaluation_batches,
    require_finite,
    require_some_read,
    to_device,
)
from eval_suite.core.runtime import RuntimeOptions, progress
from eval_suite.data.coco import CaptionSet, open_captions
from eval_suite.tasks.caption.model import Captioner, Reader, pooled_features
from eval_suite.tasks.caption.options import CaptionOptions
from eval_suite.tasks.caption.predictions import write_captions
from eval_suite.tasks.caption.search import SearchOptions, beam_search


def predict(captioner: Captioner, options: CaptionOptions, runtime: RuntimeOptions, folder: Path) -> Path:
    """Write a caption of every readable image to ``predictions.json`` (COCO results)."""
    captions = open_captions(options.data, options.split).subset(options.limit)
    found = generate(captioner, captions, options, runtime)
    require_some_read(len(found), len(captions), options.data)
    path = folder / "predictions.json"
    write_captions(path, found)
    return path


def generate(
    captioner: Captioner, captions: CaptionSet, options: CaptionOptions, runtime: RuntimeOptions
) -> dict[int | str, str]:
    """The best caption found for every readable image, by image id.

    Raises:
        EvalSuiteError: if the backbone's features are not finite.
        InputError: if an image cannot be read and ``strict`` is set, or none can.
    """
    device = runtime.resolve_device()
    captioner.to(device).eval()
    to_device(captioner.backbone, device)
    card = captioner.card
    batches = evaluation_batches(
        captions.images(), card, runtime=runtime, device=device, strict=options.strict
    )
    how = SearchOptions(options.num_beams, options.max_length, options.length_penalty, options.fixed_length)
    reader = Reader(captioner.decoder)
    found: dict[int | str, str] = {}
    with torch.inference_mode():
        for batch in progress(batches, len(batches), f"caption {card.name}"):
            with autocast(device, runtime.precision):
                features = pooled_features(captioner.backbone, batch.images)
            require_finite(bool(features.isfinite().all()), card, options.data, "features")
            words = beam_search(captioner.decoder, features, how, reader).words.tolist()
            for position, numbers in zip(batch.index.tolist(), words, strict=True):
                found[captions.image_ids[position]] = captioner.vocabulary.decode(numbers)
    return found
