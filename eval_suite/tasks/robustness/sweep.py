"""Running a backbone over perturbed images: each image is decoded once per pass and perturbed on the device."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval_suite.backbones.inference import autocast, require_some_read
from eval_suite.backbones.shares import gathered, own_share, true_everywhere
from eval_suite.core.errors import EvalSuiteError
from eval_suite.core.runtime import progress
from eval_suite.data.loading import ImageBatches
from eval_suite.tasks.robustness.attacks import (
    fgsm,
    input_gradient,
    item_seeds,
    pgd,
    random_starts,
    saturated,
)
from eval_suite.tasks.robustness.auto_attack import attacked_answers
from eval_suite.tasks.robustness.context import SweepContext
from eval_suite.tasks.robustness.in_between import cutmix_between, mixup_between
from eval_suite.tasks.robustness.occlusion import KINDS, occlude
from eval_suite.tasks.robustness.options import RobustnessOptions, fraction
from eval_suite.tasks.robustness.patches import drop_patches, patch_orders, shuffle_patches
from eval_suite.tasks.robustness.predictions import ATTACK_FAMILIES, NOTES, Corruptions

_START = 0xA77AC4


class Classifier:
    """A network that answers with one class per image, and remembers whether it ever gave NaN or infinity.

    Args:
        model: images (B, 3, H, W) in [0, 1] → logits (B, classes).
        precision: 'fp32', or 'bf16' for autocast.
        device: where the model is.
    """

    def __init__(self, model: Callable[[Tensor], Tensor], precision: str, device: torch.device) -> None:
        self.model, self.precision = model, precision
        self._unusable = torch.zeros((), dtype=torch.bool, device=device)

    @torch.inference_mode()
    def __call__(self, images: Tensor, accepted: Tensor) -> Tensor:
        """The predicted class (B,) of images (B, 3, H, W); see `choose` for ``accepted`` (B, k)."""
        with autocast(images.device, self.precision):
            logits = self.model(images)
        return self.choose(logits.float(), accepted)

    def choose(self, logits: Tensor, accepted: Tensor) -> Tensor:
        """The class (B,) with the highest of (B, classes) logits; ties go against the accepted classes (B, k).

        So a constant output earns nothing, as in the classify task.
        """
        self._unusable |= ~torch.isfinite(logits).all()
        own = logits.gather(1, accepted)
        others = logits.scatter(1, accepted, -torch.inf)
        rival, rival_class = others.max(1)
        best, place = own.max(1)
        return torch.where(best > rival, accepted.gather(1, place[:, None])[:, 0], rival_class)

    @property
    def usable(self) -> bool:
        """Whether every logit so far was a finite number, in all processes; waits for the device."""
        return true_everywhere(not bool(self._unusable))


class Swept(NamedTuple):
    """What a pass over the images found: (n,) positions, labels, clean predictions and notes; (n, points) by family; names of unreadable images."""

    positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    clean: NDArray[np.int64]
    notes: dict[str, NDArray[np.bool_]]
    families: dict[str, NDArray[np.int64]]
    failed: list[str]


def sweep_images(classify: Classifier, batches: ImageBatches, setting: SweepContext) -> Swept:
    """Clean, attacked and occluded predictions in one pass over the images."""
    options, rows = setting.options, Rows()
    for batch in progress(batches, len(batches), setting.label):
        images = batch.images.contiguous(memory_format=torch.channels_last)
        accepted = batch.labels[:, None]
        rows.add("positions", batch.index)
        rows.add("labels", batch.labels)
        if options.fgsm_epsilons:
            gradient = input_gradient(
                classify.model, images, batch.labels, loss=options.attack_loss, precision=classify.precision
            )
            answers = classify.choose(gradient.logits, accepted)
            rows.add("saturated", saturated(gradient.logits, batch.labels))
            rows.add("no_gradient", (gradient.of_images == 0).flatten(1).all(1))
            attacked = (fgsm(images, gradient.of_images, float(epsilon)) for epsilon in setting.grids["fgsm"])
            rows.add("fgsm", _each(classify, attacked, accepted))
        else:
            answers = classify(images, accepted)
        rows.add("clean", answers)
        names = [setting.index.ids[position] for position in batch.index.tolist()]
        if options.pgd_epsilons:
            rows.add("pgd", _pgd(classify, images, batch.labels, names, options))
        for attack in options.attacks:
            family = ATTACK_FAMILIES[attack]
            given = (classify, attack, images, batch.labels, answers, names)
            under = (
                attacked_answers(*given, epsilon=float(epsilon), options=options)
                for epsilon in setting.grids[family]
            )
            rows.add(family, torch.stack(list(under), dim=1))
        for kind in KINDS if options.occlusion_sizes else ():
            name = f"{kind}_occlusion"
            covered = (occlude(images, float(share), kind, setting.fill) for share in setting.grids[name])
            rows.add(name, _each(classify, covered, accepted))
        if options.patch_drop_shares:
            orders = patch_orders(setting.patches, names, options.patch_seed)
            dropped = (
                drop_patches(images, orders, float(share), options.patch_size, setting.fill)
                for share in setting.grids["patch_drop"]
            )
            rows.add("patch_drop", _each(classify, dropped, accepted))
        if options.patch_shuffle_grids:
            shuffled = (
                shuffle_patches(images, patch_orders(grid**2, names, options.patch_seed), grid)
                for grid in options.patch_shuffle_grids
            )
            rows.add("patch_shuffle", _each(classify, shuffled, accepted))
    arrays, failed = rows.together("positions", batches.failed, setting.index.ids)
    require_some_read(len(arrays.get("positions", ())), len(setting.index), setting.index.spec)
    positions, labels, clean = (arrays.pop(name) for name in ("positions", "labels", "clean"))
    notes = {name: arrays.pop(name).astype(bool) for name in NOTES if name in arrays}
    return Swept(positions, labels, clean, notes, arrays, failed)


def sweep_pairs(
    classify: Classifier, batches: ImageBatches, positions: NDArray[np.int64], setting: SweepContext
) -> dict[str, NDArray[np.int64]]:
    """Predictions (pairs, points) on in-between samples of the images at (pairs, 2) positions.

    Each pair is decoded once and mixed on the device at every point of the grids.

    Raises:
        EvalSuiteError: if an image can no longer be read.
    """
    part = own_share()
    places = torch.arange(len(positions)).split(setting.batch_size)[part.first :: part.of]
    # B first images, then their B second ones.
    chunks = [torch.from_numpy(positions[place.numpy()]).T.reshape(-1) for place in places]
    rows = Rows()
    read = progress(batches.at(chunks), len(chunks), f"{setting.label} (pairs)")
    for chunk, place, batch in zip(chunks, places, read, strict=False):
        if len(batch.labels) != len(chunk):
            raise EvalSuiteError(
                "some images could be read once, but not a second time; check with: eval-suite data check"
            )
        images = batch.images.contiguous(memory_format=torch.channels_last)
        first, second = images.chunk(2)
        accepted = torch.stack(batch.labels.chunk(2), dim=1)
        rows.add("pairs", place)
        for name, mix in (("mixup", mixup_between), ("cutmix", cutmix_between)):
            if len(setting.grids[name]):
                mixed = (mix(first, second, float(share)) for share in setting.grids[name])
                rows.add(name, _each(classify, mixed, accepted))
    arrays = rows.together("pairs").arrays
    del arrays["pairs"]
    return arrays


def sweep_corrupted(classify: Classifier, swept: Swept, setting: SweepContext) -> Corruptions:
    """Predictions on the images of a sweep under every corruption and severity."""
    batches, rows = setting.corrupted(swept.positions, share=own_share()), Rows()
    for images, at in progress(batches, len(batches), f"{setting.label} (corruptions)"):
        count, versions = images.shape[:2]
        flat = images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        own = torch.from_numpy(swept.labels[at.numpy()]).to(images.device).repeat_interleave(versions)
        rows.add("rows", at)
        rows.add("predicted", classify(flat, own[:, None]).view(count, versions))
    names, severities = setting.corruptions, setting.options.severities
    predicted = rows.together("rows").arrays["predicted"].reshape(-1, len(names), len(severities))
    return Corruptions(predicted, names, severities)


def _pgd(
    classify: Classifier, images: Tensor, labels: Tensor, names: list[str], options: RobustnessOptions
) -> Tensor:
    """Predictions (B, ε) under the strongest restart: one that fools the network, if any does."""
    found = []
    for text, step_size in zip(options.pgd_epsilons, options.step_sizes(), strict=True):
        predicted = labels
        for restart in range(options.pgd_restarts):
            seeds = item_seeds(names, restart, *([options.pgd_seed] if options.pgd_seed else []), _START)
            start = random_starts(images.shape[1:], seeds).to(images.device)
            attacked = pgd(
                classify.model,
                images,
                labels,
                epsilon=fraction(text),
                step_size=step_size,
                steps=options.pgd_steps,
                start=start,
                loss=options.attack_loss,
                precision=classify.precision,
            )
            said = classify(attacked, labels[:, None])
            predicted = torch.where(predicted == labels, said, predicted)
        found.append(predicted)
    return torch.stack(found, dim=1)


def _each(classify: Classifier, versions: Iterator[Tensor], accepted: Tensor) -> Tensor:
    return torch.stack([classify(images, accepted) for images in versions], dim=1)


class Together(NamedTuple):
    """Arrays by name, and the names of unreadable images."""

    arrays: dict[str, NDArray[np.int64]]
    failed: list[str]


class Rows:
    """Results by name, left on the device batch by batch and fetched together at the end."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Tensor]] = {}

    def add(self, name: str, part: Tensor) -> None:
        """Keep the rows of a batch."""
        self._parts.setdefault(name, []).append(part)

    def together(self, order: str, failed: Sequence[str] = (), names: Sequence[str] = ()) -> Together:
        """The rows of all processes, sorted by those called ``order``; see `gathered` for the rest."""
        mine = {name: torch.cat(parts).cpu().numpy() for name, parts in self._parts.items()}
        found = gathered(mine, order, failed, names)
        return Together(found.columns, found.failed)
