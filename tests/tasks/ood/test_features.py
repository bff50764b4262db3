"""One pass over a set: logits, features of the last layer, and ODIN against its closed form and pytorch-ood."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_ood.detector import odin_preprocessing
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone, finish
from eval_suite.backbones.building import build_net
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError
from eval_suite.data.loading import Batch
from eval_suite.tasks.ood.features import last_layer, run_over
from eval_suite.tasks.ood.odin import OdinSettings, odin_confidence, perturbed, tuned
from eval_suite.tasks.ood.rates import detection


def backbone_of(net: nn.Module, size: int = 16) -> Backbone:
    card = BackboneCard(
        name="b",
        source="",
        arch="a",
        classes=[],
        input_size=(size, size),
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.25, 0.3),
    )
    return finish(net, card)


def images(n: int, seed: int = 0, size: int = 16) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def batches(pictures: Tensor, size: int = 4) -> list[Batch]:
    places = torch.arange(len(pictures)).split(size)
    return [Batch(pictures[place], place % 3, place) for place in places]


@pytest.fixture
def backbone() -> Backbone:
    torch.manual_seed(0)
    return backbone_of(build_net("resnet14_demo", 5, {"blocks": 1, "channels": [4, 8, 16]}))


class Hidden(nn.Module):
    """Two linear layers of the same width, of which the last one called gives the logits."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.head, self.first, self.scale = nn.Linear(5, 5), nn.Linear(3, 5), scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.head(self.first(x.mean((2, 3))))


def test_the_last_layer_is_the_one_that_gives_the_logits(backbone: Backbone) -> None:
    assert last_layer(backbone).module is backbone.net.get_submodule("fc")
    torch.manual_seed(0)
    net = Hidden()
    assert last_layer(backbone_of(net)).module is net.head


@pytest.mark.parametrize(
    "net",
    [
        Hidden(scale=2.0),
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    ],
)
def test_a_network_that_ends_otherwise_is_refused(net: nn.Module) -> None:
    with pytest.raises(InputError, match=r"expected backbone 'b' .* to end in a linear layer, found none"):
        last_layer(backbone_of(net))


@pytest.mark.parametrize("odin", [None, OdinSettings(1000.0, 0.0014)])
@pytest.mark.parametrize("size", [1, 4, 50])
def test_one_pass_leaves_logits_and_what_they_are_made_of(
    backbone: Backbone, size: int, odin: OdinSettings | None
) -> None:
    pictures, layer = images(10), last_layer(backbone)
    found = run_over(backbone, batches(pictures, size), layer=layer, odin=odin)
    with torch.no_grad():
        torch.testing.assert_close(found.logits, backbone(pictures), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer.logits(found.features), found.logits, rtol=1e-4, atol=1e-5)
    assert found.features.shape == (10, 16)
    assert found.positions.tolist() == list(range(10))
    assert found.labels.tolist() == [i % 3 for i in range(10)]
    assert len(set(found.digests)) == 10
    assert (found.odin is None) == (odin is None)
    assert not layer.module._forward_pre_hooks


def test_maps_of_the_classes_that_are_averaged_leave_the_mean_of_what_they_are_made_of() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    given = backbone_of(net)
    found = run_over(given, batches(images(5)), layer=last_layer(given))
    assert found.features.shape == (5, 6)
    torch.testing.assert_close(last_layer(given).linear()(found.features), found.logits, rtol=1e-4, atol=1e-5)


def test_without_a_layer_there_are_no_features(backbone: Backbone) -> None:
    assert run_over(backbone, batches(images(3))).features.numel() == 0


def test_equal_images_have_equal_digests(backbone: Backbone) -> None:
    pictures = (images(4) * 255).round() / 255
    doubled = torch.cat([pictures, pictures[2:3], 1 - pictures[:1]])
    digests = run_over(backbone, batches(doubled, 5)).digests
    assert digests[4] == digests[2]
    assert len(set(digests)) == 5


# ODIN.


def test_the_step_of_a_linear_network_by_hand() -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    net[2].weight.data = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 1.0]])
    net[2].bias.data = torch.tensor([5.0, 0.0])
    pictures = images(2).requires_grad_()
    found = perturbed(pictures, net(pictures), OdinSettings(10.0, 0.01))
    # Class 0 is predicted; only the difference of the rows, (1, -2, -0.5), moves its probability.
    step = torch.tensor([0.01, -0.01, -0.01]).view(1, 3, 1, 1).expand_as(pictures)
    torch.testing.assert_close(found, pictures.detach() + step)


@pytest.mark.parametrize("temperature", [1.0, 1000.0])
def test_the_step_is_that_of_pytorch_ood(backbone: Backbone, temperature: float) -> None:
    pictures = images(6)
    asked = pictures.clone().requires_grad_()
    found = perturbed(asked, backbone(asked), OdinSettings(temperature, 0.002))
    expected = odin_preprocessing(backbone, pictures, eps=0.002, temperature=temperature)
    torch.testing.assert_close(found, expected)
    pass_ = run_over(backbone, batches(pictures), odin=OdinSettings(temperature, 0.002))
    with torch.no_grad():
        confidence = F.softmax(backbone(expected).double() / temperature, dim=1).amax(dim=1)
    assert pass_.odin is not None
    torch.testing.assert_close(pass_.odin, confidence, rtol=1e-5, atol=1e-7)


def test_the_step_raises_the_confidence(backbone: Backbone) -> None:
    still = run_over(backbone, batches(images(8)), odin=OdinSettings(1.0, 0.0)).odin
    moved = run_over(backbone, batches(images(8)), odin=OdinSettings(1.0, 0.001)).odin
    assert still is not None
    assert moved is not None
    assert (moved > still).all()


def test_without_a_step_at_temperature_1_it_is_the_max_softmax(backbone: Backbone) -> None:
    found = run_over(backbone, batches(images(8)), odin=OdinSettings(1.0, 0.0))
    torch.testing.assert_close(found.odin, odin_confidence(found.logits, 1.0), rtol=1e-6, atol=1e-8)


def test_the_parameters_collect_no_gradients(backbone: Backbone) -> None:
    run_over(backbone, batches(images(4)), odin=OdinSettings(1000.0, 0.001))
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_tuning_takes_the_pair_with_the_highest_mean_tnr(backbone: Backbone) -> None:
    known, others = images(40), {"dark": images(30, 1) * 0.4, "light": 0.7 + images(30, 2) * 0.3}
    temperatures, epsilons = (1.0, 1000.0), (0.0, 0.004, 0.02)

    def mean_tnr(pair: OdinSettings) -> float:
        inside = run_over(backbone, batches(known), odin=pair).odin
        outside = [run_over(backbone, batches(each), odin=pair).odin for each in others.values()]
        assert inside is not None
        return float(
            np.mean([detection(inside.numpy(), each.numpy()).tnr for each in outside if each is not None])
        )

    pairs = [OdinSettings(t, e) for t in temperatures for e in epsilons]
    values = {pair: mean_tnr(pair) for pair in pairs}
    assert len(set(values.values())) > 1
    found = tuned(
        backbone,
        batches(known),
        {name: batches(each) for name, each in others.items()},
        temperatures=temperatures,
        epsilons=epsilons,
    )
    assert values[found] == max(values.values())
