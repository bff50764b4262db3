"""AutoAttack's parts on linear networks, where the smallest ε that fools is known, and next to foolbox on a sure network."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eval_suite.core.errors import InputError
from eval_suite.tasks.robustness.apgd import apgd, dlr, targeted_dlr
from eval_suite.tasks.robustness.attacks import random_starts
from eval_suite.tasks.robustness.auto_attack import attacked_answers
from eval_suite.tasks.robustness.fab import onto_plane
from eval_suite.tasks.robustness.options import ATTACKS, AttackName, RobustnessOptions
from eval_suite.tasks.robustness.square import square
from eval_suite.tasks.robustness.sweep import Classifier

CPU = torch.device("cpu")
NAMES = list(ATTACKS)


def linear(classes: int = 5, side: int = 4, scale: float = 1.0, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layer = nn.Linear(3 * side * side, classes)
    with torch.no_grad():
        layer.weight.copy_(scale * torch.randn(layer.weight.shape))
        layer.bias.copy_(-0.5 * layer.weight.sum(1) + scale * torch.randn(classes))
    return nn.Sequential(nn.Flatten(), layer).eval()


def images_and_labels(net: nn.Module, n: int = 16, side: int = 4) -> tuple[Tensor, Tensor]:
    """Images away from 0 and 1, so that no ε below 0.1 meets a bound, with the network's answers as labels."""
    images = 0.1 + 0.8 * torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return images, net(images).argmax(1)


def smallest_epsilons(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The closed form: a class j is level with y at ε = (z_y - z_j) / |w_y - w_j|_1, and the nearest j decides."""
    layer = net[1]  # type: ignore[index]
    logits = net(images)
    margins = logits.gather(1, labels[:, None]) - logits
    norms = (layer.weight[labels][:, None] - layer.weight[None]).abs().sum(2)
    ratios = (margins / norms).scatter(1, labels[:, None], torch.inf)
    return ratios.amin(1).detach()


def answers(
    net: nn.Module,
    name: AttackName,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    names: Sequence[str] | None = None,
    **options: Any,
) -> Tensor:
    chosen = RobustnessOptions(data="x", **{"attack_steps": 40, "square_queries": 300, **options})
    classify = Classifier(net, "fp32", CPU)
    named = names or [str(i) for i in range(len(images))]
    clean = classify(images, labels[:, None])
    return attacked_answers(classify, name, images, labels, clean, named, epsilon=epsilon, options=chosen)


@pytest.mark.parametrize("scale", [1.0, 300.0])
@pytest.mark.parametrize(
    ("name", "classes", "enough"),
    [
        ("apgd-ce", 2, 1.02),
        ("fab-t", 5, 1.02),
        ("autoattack", 5, 1.02),
        # Their direction mixes classes: that of the rival, and those in the denominator.
        ("apgd-dlr", 5, 1.5),
        ("apgd-t", 5, 1.5),
    ],
)
def test_a_linear_network_is_fooled_from_the_closed_forms_epsilon_on(
    name: AttackName, classes: int, enough: float, scale: float
) -> None:
    """Also where float32 rounds every probability to 1: 300 times the logits are some hundred nats apart."""
    net = linear(classes, scale=scale)
    images, labels = images_and_labels(net)
    needed = smallest_epsilons(net, images, labels)
    near = needed[needed < 0.06].sort().values.tolist()
    assert len(near) >= 8
    assert near[0] > 0
    for least in (near[0], near[len(near) // 2], near[-1]):
        for epsilon in (0.98 * least, enough * least):
            fooled = answers(net, name, images, labels, epsilon, square_queries=50) != labels
            assert fooled[needed <= 1.0001 * epsilon / enough].all()
            assert not fooled[needed > epsilon].any()


def test_square_fools_a_linear_network_of_one_pixel_where_a_corner_of_the_ball_does() -> None:
    """One pixel has eight corners, which random signs find; below the closed form's ε none of them fools."""
    net = linear(classes=3, side=1)
    images, labels = images_and_labels(net, side=1)
    needed = smallest_epsilons(net, images, labels)
    near = needed[needed < 0.09].sort().values.tolist()
    for least in (near[0], near[len(near) // 2], near[-1]):
        for epsilon in (0.98 * least, 1.02 * least):
            fooled = answers(net, "square", images, labels, epsilon) != labels
            assert fooled[needed <= 1.0001 * epsilon / 1.02].all()
            assert not fooled[needed > epsilon].any()


@pytest.mark.parametrize("name", NAMES)
def test_epsilon_zero_is_the_clean_answer(name: AttackName) -> None:
    net = linear()
    images, labels = images_and_labels(net)
    labels = labels.clone()
    labels[:4] = (labels[:4] + 1) % 5
    found = answers(net, name, images, labels, 0.0, square_queries=20, attack_steps=5)
    assert found.tolist() == net(images).argmax(1).tolist()


def test_the_ensemble_fools_whatever_a_part_fools_and_more_with_a_larger_epsilon() -> None:
    net = small_network()
    images, labels = images_and_labels(net, n=16, side=8)
    few: dict[str, Any] = {"attack_steps": 10, "square_queries": 60}
    shares = []
    for epsilon in (0.002, 0.01, 0.03):
        together = answers(net, "autoattack", images, labels, epsilon, **few) != labels
        for part in ("apgd-ce", "apgd-t", "fab-t", "square"):
            alone = answers(net, part, images, labels, epsilon, **few) != labels
            assert not (alone & ~together).any()
        shares.append(float(together.float().mean()))
    assert shares == sorted(shares)
    assert 0 < shares[1] < 1


def small_network(seed: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    body = [nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 8, 3, padding=1), nn.Tanh(), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(8 * 64, 6)).eval()


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_depends_on_neither_batch_nor_order_but_on_the_seed_of_its_name(name: AttackName) -> None:
    net = small_network()
    images, labels = images_and_labels(net, n=12, side=8)
    names = [f"image {i}" for i in range(12)]
    options: dict[str, Any] = {"attack_steps": 10, "square_queries": 60}
    together = answers(net, name, images, labels, 0.008, names=names, **options)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    halves = [
        answers(net, name, images[rows], labels[rows], 0.008, names=[names[i] for i in rows], **options)
        for rows in order.split(5)
    ]
    assert torch.cat(halves).tolist() == together[order].tolist()


def test_another_seed_draws_other_squares() -> None:
    net = small_network()
    images, labels = images_and_labels(net, n=4, side=8)
    drawn = [square(net, images, labels, epsilon=0.001, queries=5, seeds=[seed] * 4) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("epsilon", [0.01, 0.2])
def test_attacked_images_stay_in_the_ball_and_in_the_box(epsilon: float) -> None:
    net = small_network()
    images, labels = images_and_labels(net, n=6, side=8)
    images[0].round_()
    start = random_starts((3, 8, 8), range(6))
    for attacked in (
        apgd(net, images, labels, dlr, epsilon=epsilon, steps=7, start=start),
        square(net, images, labels, epsilon=epsilon, queries=30, seeds=range(6)),
    ):
        assert (attacked - images).abs().max() <= epsilon + 1e-6
        assert 0 <= attacked.min() <= attacked.max() <= 1


def test_the_dlr_losses_by_hand() -> None:
    logits = torch.tensor([[4.0, 1.0, 2.0, 0.0]])
    label, target = torch.tensor([0]), torch.tensor([1])
    assert dlr(logits, label, target).item() == pytest.approx(-(4 - 2) / (4 - 1))
    assert targeted_dlr(logits, label, target).item() == pytest.approx(-(4 - 1) / (4 - (1 + 0) / 2))
    wrong = torch.tensor([2])
    assert dlr(logits, wrong, target).item() == pytest.approx((4 - 2) / (4 - 1))
    for loss in (dlr, targeted_dlr):
        moved = loss(1000 * logits + 7, label, target)
        assert moved.item() == pytest.approx(loss(logits, label, target).item(), rel=1e-5)


def test_the_step_is_halved_where_the_loss_does_not_rise() -> None:
    """Starting from the best corner of a linear loss no step helps: the ends of the ball, then the way back, are the same."""
    net = linear()
    images, labels = images_and_labels(net, n=1)
    gradient = torch.autograd.functional.jacobian(lambda x: net(x)[0, labels[0]], images)
    corner = -gradient.sign()
    found = apgd(net, images, labels, lead_of_label, epsilon=1e-4, steps=30, start=corner)
    assert torch.allclose(found, images + 1e-4 * corner, atol=1e-7)


def lead_of_label(logits: Tensor, labels: Tensor, _targets: Tensor) -> Tensor:
    return -logits.gather(1, labels[:, None])[:, 0]


def test_moves_onto_a_plane_by_hand() -> None:
    points = torch.tensor([[0.5, 0.5], [0.5, 0.9], [0.5, 0.5], [0.2, 0.2]])
    normals = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, -3.0], [1.0, 1.0]])
    offsets = torch.tensor([1.2, 1.8, 0.0, 5.0])
    moves = onto_plane(points, normals, offsets)
    # The second has room 0.1 in its second coordinate; the last cannot reach its plane and goes to the corner.
    expected = torch.tensor([[0.1, 0.1], [0.3, 0.1], [0.25, -0.25], [0.8, 0.8]])
    assert torch.allclose(moves, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "autoattack"])
def test_a_network_without_gradients_is_refused_and_square_attacks_it(name: AttackName) -> None:
    net = linear()
    images, labels = images_and_labels(net)
    blind = nn.Module()
    blind.forward = lambda x: net(x).detach()  # type: ignore[method-assign]
    with pytest.raises(InputError) as refused:
        answers(blind, name, images, labels, 0.05)
    assert "square" in refused.value.remedy
    assert (answers(blind, "square", images, labels, 0.3) != labels).any()


def test_two_classes_have_one_target() -> None:
    net = linear(classes=2)
    images, labels = images_and_labels(net)
    needed = smallest_epsilons(net, images, labels)
    epsilon = float(needed.median())
    found = answers(net, "fab-t", images, labels, epsilon) != labels
    sure = (needed / epsilon - 1).abs() > 0.05
    assert torch.equal(found[sure], (needed < epsilon)[sure])
