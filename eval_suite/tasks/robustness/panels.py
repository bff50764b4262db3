"""Strips of pictures: a few items under each perturbation, the same ones for every backbone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.data.loading import ImageBatches
from eval_suite.data.pictures import save_pictures
from eval_suite.tasks.robustness.attacks import fgsm, input_gradient
from eval_suite.tasks.robustness.context import SweepContext
from eval_suite.tasks.robustness.examples import CORRUPTION, PANELS, shown_items, shown_points, strip_name
from eval_suite.tasks.robustness.in_between import cutmix_between, mixup_between
from eval_suite.tasks.robustness.occlusion import KINDS, occlude
from eval_suite.tasks.robustness.patches import drop_patches, patch_orders, shuffle_patches
from eval_suite.tasks.robustness.predictions import Predictions
from eval_suite.tasks.robustness.sweep import Swept

_PANEL_SIDE, _GAP = 112, 4


def write_panels(
    folder: Path,
    network: Backbone,
    batches: ImageBatches,
    found: Predictions,
    swept: Swept,
    setting: SweepContext,
) -> None:
    """Write the strips of a few items as PNG into ``examples/``.

    Args:
        folder: the task's folder.
        network: the backbone, on its device.
        batches: the images.
        found: what was predicted.
        swept: where its items are, and their labels.
        setting: how the images were perturbed.
    """
    positions = swept.positions
    rows = shown_items(len(positions))
    pictures: dict[str, Image.Image] = {}
    grids = setting.grids
    for row in rows:
        item = found.ids[row]
        image = _at(batches, positions[row])
        if "fgsm" in found.families:
            epsilon = float(grids["fgsm"][-1])
            label = torch.tensor([swept.labels[row]], device=image.device)
            gradient = input_gradient(network, image, label, loss=setting.options.attack_loss)
            attacked = fgsm(image, gradient.of_images, epsilon)
            enhanced = (attacked - image) / (2 * max(epsilon, 1e-6)) + 0.5
            pictures[strip_name("fgsm", item)] = strip([image, enhanced, attacked])
        for kind in KINDS:
            name = f"{kind}_occlusion"
            if name in found.families:
                chosen = grids[name][shown_points(len(grids[name]))]
                covered = [occlude(image, float(share), kind, setting.fill) for share in chosen]
                pictures[strip_name(name, item)] = strip(covered)
        if "patch_drop" in found.families:
            points = grids["patch_drop"][shown_points(len(grids["patch_drop"]))]
            orders = patch_orders(setting.patches, [item], setting.options.patch_seed)
            side = setting.options.patch_size
            dropped = [drop_patches(image, orders, float(share), side, setting.fill) for share in points]
            pictures[strip_name("patch_drop", item)] = strip(dropped)
        if "patch_shuffle" in found.families:
            sizes = [int(grid) for grid in grids["patch_shuffle"][shown_points(len(grids["patch_shuffle"]))]]
            seed = setting.options.patch_seed
            shuffled = [shuffle_patches(image, patch_orders(grid**2, [item], seed), grid) for grid in sizes]
            pictures[strip_name("patch_shuffle", item)] = strip(shuffled)
        if len(found.pairs):
            partner = found.pairs[np.flatnonzero(found.pairs[:, 0] == row)[0], 1]
            other = _at(batches, positions[partner])
            for name, mix in (("mixup", mixup_between), ("cutmix", cutmix_between)):
                if name in found.families:
                    chosen = grids[name][shown_points(len(grids[name]))]
                    mixed = [mix(image, other, float(share)) for share in chosen]
                    pictures[strip_name(name, item)] = strip(mixed)
    if found.corruptions is not None:
        kinds = shown_points(len(found.corruptions.names))
        strongest = [(found.corruptions.names[kind], found.corruptions.severities[-1]) for kind in kinds]
        for images, at in setting.corrupted(positions[rows], strongest):
            for own, row in zip(images, rows[at.numpy()], strict=True):
                pictures[strip_name(CORRUPTION, found.ids[row])] = strip(list(own[:, None]))
    save_pictures(folder / "examples", pictures, longest_side=PANELS * (_PANEL_SIDE + _GAP))


def strip(panels: Sequence[Tensor]) -> Image.Image:
    """Images (1, 3, H, W) in [0, 1] side by side, none with a side above 112 pixels."""
    images = []
    for panel in panels:
        pixels = panel[0].clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0)
        images.append(Image.fromarray(pixels.cpu().numpy()))
        images[-1].thumbnail((_PANEL_SIDE, _PANEL_SIDE))
    width = sum(image.width for image in images) + _GAP * (len(images) - 1)
    whole = Image.new("RGB", (width, max(image.height for image in images)), "white")
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width + _GAP
    return whole


def _at(batches: ImageBatches, position: np.int64) -> Tensor:
    return next(batches.at([torch.tensor([int(position)])])).images
