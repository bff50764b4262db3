"""The sets of an evaluation: in-distribution images, outlier images and noise, each with what is left out before it."""

import hashlib
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from eval_suite.backbones.inference import evaluation_batches
from eval_suite.backbones.shares import own_share
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError
from eval_suite.core.predictions import About
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.data.decoding import open_item, size_of_file, to_rgb
from eval_suite.data.images import ImageIndex
from eval_suite.data.loading import ImageBatches, Share
from eval_suite.data.noise import NoiseBatches, noise_image
from eval_suite.data.outliers import NOISE, OutlierSource, open_outliers
from eval_suite.data.sizing import Prepare
from eval_suite.tasks.ood.predictions import Facts

if TYPE_CHECKING:
    from eval_suite.tasks.ood.options import OodOptions

log = logging.getLogger(__name__)

_ALL = Share(0, 1)
_Noise = Literal["uniform", "gaussian"]


class LoaderConfig(NamedTuple):
    """What images are brought to: the backbone's input, on a device, in batches."""

    card: BackboneCard
    runtime: RuntimeOptions
    device: torch.device
    strict: bool

    def batches(self, index: ImageIndex, share: Share, prepare: Prepare | None = None) -> ImageBatches:
        """Batches of an image set."""
        return evaluation_batches(
            index,
            self.card,
            runtime=self.runtime,
            device=self.device,
            strict=self.strict,
            prepare=prepare,
            share=share,
        )


@dataclass(frozen=True)
class ImageSet:
    """Images from files: ``index`` is evaluated, all or a part of ``whole``; ``left_out`` comes before both."""

    name: str
    whole: ImageIndex
    index: ImageIndex
    left_out: ImageIndex
    prepare: Prepare | None
    made_by: str

    def __len__(self) -> int:
        """Number of images to evaluate."""
        return len(self.index)

    @property
    def ids(self) -> list[str]:
        """Ids of the images to evaluate."""
        return self.index.ids

    def batches(self, place: LoaderConfig) -> ImageBatches:
        """This process's share of the images to evaluate."""
        return place.batches(self.index, own_share(), self.prepare)

    def all_batches(self, place: LoaderConfig) -> ImageBatches:
        """All images to evaluate, in every process."""
        return place.batches(self.index, _ALL, self.prepare)

    def left_out_batches(self, place: LoaderConfig) -> ImageBatches:
        """The images left out."""
        return place.batches(self.left_out, _ALL, self.prepare)

    def about(self, failed: list[str]) -> About:
        """What a predictions file says of the set."""
        found = self.whole.about(self.index, failed)
        digest = hashlib.sha256(f"{found.sha256} {self.made_by}".encode()).hexdigest()
        return found._replace(sha256=digest) if self.made_by else found

    def facts(self, positions: NDArray[np.int64]) -> Facts:
        """What the files of some images tell; nothing of images that are in none of their own, or of what is made of them."""
        if self.index.paths is None or self.prepare is not None:
            return {}
        paths = [self.index.paths[i] for i in positions]
        return {
            "pixels": np.array([math.prod(size_of_file(path)) for path in paths], np.float64),
            "bytes": np.array([path.stat().st_size for path in paths], np.float64),
        }

    def picture(self, position: int) -> Image.Image:
        """One image as the backbone is given it, before it is brought to the input's size."""
        image = open_item(self.index, position)
        return self.prepare(image, self.ids[position]) if self.prepare else to_rgb(image)


@dataclass(frozen=True)
class NoiseSet:
    """Noise images, numbered on from those that are left out."""

    name: str
    kind: _Noise
    left_out: int
    items: int
    seed: int
    size: tuple[int, int]

    def __len__(self) -> int:
        """Number of images to evaluate."""
        return self.items

    @property
    def ids(self) -> list[str]:
        """Ids of the images to evaluate."""
        return [f"{self.kind}-{self.left_out + i:05d}" for i in range(self.items)]

    def batches(self, place: LoaderConfig) -> NoiseBatches:
        """This process's share of the images to evaluate."""
        return self._numbered(place, self.left_out, self.items, own_share())

    def all_batches(self, place: LoaderConfig) -> NoiseBatches:
        """All images to evaluate, in every process."""
        return self._numbered(place, self.left_out, self.items, _ALL)

    def left_out_batches(self, place: LoaderConfig) -> NoiseBatches:
        """The images left out."""
        return self._numbered(place, 0, self.left_out, _ALL)

    def about(self, failed: list[str]) -> About:
        """What a predictions file says of the set; its images are the same whatever size they are made in."""
        facts = f"{self.kind} noise, {self.items} from {self.left_out} of seed {self.seed}"
        return About(self.name, "noise", self.items, hashlib.sha256(facts.encode()).hexdigest(), failed)

    def facts(self, _positions: NDArray[np.int64]) -> Facts:
        """Nothing: noise lies in no files."""
        return {}

    def picture(self, position: int) -> Image.Image:
        """One image."""
        pixels = noise_image(self.kind, self.seed, self.left_out + position, self.size)
        return Image.fromarray(pixels.mul(255).round().byte().permute(1, 2, 0).numpy())

    def _numbered(self, place: LoaderConfig, start: int, items: int, share: Share) -> NoiseBatches:
        return NoiseBatches(
            self.kind,
            self.size,
            start=start,
            items=items,
            seed=self.seed,
            batch_size=place.runtime.batch_size,
            device=place.device,
            share=share,
        )


def image_set(
    name: str,
    everything: ImageIndex,
    options: "OodOptions",
    prepare: Prepare | None = None,
    made_by: str = "",
) -> ImageSet:
    """A set of images without those that ``skip_first`` leaves out, cut to ``limit``.

    Args:
        name: what to call it.
        everything: all its images.
        options: the task's.
        prepare: what is made of each image.
        made_by: how, for the set's hash.

    Raises:
        InputError: if nothing is left.
    """
    skipped = options.skip_first
    if len(everything) <= skipped:
        raise InputError(
            expected=f"more than the {skipped} images that skip_first leaves out",
            where=everything.spec,
            found=f"{len(everything)}",
        )
    rest = everything.select(np.arange(skipped, len(everything))) if skipped else everything
    left_out = everything.select(np.arange(skipped))
    return ImageSet(name, rest, rest.subset(options.limit), left_out, prepare, made_by)


def outlier_set(
    source: OutlierSource, options: "OodOptions", known: int, size: tuple[int, int]
) -> ImageSet | NoiseSet:
    """An outlier set from its source.

    Args:
        source: where it comes from.
        options: the task's.
        known: number of in-distribution images, and so of noise images if options do not say.
        size: (H, W) of noise images.

    Raises:
        InputError: if its folder is missing or holds no images.
    """
    seed = options.outlier_seed
    if source.kind in NOISE:
        kind = cast("_Noise", source.kind)
        return NoiseSet(source.name, kind, options.skip_first, options.noise_items or known, seed, size)
    index, prepare = open_outliers(source, seed)
    for note in index.notes:
        log.warning(f"{index.spec}: {note}")
    return image_set(source.name, index, options, prepare, f"{source.kind} of seed {seed}" if prepare else "")
