"""Captions of a set of images: features batch by batch, then one search over the whole batch."""

import torch

from eval_suite.backbones.inference import autocast, evaluation_batches, place
from eval_suite.core.errors import EvalSuiteError
from eval_suite.core.runtime import RuntimeOptions, progress
from eval_suite.data.coco import CaptionSet
from eval_suite.tasks.caption.model import Captioner, pooled_features
from eval_suite.tasks.caption.options import CaptionOptions
from eval_suite.tasks.caption.search import SearchOptions, beam_search


def generate(
    captioner: Captioner, captions: CaptionSet, options: CaptionOptions, runtime: RuntimeOptions
) -> dict[int, str]:
    """The best caption found for every readable image, by image id.

    Raises:
        EvalSuiteError: if the backbone's features are not finite.
        InputError: if an image cannot be read and ``strict`` is set, or none can.
    """
    device = runtime.resolve_device()
    captioner.to(device).eval()
    place(captioner.backbone, device)
    card = captioner.card
    batches = evaluation_batches(
        captions.images(), card, runtime=runtime, device=device, strict=options.strict
    )
    how = SearchOptions(options.beam, options.longest_output, options.length_penalty, options.fixed_length)
    found: dict[int, str] = {}
    with torch.inference_mode():
        for batch in progress(batches, len(batches), f"caption {card.name}"):
            with autocast(device, runtime.precision):
                features = pooled_features(captioner.backbone, batch.images)
            if not bool(features.isfinite().all()):
                raise EvalSuiteError(
                    f"backbone '{card.name}' gives NaN or infinite features on {options.data}; its weights are unusable"
                )
            words = beam_search(captioner.decoder, features, how).words.tolist()
            for position, numbers in zip(batch.index.tolist(), words, strict=True):
                found[captions.image_ids[position]] = captioner.vocabulary.decode(numbers)
    return found
