"""FGSM and PGD by hand on a linear model, and against foolbox element by element."""

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone, finish
from eval_suite.backbones.building import build_net
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError
from eval_suite.tasks.robustness.attacks import fgsm, frozen, input_gradient, pgd, random_starts, saturated

with warnings.catch_warnings():
    # Importing it, foolbox takes a function from where scipy no longer wants it to be taken.
    warnings.filterwarnings("ignore", category=DeprecationWarning, message="Please import `gaussian_filter`")
    import foolbox

EPSILON = 8 / 255


def small_backbone(seed: int = 0) -> Backbone:
    torch.manual_seed(seed)
    net = build_net("resnet14_demo", 5, {"blocks": 1, "channels": [4, 8, 16]})
    card = BackboneCard(
        name="b",
        source="",
        arch="a",
        classes=[],
        input_size=(32, 32),
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.3, 0.25),
    )
    return finish(net, card)


def images_and_labels(n: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(n, 3, 32, 32, generator=generator)
    images[:2] = images[:2].round()  # pixels at 0 and 1, where the clamp bites
    return images, torch.randint(0, 5, (n,), generator=generator)


def linear(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Two classes; the second one's logit is the weighted sum of the pixels, the first one's is 0."""
    return lambda x: torch.stack([torch.zeros(len(x)), (x * weight).sum((1, 2, 3))], dim=1)


def test_the_gradient_and_fgsm_of_a_linear_model_by_hand() -> None:
    weight = torch.tensor([2.0, -1.0, 0.0]).view(3, 1, 1)
    images = torch.tensor([[0.5, 0.25, 0.5], [0.99, 0.01, 0.5]]).view(2, 3, 1, 1)
    labels = torch.tensor([0, 1])
    found = input_gradient(linear(weight), images, labels)
    logits = torch.tensor([[0.0, 0.75], [0.0, 1.97]])
    assert torch.allclose(found.logits, logits)
    # d/dx of log-odds z_other - z_y: w where the label is 0, -w where it is 1.
    assert torch.allclose(found.of_images, torch.tensor([1.0, -1.0]).view(2, 1, 1, 1) * weight)
    # d/dx of -log softmax: (p_1 - [y = 1]) w.
    slope = logits.softmax(1)[:, 1] - labels
    entropy = input_gradient(linear(weight), images, labels, loss="cross-entropy").of_images
    assert torch.allclose(entropy, slope.view(2, 1, 1, 1) * weight)
    attacked = fgsm(images, found.of_images, 0.1).view(2, 3)
    # Class 0 is left by raising the logit of class 1, class 1 by lowering it; the third pixel has no gradient.
    assert torch.allclose(attacked, torch.tensor([[0.6, 0.15, 0.5], [0.89, 0.11, 0.5]]))
    clamped = fgsm(images[1:], -found.of_images[1:], 0.1).view(3)
    assert torch.allclose(clamped, torch.tensor([1.0, 0.0, 0.5]))


def test_pgd_of_a_linear_model_by_hand() -> None:
    weight = torch.tensor([2.0, -1.0, 0.0]).view(3, 1, 1)
    images = torch.tensor([0.5, 0.25, 0.5]).view(1, 3, 1, 1)
    label = torch.tensor([0])
    one = pgd(linear(weight), images, label, epsilon=0.1, step_size=0.03, steps=1)
    assert torch.allclose(one.view(3), torch.tensor([0.53, 0.22, 0.5]))
    many = pgd(linear(weight), images, label, epsilon=0.1, step_size=0.03, steps=9)
    assert torch.allclose(many.view(3), torch.tensor([0.6, 0.15, 0.5]))
    start = torch.tensor([-1.0, 0.5, 1.0]).view(1, 3, 1, 1)
    started = pgd(linear(weight), images, label, epsilon=0.1, step_size=0.03, steps=1, start=start)
    assert torch.allclose(started.view(3), torch.tensor([0.43, 0.27, 0.6]))


def foolbox_model(backbone: Backbone) -> foolbox.PyTorchModel:
    return foolbox.PyTorchModel(backbone, bounds=(0, 1), device="cpu")


@pytest.mark.parametrize("epsilon", [1 / 255, EPSILON, 0.3])
def test_fgsm_is_foolboxs_element_by_element(epsilon: float) -> None:
    backbone, (images, labels) = small_backbone(), images_and_labels()
    attack = foolbox.attacks.LinfFastGradientAttack()
    theirs, _, _ = attack(foolbox_model(backbone), images, labels, epsilons=epsilon)
    gradient = input_gradient(backbone, images, labels, loss="cross-entropy").of_images
    assert torch.equal(fgsm(images, gradient, epsilon), theirs)
    # The log-odds have the same sign; rounding may turn that of a gradient next to 0.
    gradient = input_gradient(backbone, images, labels).of_images
    assert share_apart(fgsm(images, gradient, epsilon), theirs) < 1e-3


@pytest.mark.parametrize(("steps", "step_size"), [(1, 2 / 255), (5, 2 / 255), (4, EPSILON)])
def test_pgd_is_foolboxs_element_by_element(steps: int, step_size: float) -> None:
    backbone, (images, labels) = small_backbone(), images_and_labels()
    attack = foolbox.attacks.LinfPGD(abs_stepsize=step_size, steps=steps, random_start=False)
    theirs, _, _ = attack(foolbox_model(backbone), images, labels, epsilons=EPSILON)
    found = pgd(
        backbone, images, labels, epsilon=EPSILON, step_size=step_size, steps=steps, loss="cross-entropy"
    )
    assert (found - theirs).abs().max() < 1e-7
    found = pgd(backbone, images, labels, epsilon=EPSILON, step_size=step_size, steps=steps)
    assert share_apart(found, theirs) < 1e-2


def test_on_a_sure_network_the_log_odds_are_foolbox_in_double_precision() -> None:
    backbone, (images, labels) = small_backbone(), images_and_labels()
    with torch.no_grad():
        margins = backbone(images).topk(2).values.diff()[:, 0].abs()
        for parameter in backbone.net.get_submodule("fc").parameters():
            parameter.mul_(24 / margins.median())
        margins *= 24 / margins.median()
        labels = backbone(images).argmax(1)
        # float32 rounds these probabilities to 1, and float64 does not.
        sure = saturated(backbone(images), labels) & (margins < 32)
    assert sure.sum() >= 3
    found = fgsm(images, input_gradient(backbone, images, labels).of_images, EPSILON)
    rounded = fgsm(images, input_gradient(backbone, images, labels, loss="cross-entropy").of_images, EPSILON)
    theirs, _, _ = foolbox.attacks.LinfFastGradientAttack()(
        foolbox_model(copy.deepcopy(backbone).double()), images.double(), labels, epsilons=EPSILON
    )
    assert share_apart(found[sure], theirs[sure].float()) < 0.01
    assert share_apart(rounded[sure], theirs[sure].float()) > 0.1


def share_apart(a: Tensor, b: Tensor) -> float:
    return float(((a - b).abs() > 1e-6).float().mean())


def test_one_step_of_the_whole_length_is_fgsm() -> None:
    backbone, (images, labels) = small_backbone(), images_and_labels()
    gradient = input_gradient(backbone, images, labels).of_images
    once = pgd(backbone, images, labels, epsilon=EPSILON, step_size=EPSILON, steps=1)
    assert torch.allclose(once, fgsm(images, gradient, EPSILON), atol=1e-7)


def test_epsilon_zero_changes_nothing_and_every_result_stays_in_the_ball() -> None:
    backbone, (images, labels) = small_backbone(), images_and_labels()
    gradient = input_gradient(backbone, images, labels).of_images
    assert torch.equal(fgsm(images, gradient, 0.0), images)
    start = random_starts((3, 32, 32), range(12))
    found = pgd(backbone, images, labels, epsilon=EPSILON, step_size=0.02, steps=3, start=start)
    assert (found - images).abs().max() <= EPSILON + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1


def test_an_attack_raises_the_loss() -> None:
    backbone, (images, labels) = small_backbone(), images_and_labels()

    def loss(x: Tensor) -> float:
        with torch.no_grad():
            return float(nn.functional.cross_entropy(backbone(x), labels))

    gradient = input_gradient(backbone, images, labels).of_images
    stepped = pgd(backbone, images, labels, epsilon=EPSILON, step_size=2 / 255, steps=10)
    assert loss(images) < loss(fgsm(images, gradient, 1 / 255)) < loss(stepped)


def test_an_images_gradient_does_not_depend_on_its_batch() -> None:
    backbone, (images, labels) = small_backbone(), images_and_labels()
    together = input_gradient(backbone, images, labels).of_images
    alone = torch.cat(
        [
            input_gradient(backbone, x, y).of_images
            for x, y in zip(images.split(1), labels.split(1), strict=True)
        ]
    )
    assert torch.allclose(together, alone, rtol=1e-3, atol=1e-6)


def test_a_very_sure_network_still_has_a_gradient() -> None:
    weight = torch.full((3, 1, 1), 25.0)
    images, label = torch.ones(1, 3, 1, 1), torch.tensor([1])
    found = input_gradient(linear(weight), images, label)  # the rival's probability is e^-75
    assert torch.equal(found.of_images, -weight[None])
    flat = input_gradient(linear(weight), images, label, loss="cross-entropy")
    assert (flat.of_images == 0).all()
    assert saturated(found.logits, label).tolist() == [True]
    assert saturated(torch.tensor([[0.0, 5.0]]), label).tolist() == [False]


def test_parameters_collect_no_gradients_and_are_as_before() -> None:
    backbone, (images, labels) = small_backbone(), images_and_labels(2)
    first = next(backbone.parameters())
    first.requires_grad_(False)
    with frozen(backbone):
        assert not any(parameter.requires_grad for parameter in backbone.parameters())
        input_gradient(backbone, images, labels)
    assert all(parameter.grad is None for parameter in backbone.parameters())
    assert not first.requires_grad
    assert all(parameter.requires_grad for parameter in list(backbone.parameters())[1:])
    assert not images.requires_grad


def test_a_random_start_belongs_to_its_seed() -> None:
    starts = random_starts((3, 4, 4), [7, 8, 9])
    assert torch.equal(random_starts((3, 4, 4), [9, 7])[0], starts[2])
    assert starts.min() >= -1
    assert starts.max() < 1
    assert len(starts.unique()) > 140
    many = random_starts((3, 8, 8), range(50))
    assert abs(float(many.mean())) < 0.02
    assert float(many.var()) == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("detached", [True, False])
def test_a_network_without_gradients_is_refused_with_the_way_out(detached: bool) -> None:
    weight = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)).requires_grad_(detached)

    def model(images: torch.Tensor) -> torch.Tensor:
        return images.detach().flatten(1) @ weight

    with pytest.raises(InputError) as raised:
        input_gradient(model, torch.rand(2, 3, 2, 2), torch.tensor([0, 1]))
    assert "--pgd-epsilons" in raised.value.remedy
