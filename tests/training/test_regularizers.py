"""Mixing and erasing, against the published arithmetic, exact pixel counts and closed forms."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from torch import Generator, Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError
from eval_suite.core.parts import parts
from eval_suite.training.regularizers import (
    STAGES,
    Context,
    CutMix,
    Cutout,
    Mixed,
    Mixup,
    Regularizer,
    regularise,
)
from eval_suite.training.regularizers.boxes import Box, cutmix_box
from eval_suite.training.regularizers.draws import beta, integers, permutation, uniform

REGULARIZERS = parts("regularizer")
ON_IMAGES = [
    kind for kind in REGULARIZERS.values() if kind.stage in ("erase", "mix") and not kind().acts_on_network()
]
SIDES = st.integers(1, 70)
LAMBDAS = st.floats(0, 1)


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def context(seed: int = 0, fill: tuple[float, float, float] = (0.5, 0.5, 0.5)) -> Context:
    return Context(seeded(seed), torch.tensor(fill), progress=0.9)


def constant_images(n: int, height: int, width: int) -> Tensor:
    """Image i is i + 1 everywhere, so that each pixel tells where it came from."""
    return torch.arange(1.0, n + 1).view(n, 1, 1, 1).expand(n, 3, height, width).clone()


def one_hot(n: int) -> Tensor:
    """Each image is a class of its own, so that a target tells its two partners apart."""
    return torch.eye(n, dtype=torch.float64)


def official_rand_bbox(width: int, height: int, lam: float, cx: int, cy: int) -> tuple[int, int, int, int]:
    """The arithmetic of the authors' rand_bbox, with numpy as there."""
    cut_rat = np.sqrt(1.0 - lam)
    cut_w, cut_h = int(width * cut_rat), int(height * cut_rat)
    bbx1, bby1 = np.clip(cx - cut_w // 2, 0, width), np.clip(cy - cut_h // 2, 0, height)
    bbx2, bby2 = np.clip(cx + cut_w // 2, 0, width), np.clip(cy + cut_h // 2, 0, height)
    return int(bbx1), int(bby1), int(bbx2), int(bby2)


@given(st.data(), SIDES, SIDES, LAMBDAS)
def test_the_box_is_the_authors_box(data: st.DataObject, height: int, width: int, lam: float) -> None:
    cx, cy = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = cutmix_box(height, width, lam, cx, cy)
    assert tuple(box) == official_rand_bbox(width, height, lam, cx, cy)
    assert 0 <= box.x0 <= box.x1 <= width
    assert 0 <= box.y0 <= box.y1 <= height


@pytest.mark.parametrize(("height", "width"), [(7, 10), (32, 32)])
def test_the_box_is_the_authors_box_at_every_centre(height: int, width: int) -> None:
    for lam, cx, cy in itertools.product(np.linspace(0, 1, 23), range(width), range(height)):
        assert tuple(cutmix_box(height, width, lam, cx, cy)) == official_rand_bbox(width, height, lam, cx, cy)


def test_the_box_by_hand() -> None:
    assert cutmix_box(32, 32, 0.75, 16, 16) == Box(8, 8, 24, 24)
    assert cutmix_box(32, 64, 0.75, 0, 31) == Box(0, 23, 16, 32)
    assert cutmix_box(9, 9, 0.0, 4, 4) == Box(0, 0, 8, 8)  # odd sides lose one
    assert cutmix_box(32, 32, 1.0, 5, 6).area == 0
    assert Box(8, 8, 24, 23).area == 16 * 15


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 6), st.integers(2, 40), st.integers(2, 40), st.floats(0.1, 4))
def test_cutmix_pastes_one_box_of_the_partner_and_weighs_by_its_exact_area(
    seed: int, n: int, height: int, width: int, alpha: float
) -> None:
    before = constant_images(n, height, width)
    images, targets = CutMix(alpha=alpha).apply(before.clone(), one_hot(n), context(seed))
    values = images[:, 0]
    assert torch.equal(images, values.unsqueeze(1).expand_as(images))  # the same box in every channel
    for i in range(n):
        others = set(values[i].unique().long().tolist()) - {i + 1}
        assert len(others) <= 1
        pasted = values[i] != i + 1
        kept = 1 - pasted.double().mean()
        if others:
            (partner,) = others
            assert pasted.any(1).sum() * pasted.any(0).sum() == pasted.sum()  # a full rectangle
            assert targets[i, i].item() == pytest.approx(kept.item(), abs=1e-12)
            assert targets[i, partner - 1].item() == pytest.approx(1 - kept.item(), abs=1e-12)
        else:
            assert targets[i, i].item() == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(targets.sum(1), torch.ones(n, dtype=torch.float64), rtol=0, atol=1e-12)
    boxes = {tuple((values[i] != i + 1).flatten().tolist()) for i in range(n) if (values[i] != i + 1).any()}
    assert len(boxes) <= 1  # one box for the whole batch


def test_cutmix_pairs_by_a_permutation() -> None:
    n = 16
    for seed in range(20):
        images, targets = CutMix().apply(constant_images(n, 32, 32), one_hot(n), context(seed))
        area = [(images[i, 0] != i + 1).float().mean().item() for i in range(n)]
        if max(area) > 0:
            torch.testing.assert_close(targets.sum(0), torch.ones(n, dtype=torch.float64))
            partners = [
                int(images[i, 0].unique()[images[i, 0].unique() != i + 1][0]) for i in range(n) if area[i]
            ]
            assert len(set(partners)) == len(partners)


@pytest.mark.parametrize(("height", "width"), [(8, 40), (40, 8)])
def test_boxes_lie_all_over_an_image_that_is_not_square(height: int, width: int) -> None:
    pasted, n = torch.zeros(height, width), 600
    for seed in range(n):
        images, _ = CutMix().apply(constant_images(8, height, width), one_hot(8), context(seed))
        pasted += (images[:, 0] != torch.arange(1.0, 9).view(8, 1, 1)).any(0)
    share = pasted / n
    assert share.min() > 0.08
    # Mirror images are equally likely; the halves differ by less than five standard errors (sd of a half's share: 0.3).
    for axis in (0, 1):
        near, far = share.chunk(2, axis)
        assert near.mean().item() == pytest.approx(far.mean().item(), abs=5 * 0.3 * math.sqrt(2 / n))


def test_pixels_outside_the_box_are_untouched_and_inside_are_the_partners() -> None:
    generator = seeded(9)
    before = torch.rand(8, 3, 21, 34, generator=generator)
    moved = 0
    for seed in range(30):
        images, targets = CutMix().apply(before.clone(), one_hot(8), context(seed))
        order = (targets - torch.eye(8) * targets.diagonal().unsqueeze(1)).argmax(1)
        changed = (images != before).any(1).any(0)
        if not changed.any() or (targets.diagonal() == 1).any():
            continue
        rows, columns = (
            changed.any(1).nonzero()[[0, -1]].flatten(),
            changed.any(0).nonzero()[[0, -1]].flatten(),
        )
        inside = torch.zeros(21, 34, dtype=torch.bool)
        inside[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = True
        assert torch.equal(images[..., ~inside], before[..., ~inside])
        assert torch.equal(images[..., inside], before[order][..., inside])
        assert targets.diagonal()[0].item() == pytest.approx(1 - inside.double().mean().item(), abs=1e-12)
        moved += 1
    assert moved > 5


def lambdas(regularizer: Regularizer, side: int, draws: int, seed: int = 0) -> np.ndarray:
    """The share of its own label that an image keeps, over many batches of two that are always exchanged."""
    images, generator = torch.empty(2, 1, side, side), seeded(seed)
    kept = np.empty(draws)
    for i in range(draws):
        # Two images with targets 0 and 1: after mixing, the difference is |2 lam - 1| or, unpermuted, 1.
        targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
        _, mixed = regularizer.apply(images, targets, Context(generator, torch.zeros(3)))
        kept[i] = mixed[0, 0]
    return kept


@pytest.mark.parametrize(("side", "mean"), [(32, 0.700), (224, 0.682)])
def test_clipping_raises_the_mean_share_that_is_kept(side: int, mean: float) -> None:
    """Of 200,000 draws the adjusted lambda had the mean 0.700 at 32 pixels and 0.682 at 224, not one half."""
    generator, draws = seeded(1), 40_000
    lam = [beta(1.0, generator) for _ in range(draws)]
    centres = torch.randint(side, (draws, 2), generator=generator).tolist()
    kept = [
        1 - cutmix_box(side, side, share, x, y).area / side**2
        for share, (x, y) in zip(lam, centres, strict=True)
    ]
    # The standard deviation is 0.25, so five standard errors are 0.0063, and the reference is rounded to 0.0005.
    assert np.mean(kept) == pytest.approx(mean, abs=0.0068)


def test_a_batch_is_weighed_by_the_same_mean_share() -> None:
    # A batch of two is exchanged half of the time, so the mean is (1 + 0.700) / 2; sd < 0.24: 5 errors are 0.019.
    assert lambdas(CutMix(), 32, 4000).mean() == pytest.approx((1 + 0.700) / 2, abs=0.019)


def test_without_correction_the_labels_keep_the_lambda_drawn() -> None:
    n = 6
    differing = 0
    for seed in range(20):
        images, targets = CutMix(correct_lam=False).apply(
            constant_images(n, 32, 32), one_hot(n), context(seed)
        )
        corrected = CutMix().apply(constant_images(n, 32, 32), one_hot(n), context(seed))
        assert torch.equal(images, corrected.images)
        generator = seeded(seed)
        uniform(generator)  # whether to mix at all
        lam = beta(1.0, generator)
        order = permutation(n, generator)
        torch.testing.assert_close(targets, lam * one_hot(n) + (1 - lam) * one_hot(n)[order])
        differing += not torch.allclose(targets, corrected.targets, atol=1e-3)
    assert differing >= 10
    # E[lam] of Beta(1, 1) is 1/2; with half of the pairs exchanged 3/4, and 5 errors of sd 0.3 over 4000 are 0.024.
    assert lambdas(CutMix(correct_lam=False), 32, 4000).mean() == pytest.approx(0.75, abs=0.024)


@pytest.mark.parametrize("kind", [CutMix, Mixup])
def test_probability_zero_and_one(kind: Callable[..., Regularizer]) -> None:
    images = torch.rand(8, 3, 16, 16, generator=seeded(5))
    mixed = 0
    for seed in range(40):
        never = kind(prob=0.0).apply(images.clone(), one_hot(8), context(seed))
        assert torch.equal(never.images, images)
        assert torch.equal(never.targets, one_hot(8))
        mixed += not torch.equal(
            kind(prob=1.0).apply(images.clone(), one_hot(8), context(seed)).images, images
        )
    # A CutMix box may be empty (a few percent at 16 pixels), and the identity may be drawn.
    assert mixed >= 34


@pytest.mark.parametrize("kind", [CutMix, Mixup])
def test_the_share_of_mixed_batches_is_the_probability(kind: Callable[..., Regularizer]) -> None:
    generator, regularizer, n = seeded(2), kind(prob=0.3), 2000
    images, targets = torch.zeros(3, 1, 2, 2), torch.eye(3)
    mixed = 0
    for _ in range(n):
        result = regularizer.apply(images, targets, Context(generator, torch.zeros(3)))
        mixed += result.targets is not targets
    assert mixed / n == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / n))


@settings(deadline=None)
@given(st.integers(0, 2**31), st.floats(0.05, 8))
def test_mixup_is_its_formula(seed: int, alpha: float) -> None:
    before = torch.rand(5, 3, 4, 6, generator=seeded(1), dtype=torch.float64)
    images, targets = Mixup(alpha=alpha).apply(before.clone(), one_hot(5), context(seed))
    generator = seeded(seed)
    uniform(generator)
    lam = beta(alpha, generator)
    order = permutation(5, generator)
    torch.testing.assert_close(images, lam * before + (1 - lam) * before[order], rtol=0, atol=1e-12)
    torch.testing.assert_close(targets, lam * one_hot(5) + (1 - lam) * one_hot(5)[order], rtol=0, atol=1e-12)
    torch.testing.assert_close(targets.sum(1), torch.ones(5, dtype=torch.float64), rtol=0, atol=1e-12)
    assert images.min() >= 0
    assert images.max() <= 1


@pytest.mark.parametrize("kind", [CutMix, Mixup])
def test_a_batch_of_one_stays_what_it_is(kind: Callable[..., Regularizer]) -> None:
    image = torch.rand(1, 3, 8, 8)
    images, targets = kind().apply(image.clone(), torch.ones(1, 1), context(3))
    torch.testing.assert_close(images, image)
    torch.testing.assert_close(targets, torch.ones(1, 1))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.5])
def test_beta_is_distributed_as_scipys(alpha: float) -> None:
    generator = seeded(11)
    draws = [beta(alpha, generator) for _ in range(5000)]
    assert stats.kstest(draws, stats.beta(alpha, alpha).cdf).pvalue > 0.01
    assert all(0 <= draw <= 1 for draw in draws)


@pytest.mark.parametrize("alpha", [1e-3, 1e3])
def test_extreme_alphas_stay_within_bounds(alpha: float) -> None:
    generator = seeded(0)
    draws = np.array([beta(alpha, generator) for _ in range(200)])
    assert ((draws >= 0) & (draws <= 1)).all()
    inner = (draws > 0.01) & (draws < 0.99)
    assert inner.mean() == pytest.approx(0.0 if alpha < 1 else 1.0, abs=0.05)
    CutMix(alpha=alpha).apply(torch.rand(4, 3, 8, 8), torch.eye(4), context())


def test_the_draws_are_uniform() -> None:
    generator = seeded(0)
    assert stats.kstest([uniform(generator) for _ in range(3000)], "uniform").pvalue > 0.01
    counts = np.bincount(integers(7, 7000, generator).numpy(), minlength=7)
    assert stats.chisquare(counts).pvalue > 0.01
    first = np.bincount([int(permutation(5, generator)[0]) for _ in range(2000)], minlength=5)
    assert stats.chisquare(first).pvalue > 0.01
    assert sorted(permutation(9, generator).tolist()) == list(range(9))


def holes(images: Tensor, before: Tensor) -> Tensor:
    return (images != before).any(1)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 40), st.integers(5, 30), st.integers(5, 30))
def test_cutout_blanks_a_clipped_square_and_nothing_else(
    seed: int, size: int, height: int, width: int
) -> None:
    before = torch.full((6, 3, height, width), 0.9)
    targets = one_hot(6)
    images, kept = Cutout(size=size).apply(before.clone(), targets, context(seed, (0.1, 0.2, 0.3)))
    assert torch.equal(kept, targets)
    hole = holes(images, before)
    half = size // 2
    for i in range(6):
        rows, columns = hole[i].any(1).nonzero().flatten(), hole[i].any(0).nonzero().flatten()
        assert len(rows) * len(columns) == hole[i].sum()
        for found, length in ((rows, height), (columns, width)):
            low, high = int(found[0]), int(found[-1]) + 1
            possible = {(max(c - half, 0), min(c + half, length)) for c in range(length)}
            assert (low, high) in possible
    filled = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)
    torch.testing.assert_close(images, torch.where(hole.unsqueeze(1), filled, before), rtol=0, atol=0)


def test_each_image_has_its_own_hole() -> None:
    before = torch.full((64, 3, 32, 32), 0.9)
    hole = holes(Cutout(size=8).apply(before.clone(), one_hot(64), context()).images, before)
    assert len({tuple(one.flatten().tolist()) for one in hole}) > 50
    rows, columns = hole.any(2).float().argmax(1), hole.any(1).float().argmax(1)
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.4


def erased_fraction(size: int, length: int) -> float:
    """Mean length of the clipped interval over all centres, as a fraction: brute force."""
    half = size // 2
    return float(np.mean([min(c + half, length) - max(c - half, 0) for c in range(length)])) / length


@pytest.mark.parametrize(("size", "height", "width"), [(16, 32, 32), (9, 20, 31), (112, 32, 24)])
def test_the_erased_share_is_that_over_all_centres(size: int, height: int, width: int) -> None:
    before = torch.ones(4000, 3, height, width)
    images = Cutout(size=size).apply(before, one_hot(1), context(4, (0.0, 0.0, 0.0))).images
    expected = erased_fraction(size, height) * erased_fraction(size, width)
    shares = (images == 0).double().mean((1, 2, 3))
    error = float(shares.std()) / math.sqrt(4000)
    assert shares.mean().item() == pytest.approx(expected, abs=4 * error + 1e-9)
    if (size, height, width) == (16, 32, 32):
        # Closed form: (L - L^2 / 4n) / n per side for an even L <= n, the sum over all clipped intervals.
        assert expected == pytest.approx(((16 - 16**2 / (4 * 32)) / 32) ** 2, abs=1e-12)


def test_the_fill_is_exactly_zero_for_the_network() -> None:
    mean, std = (125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255)
    card = BackboneCard(name="b", source="", arch="a", classes=[], input_size=(32, 32), mean=mean, std=std)
    backbone = Backbone(torch.nn.Identity(), card)
    before = torch.rand(8, 3, 32, 32, generator=seeded(0))
    images = Cutout().apply(before.clone(), one_hot(8), Context(seeded(1), backbone.mean.flatten())).images
    hole = holes(images, before).unsqueeze(1).expand_as(images)
    assert hole.any()
    assert not backbone.normalise(images)[hole].any()


@pytest.mark.parametrize("kind", ON_IMAGES)
def test_the_same_seed_gives_the_same_batch_and_another_seed_another(kind: type[Regularizer]) -> None:
    images = torch.rand(8, 3, 32, 32, generator=seeded(0))

    def mixed(seed: int) -> Mixed:
        torch.manual_seed(torch.seed() % 2**32)  # the global generator plays no part
        return kind().apply(images.clone(), one_hot(8), context(seed))

    one, same, other = mixed(7), mixed(7), mixed(8)
    assert torch.equal(one.images, same.images)
    assert torch.equal(one.targets, same.targets)
    assert not torch.equal(one.images, other.images)


@pytest.mark.parametrize("kind", ON_IMAGES)
def test_memory_layout_and_type_are_kept_and_do_not_matter(kind: type[Regularizer]) -> None:
    images = torch.rand(4, 3, 16, 24, generator=seeded(0))
    plain = kind().apply(images.clone(), torch.eye(4), context(3))
    last = kind().apply(
        images.clone().contiguous(memory_format=torch.channels_last), torch.eye(4), context(3)
    )
    assert torch.equal(plain.images, last.images)
    assert plain.images.dtype == plain.targets.dtype == torch.float32
    assert plain.images.shape == (4 * kind.views, 3, 16, 24)


def test_without_regularizers_labels_stay_labels() -> None:
    images, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 2, 1, 0])
    found = regularise([], images, labels, 3, seeded(), torch.zeros(3))
    assert found.images is images
    assert found.targets is labels


def test_regularizers_are_applied_in_order_with_one_generator() -> None:
    images, labels = torch.rand(6, 3, 16, 16, generator=seeded(0)), torch.tensor([0, 2, 1, 0, 1, 2])
    chain: list[Regularizer] = [Cutout(size=6), CutMix()]
    found = regularise(chain, images.clone(), labels, 4, seeded(5), torch.full((3,), 0.25))
    by_hand = context(5, (0.25, 0.25, 0.25))
    targets = torch.zeros(6, 4).scatter_(1, labels[:, None], 1.0)
    erased = chain[0].apply(images.clone(), targets, by_hand)
    expected = chain[1].apply(erased.images, erased.targets, by_hand)
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.targets, expected.targets)
    assert found.targets.shape == (6, 4)
    other = regularise(chain[::-1], images.clone(), labels, 4, seeded(5), torch.full((3,), 0.25))
    assert not torch.equal(other.images, found.images)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (CutMix, {"alpha": 0}),
        (CutMix, {"alpha": -1}),
        (CutMix, {"prob": 1.1}),
        (CutMix, {"prob": -0.1}),
        (CutMix, {"probability": 1}),
        (Mixup, {"alpha": float("nan")}),
        (Cutout, {"size": 1}),
        (Cutout, {"size": 3.5}),
    ],
)
def test_wrong_hyper_parameters_are_refused(
    kind: Callable[..., Regularizer], options: dict[str, float]
) -> None:
    with pytest.raises(ValidationError):
        kind(**options)


def test_the_table_of_regularizers_names_each_by_its_own_name_and_paper() -> None:
    for name, kind in REGULARIZERS.items():
        assert kind.name == name
        assert kind.stage in STAGES
        assert kind.paper.title
        assert kind.paper.url.startswith("https://")
        assert kind.__doc__


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.rand(3, 3, 8, 8).mul(255).byte(), torch.arange(3)),
        (torch.rand(3, 8, 8), torch.arange(3)),
        (torch.rand(3, 3, 8, 8), torch.eye(3)),
        (torch.rand(3, 3, 8, 8), torch.rand(3)),
        (torch.rand(3, 3, 8, 8), torch.arange(2)),
        (torch.rand(3, 3, 8, 8), torch.arange(3) + 1),
        (torch.rand(3, 3, 8, 8), torch.arange(3) - 1),
        (torch.rand(3, 3, 8, 8), np.arange(3)),
    ],
)
def test_images_and_labels_of_another_form_are_refused(images: Tensor, labels: Any) -> None:
    with pytest.raises(InputError):
        CutMix()(images, labels, num_classes=3, generator=seeded())


def test_labels_may_be_any_whole_numbers() -> None:
    batch, labels = torch.rand(3, 3, 8, 8), torch.arange(3)
    wide, narrow = (Mixup()(batch, y, num_classes=3, generator=seeded()) for y in (labels, labels.byte()))
    assert torch.equal(wide.targets, narrow.targets)
    assert CutMix()(batch[:0], labels[:0], num_classes=3, generator=seeded()).targets.shape == (0, 3)
