"""The variants of CutMix in Table 8, per-sample mixing, and label smoothing."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from eval_suite.training.regularizers import (
    Context,
    CutMix,
    Cutout,
    HideAndSeek,
    LabelSmoothing,
    Mixup,
    Regularizer,
    Shard,
)


def context(seed: int = 0, progress: float = 0.0, share: Shard | None = None) -> Context:
    return Context(Generator().manual_seed(seed), torch.full((3,), 0.5), progress, share or Shard())


def constant_images(n: int, side: int) -> Tensor:
    """Image i is i + 1 everywhere, so that each pixel tells where it came from."""
    return torch.arange(1.0, n + 1).view(n, 1, 1, 1).expand(n, 3, side, side).clone()


def pasted(images: Tensor) -> Tensor:
    """(N, H, W) bool: where a batch of `constant_images` is another image."""
    return images[:, 0] != torch.arange(1.0, len(images) + 1).view(-1, 1, 1)


def batches(regularizer: Regularizer, n: int, side: int, seeds: int) -> list[tuple[Tensor, Tensor]]:
    """Where images are pasted and the weights of their own labels, for batches that differ in their seed."""
    found = []
    for seed in range(seeds):
        images, targets = regularizer.apply(constant_images(n, side), torch.eye(n), context(seed))
        found.append((pasted(images), targets.diagonal()))
    return found


def test_fixed_size_boxes_have_the_size_whatever_lambda_and_are_weighed_by_their_clipped_area() -> None:
    whole = 0
    for where, own in batches(CutMix(size=16), 8, 32, 40):
        for mask, weight in zip(where, own, strict=True):
            if not mask.any():
                continue
            rows, columns = int(mask.any(1).sum()), int(mask.any(0).sum())
            assert rows in range(8, 17)
            assert columns in range(8, 17)
            assert weight.item() == pytest.approx(1 - rows * columns / 1024, abs=1e-6)
            whole += (rows, columns) == (16, 16)
    assert whole > 10


def test_gaussian_centres_lie_around_the_middle() -> None:
    def moments(regularizer: CutMix) -> tuple[float, float]:
        drawn = (
            torch.cat([regularizer._centres(64, 100, Generator().manual_seed(s)) for s in range(60)]) + 0.5
        )
        return float(drawn.mean()), float(drawn.std())

    mean, spread = moments(CutMix(centre="gaussian", sigma=0.1))
    # 6,000 draws: five standard errors of the mean are 0.41, of the standard deviation 0.29.
    assert mean == pytest.approx(32, abs=0.42)
    assert spread == pytest.approx(6.4, abs=0.3)
    assert moments(CutMix())[1] == pytest.approx(64 / math.sqrt(12), abs=0.9)
    wide = CutMix(centre="gaussian", sigma=5.0)._centres(10, 1000, Generator().manual_seed(0))
    assert (wide.min(), wide.max()) == (0, 9)


def test_one_hot_and_complete_labels() -> None:
    dominant = batches(CutMix(labels="one-hot"), 8, 32, 30)
    for (where, own), (_, mixed) in zip(dominant, batches(CutMix(), 8, 32, 30), strict=True):
        moved = where.any((1, 2))
        assert set(own[moved].tolist()) <= {0.0, 1.0}
        assert torch.equal(own[moved], (mixed[moved] >= 0.5).float())
    assert {value for _, own in dominant for value in own.tolist()} == {0.0, 1.0}
    for where, own in batches(CutMix(labels="complete"), 8, 32, 10):
        assert (own[where.any((1, 2))] == 0.5).all()
    for labels in ("one-hot", "complete"):
        _, targets = CutMix(labels=labels).apply(constant_images(8, 32), torch.eye(8), context(3))
        torch.testing.assert_close(targets.sum(1), torch.ones(8))


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_scheduled_cutmix_mixes_with_the_share_of_the_training_that_is_behind(progress: float) -> None:
    n, regularizer = 1500, CutMix(prob=0.8, schedule="linear")
    generator, images, targets = Generator().manual_seed(1), torch.zeros(2, 1, 4, 4), torch.eye(2)
    acted = sum(
        regularizer.apply(images, targets, Context(generator, torch.zeros(3), progress)).targets
        is not targets
        for _ in range(n)
    )
    expected = 0.8 * progress
    assert acted / n == pytest.approx(
        expected, abs=4 * math.sqrt(max(expected * (1 - expected), 0) / n) + 1e-12
    )


def test_per_sample_cutmix_gives_each_image_its_own_box_and_exact_weight() -> None:
    n = 32
    images, targets = CutMix(per_sample=True).apply(constant_images(n, 32), torch.eye(n), context(4))
    where = pasted(images)
    assert len({tuple(mask.flatten().tolist()) for mask in where if mask.any()}) > 20
    for i, mask in enumerate(where):
        assert mask.any(1).sum() * mask.any(0).sum() == mask.sum()
        if mask.any():
            partner = int(images[i, 0][mask].unique().item()) - 1
            assert targets[i, i].item() == pytest.approx(1 - mask.float().mean().item(), abs=1e-6)
            assert targets[i, partner].item() == pytest.approx(mask.float().mean().item(), abs=1e-6)
    torch.testing.assert_close(targets.sum(1), torch.ones(n))


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_per_sample_mixup_gives_each_image_its_own_lambda(alpha: float) -> None:
    n = 40
    images, targets = Mixup(alpha=alpha, per_sample=True).apply(
        constant_images(n, 4), torch.eye(n), context(4)
    )
    own = targets.diagonal()
    assert len(set(own.tolist())) > 30
    torch.testing.assert_close(images[:, 0, 0, 0], targets @ torch.arange(1.0, n + 1))
    torch.testing.assert_close(targets.sum(1), torch.ones(n))


@pytest.mark.parametrize(
    "kind",
    [CutMix(), CutMix(per_sample=True), Mixup(), Mixup(per_sample=True), Cutout(size=8), HideAndSeek((4, 8))],
)
def test_what_a_part_of_the_batch_sees_is_what_the_whole_batch_would_have_given_it(
    kind: Regularizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.rand(8, 3, 16, 16, generator=Generator().manual_seed(0))
    whole = kind.apply(images.clone(), torch.eye(8), context(5))
    for rank in (0, 1):
        share = Shard(rank, 2)
        part = share.mine(4)

        def partners(self: Shard, rows: Tensor, order: Tensor) -> Tensor:
            # What the other process would send, made from the same batch: the same box, cut out of all rows.
            everything = {4: images, 8: torch.eye(8)}[3 + 1 if rows.ndim == 4 else 8]
            if rows.ndim == 4 and rows.shape[2:] != (16, 16):
                everything = boxes(rows)
            return everything[order[self.mine(len(rows))]]

        def boxes(rows: Tensor) -> Tensor:
            height, width = rows.shape[2:]
            windows = images.unfold(2, height, 1).unfold(3, width, 1)
            at = next(
                (y, x)
                for y in range(windows.shape[2])
                for x in range(windows.shape[3])
                if torch.equal(windows[part][:, :, y, x], rows)  # noqa: B023 - called in this round only
            )
            return windows[:, :, at[0], at[1]]

        monkeypatch.setattr(Shard, "partners", partners)
        found = kind.apply(images[part].clone(), torch.eye(8)[part], context(5, share=share))
        torch.testing.assert_close(found.images, whole.images[part], rtol=0, atol=0)
        torch.testing.assert_close(found.targets, whole.targets[part], rtol=0, atol=0)


def test_label_smoothing_is_torchs_and_commutes_with_mixing() -> None:
    generator = Generator().manual_seed(0)
    logits, labels = torch.randn(6, 10, generator=generator), torch.randint(10, (6,), generator=generator)
    smoothing, one_hot = LabelSmoothing(0.1), F.one_hot(labels, 10).float()
    images = torch.zeros(6, 3, 8, 8)
    _, targets = smoothing.apply(images, one_hot, context())
    assert targets[0, labels[0]].item() == pytest.approx(0.91)
    assert targets.min().item() == pytest.approx(0.01)
    torch.testing.assert_close(
        F.cross_entropy(logits, targets), F.cross_entropy(logits, labels, label_smoothing=0.1)
    )
    first = Mixup().apply(images.clone(), targets, context(2)).targets
    last = smoothing.apply(
        images, Mixup().apply(images.clone(), one_hot, context(2)).targets, context()
    ).targets
    torch.testing.assert_close(first, last)
    torch.testing.assert_close(last.sum(1), torch.ones(6))
