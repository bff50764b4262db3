"""The captions a decoder is fitted to, as numbers, and the batches of a fit."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval_suite.backbones.features import Features
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import derive_seed
from eval_suite.data.augment import AUGMENTATIONS
from eval_suite.data.coco import CaptionSet
from eval_suite.data.images import ImageIndex
from eval_suite.data.loading import TrainingBatches
from eval_suite.tasks.caption.options import CaptionOptions
from eval_suite.tasks.caption.vocabulary import PAD, TOKENIZERS, Vocabulary, build_vocabulary

_ORDER = 0xCA9701


class Corpus(NamedTuple):
    """Every training caption: (M, T) word numbers, padded, and (M,) the places of their images in the set."""

    vocabulary: Vocabulary
    words: NDArray[np.int32]
    image: NDArray[np.int64]


def make_corpus(captions: CaptionSet, options: CaptionOptions) -> Corpus:
    """Turn all captions of a set into numbers.

    Raises:
        InputError: if no word is frequent enough.
    """
    split = TOKENIZERS[options.tokenizer]
    said = [(i, split(text)) for i, texts in enumerate(captions.captions) for text in texts]
    vocabulary = build_vocabulary((words for _, words in said), options.min_count)
    rows = [vocabulary.encode(words[: options.longest_caption]) for _, words in said]
    numbers = np.full((len(rows), max(map(len, rows))), PAD, np.int32)
    for row, encoded in zip(numbers, rows, strict=True):
        row[: len(encoded)] = encoded
    return Corpus(vocabulary, numbers, np.array([i for i, _ in said], np.int64))


class FitBatch(NamedTuple):
    """What a step sees: features (B, C) or images (B, 3, H, W), and the captions (B, T), on the device."""

    pictures: Tensor
    words: Tensor


class FitBatches(Protocol):
    """The batches of a fit; what a step sees depends on (seed, epoch, step) only. ``failed`` names unreadable images."""

    steps_per_epoch: int
    failed: list[str]

    def epoch(self, epoch: int, start_step: int) -> Iterator[FitBatch]:
        """The batches of an epoch from a step on."""
        ...


class FeatureBatches:
    """Shuffled captions with the cached features of their images; an incomplete last batch is dropped.

    Raises:
        InputError: if there are fewer than two captions of readable images.
    """

    def __init__(
        self, corpus: Corpus, features: Features, *, batch_size: int, seed: int, device: torch.device
    ) -> None:
        """Leave out the captions of unreadable images."""
        row_of = np.full(max(corpus.image.max(), features.positions.max()) + 1, -1)
        row_of[features.positions] = np.arange(len(features.positions))
        row = row_of[corpus.image]
        if (row >= 0).sum() < 2:
            raise InputError(expected="two training captions of readable images or more", found="fewer")
        self._rows = torch.from_numpy(row[row >= 0])
        self._words = torch.from_numpy(corpus.words[row >= 0].astype(np.int64)).to(device)
        self._values, self._seed, self._device = features.values, seed, device
        self.failed = features.failed
        self._batch_size = min(batch_size, len(self._rows))
        self.steps_per_epoch = len(self._rows) // self._batch_size

    def epoch(self, epoch: int, start_step: int) -> Iterator[FitBatch]:
        """The batches of an epoch from ``start_step`` on."""
        generator = torch.Generator().manual_seed(derive_seed(self._seed, epoch, 0, _ORDER))
        order = torch.randperm(len(self._rows), generator=generator)
        for step in range(start_step, self.steps_per_epoch):
            chosen = order[step * self._batch_size : (step + 1) * self._batch_size]
            values = torch.from_numpy(self._values[self._rows[chosen].numpy()])
            words = self._words[chosen.to(self._device)]
            yield FitBatch(values.to(self._device), _without_empty_columns(words))


class PictureBatches:
    """Shuffled captions with their images, mirrored at random, for fitting backbone and decoder together."""

    def __init__(
        self,
        corpus: Corpus,
        captions: CaptionSet,
        *,
        size: tuple[int, int],
        batch_size: int,
        seed: int,
        device: torch.device,
        workers: int,
        strict: bool,
    ) -> None:
        """Index one image for every caption."""
        self._words = torch.from_numpy(corpus.words.astype(np.int64)).to(device)
        self._batches = TrainingBatches(
            _one_image_a_caption(captions.images(), corpus.image),
            AUGMENTATIONS["flip"],
            size=size,
            batch_size=batch_size,
            seed=seed,
            device=device,
            workers=workers,
            strict=strict,
        )
        self.steps_per_epoch = self._batches.steps_per_epoch
        self.failed = self._batches.failed

    def epoch(self, epoch: int, start_step: int) -> Iterator[FitBatch]:
        """The batches of an epoch from ``start_step`` on."""
        for batch in self._batches.epoch(epoch, start_step):
            yield FitBatch(batch.images, _without_empty_columns(self._words[batch.labels]))


def _one_image_a_caption(images: ImageIndex, image_of: NDArray[np.int64]) -> ImageIndex:
    """An index whose items are captions: their images, labelled with the captions' numbers."""
    assert images.paths is not None
    return replace(
        images,
        ids=[images.ids[i] for i in image_of],
        labels=np.arange(len(image_of)),
        paths=[images.paths[i] for i in image_of],
    )


def _without_empty_columns(words: Tensor) -> Tensor:
    longest = int((words != PAD).sum(dim=1).max())
    return words[:, :longest]
