"""The same draws give what timm and torchvision give, where they have the method; where theirs is another, by how much."""

from math import atan, degrees
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from timm.data.mixup import Mixup as TimmMixup
from timm.data.mixup import mixup_target, rand_bbox
from timm.loss import JsdCrossEntropy
from torch import Generator, Tensor
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as tv

from eval_suite.training.regularizers import AugMix, CutMix, Either, LabelSmoothing, Mixup, mixing
from eval_suite.training.regularizers import _operations as operations
from eval_suite.training.regularizers.boxes import cutmix_box
from tests.training.mixtures import context

N, HEIGHT, WIDTH = 6, 20, 32
LABELS = torch.tensor([0, 3, 1, 1, 2, 0])


def photographs() -> Tensor:
    return torch.rand(N, 3, HEIGHT, WIDTH, generator=Generator().manual_seed(0))


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the mixers draw: an order, lambdas, and places."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(mixing, "permutation", lambda n, _: given["order"])
    monkeypatch.setattr(mixing, "beta", lambda _a, _g: float(given["lambdas"][0]))
    monkeypatch.setattr(
        mixing, "betas", lambda _a, _n, _g: torch.as_tensor(given["lambdas"], dtype=torch.float64)
    )
    places = {WIDTH: "x", HEIGHT: "y"}
    monkeypatch.setattr(mixing, "integers", lambda high, _n, _g: torch.as_tensor(given[places[high]]))
    return given


def lambdas(even: bool) -> list[float]:
    """Lambdas of boxes, both sides of which are even, or not."""
    found = np.random.default_rng(0).random(60)
    sides = [(int(HEIGHT * np.sqrt(1 - one)), int(WIDTH * np.sqrt(1 - one))) for one in found]
    return [
        float(lam)
        for lam, (tall, wide) in zip(found, sides, strict=True)
        if even == (tall % 2 == wide % 2 == 0)
    ]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("mixer", ["mixup", "cutmix"])
def test_timms_mixup_and_cutmix_of_a_batch(
    mixer: str, smoothing: float, draws: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    draws["order"] = torch.arange(N - 1, -1, -1)
    chosen = lambdas(even=True)
    assert len(chosen) > 8
    for seed, lam in enumerate(chosen):
        random = np.random.RandomState(seed)
        draws.update(lambdas=[lam], y=[random.randint(0, HEIGHT)], x=[random.randint(0, WIDTH)])
        theirs = TimmMixup(
            mixup_alpha=float(mixer == "mixup"),
            cutmix_alpha=float(mixer == "cutmix"),
            label_smoothing=smoothing,
            num_classes=5,
        )
        monkeypatch.setattr(theirs, "_params_per_batch", lambda lam=lam: (lam, mixer == "cutmix"))
        np.random.seed(seed)
        images, targets = theirs(photographs(), LABELS)
        mixed = Either(of=(mixer,)).apply(photographs(), F.one_hot(LABELS, 5).float(), context())  # type: ignore[arg-type]
        smoothed = LabelSmoothing(epsilon=smoothing).apply(*mixed, context())
        torch.testing.assert_close(smoothed.images, images, rtol=0, atol=2e-7)
        torch.testing.assert_close(smoothed.targets, targets, rtol=0, atol=2e-7)


@pytest.mark.parametrize("mixer", [Mixup(per_sample=True), CutMix(per_sample=True)])
def test_timms_mixup_and_cutmix_of_each_image(
    mixer: Mixup | CutMix, draws: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lam = np.array(lambdas(even=True)[:N], dtype=np.float32)
    random = np.random.RandomState(3)
    places = [(random.randint(0, HEIGHT), random.randint(0, WIDTH)) for _ in range(N)]
    y, x = zip(*places, strict=True)
    draws.update(order=torch.arange(N - 1, -1, -1), lambdas=lam, x=x, y=y)
    theirs = TimmMixup(label_smoothing=0.0, num_classes=5, mode="elem")
    monkeypatch.setattr(
        theirs, "_params_per_elem", lambda n: (lam.copy(), np.full(n, mixer.name == "cutmix"))
    )
    np.random.seed(3)
    images, targets = theirs(photographs(), LABELS)
    found = mixer.apply(photographs(), F.one_hot(LABELS, 5).float(), context())
    torch.testing.assert_close(found.images, images, rtol=0, atol=2e-7)
    torch.testing.assert_close(found.targets, targets, rtol=0, atol=2e-7)


def test_timms_box_has_the_pixel_that_the_authors_lose_of_an_odd_side() -> None:
    for lam in (*lambdas(even=True), *lambdas(even=False)):
        # In the middle of an image so large that nothing is clipped.
        height, width = 3 * HEIGHT, 3 * WIDTH
        np.random.seed(0)
        y, x = np.random.randint(0, height), np.random.randint(0, width)
        np.random.seed(0)
        y0, y1, x0, x1 = (int(one) for one in rand_bbox((height, width), 1 - (1 - lam) / 9))
        box = cutmix_box(height, width, 1 - (1 - lam) / 9, x, y)
        assert (box.x0, box.y0) == (x0, y0)
        ratio = np.sqrt((1 - lam) / 9)
        odd = int(width * ratio) % 2, int(height * ratio) % 2
        assert (x1 - box.x1, y1 - box.y1) == (
            odd[0] * (x + (int(width * ratio) + 1) // 2 <= width),
            odd[1] * (y + (int(height * ratio) + 1) // 2 <= height),
        )


def test_timms_labels_are_mixed_and_smoothed_alike() -> None:
    smoothed = LabelSmoothing(epsilon=0.2).apply(photographs(), F.one_hot(LABELS, 5).float(), context())
    mixed = 0.3 * smoothed.targets + 0.7 * smoothed.targets.flip(0)
    torch.testing.assert_close(mixed, mixup_target(LABELS, 5, 0.3, 0.2))


def test_torchvisions_mixup_and_cutmix(draws: dict[str, Any]) -> None:
    draws["order"] = torch.arange(N).roll(1)
    for seed in range(20):
        images, labels = photographs(), F.one_hot(LABELS, 5).float()
        for theirs, ours in ((v2.MixUp(num_classes=5), Mixup()), (v2.CutMix(num_classes=5), CutMix())):
            torch.manual_seed(seed)
            expected = theirs(images.clone(), LABELS)
            torch.manual_seed(seed)
            draws["lambdas"] = [float(theirs._dist.sample(()))]
            draws["x"], draws["y"] = torch.randint(WIDTH, (1,)), torch.randint(HEIGHT, (1,))
            found = ours.apply(images.clone(), labels, context())
            torch.testing.assert_close(found.images, expected[0], rtol=0, atol=2e-7)
            torch.testing.assert_close(found.targets, expected[1], rtol=0, atol=2e-7)


def test_timms_loss_of_augmix() -> None:
    logits = torch.randn(12, 5, generator=Generator().manual_seed(0)) * 3
    labels = torch.tensor([0, 4, 2, 1])
    # Theirs has all images, then all first views, then all second ones.
    in_blocks = torch.cat([logits[view::3] for view in range(3)])
    expected = JsdCrossEntropy(num_splits=3, alpha=12, smoothing=0)(in_blocks, labels.repeat(3))
    targets = F.one_hot(labels, 5).float().repeat_interleave(3, 0)
    torch.testing.assert_close(AugMix().criterion(None)(logits, targets), expected, rtol=0, atol=1e-6)


def test_torchvisions_operations_of_augmix() -> None:
    pixels: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
    image, bilinear = Image.fromarray(pixels), InterpolationMode.BILINEAR
    # A level at which no pixel is read from a border exactly, where rounding decides.
    level, shear, shift = 3.7, degrees(atan(0.111)), (4, 2)

    def moved(translate: list[int], shears: list[float]) -> Any:
        return tv.affine(image, 0, translate, 1, shears, interpolation=bilinear, center=[0, 0])

    expected = {
        "autocontrast": tv.autocontrast(image),
        "equalize": tv.equalize(image),
        "posterize": tv.posterize(image, 3),
        "rotate": tv.rotate(image, 11, interpolation=bilinear),
        "solarize": tv.solarize(image, 256 - 94),
        "shear_x": moved([0, 0], [shear, 0.0]),
        "shear_y": moved([0, 0], [0.0, shear]),
        "translate_x": moved([-shift[0], 0], [0.0, 0.0]),
        "translate_y": moved([0, -shift[1]], [0.0, 0.0]),
    }
    assert {one.__name__ for one in operations.OPERATIONS} == set(expected)
    for name, theirs in expected.items():
        ours = getattr(operations, name)(image, level, 1)
        assert np.abs(np.asarray(ours, int) - np.asarray(theirs, int)).max() == 0, name
