"""A few passes tell a network's outputs, its feature layer and its oddities, and leave it as it was."""

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from eval_suite.backbones.probe import Probe, behaviour, probe
from eval_suite.core.errors import InputError


def images(n: int = 4, size: int = 32) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_the_feature_layer_of_vgg_is_its_last_map() -> None:
    net = torchvision.models.vgg11(num_classes=2, init_weights=False)
    found = probe(net, (224, 224))
    assert found == Probe(2, "avgpool")  # 7 x 7 to 7 x 7: the same map as `features`
    x = images(1, 224)
    torch.testing.assert_close(net.eval().avgpool(net.features(x)), net.features(x))


class Small(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3, 2), nn.BatchNorm2d(5), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(5, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.body(x)).flatten(1))


def test_probing_changes_nothing() -> None:
    net = Small().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    assert probe(net, (32, 48)) == Probe(3, "body")
    assert net.training
    assert net.body[0].weight.grad is None
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize(
    "net", [Small(), timm.create_model("vit_tiny_patch16_224", depth=1, num_classes=2)], ids=["conv", "vit"]
)
def test_a_size_the_network_cannot_take_is_wrong_input(net: nn.Module) -> None:
    with pytest.raises(InputError, match=r"cannot take a 2x1 image: .*; see --input-size") as caught:
        probe(net, (2, 1))
    assert "\n" not in str(caught.value)
    assert not any(module._forward_hooks for module in net.modules())


class _Returns(nn.Module):
    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> object:
        return self.output


@pytest.mark.parametrize(
    ("output", "found"),
    [
        (torch.zeros(2, 3, 4, 5, 6), r"\(2, 3, 4, 5, 6\)"),
        (torch.zeros(2, 0), r"\(2, 0\)"),
        (torch.zeros(1, 3), r"\(1, 3\)"),
        (torch.zeros(6), r"\(6,\)"),
        ({"logits": torch.zeros(1, 3)}, "dict"),
        ((torch.zeros(1, 3),), "tuple"),
    ],
)
def test_what_is_no_classifier_is_wrong_input(output: object, found: str) -> None:
    with pytest.raises(
        InputError, match=rf"expected a classifier returning logits .* found {found} for 2 images"
    ):
        probe(_Returns(output), (32, 32))


class Wrapped(nn.Module):
    """A classifier of six classes with a last step of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.small = Small(6)
        self.small.head.weight.data *= 20

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.small(self.first(x)))

    def first(self, x: Tensor) -> Tensor:
        return x

    def last(self, z: Tensor) -> Tensor:
        return z


class Softmax(Wrapped):
    def last(self, z: Tensor) -> Tensor:
        return z.softmax(1)


class Sigmoid(Wrapped):
    def last(self, z: Tensor) -> Tensor:
        return z.sigmoid()


class LogSoftmax(Wrapped):
    def last(self, z: Tensor) -> Tensor:
        return z.log_softmax(1)


class Shifted(Wrapped):
    def last(self, z: Tensor) -> Tensor:
        return 1000 * z - 30


class DropsOut(Wrapped):
    def first(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.2)  # a common slip: it does not know of evaluation


class OfTheBatch(Wrapped):
    def first(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


class Trains(Wrapped):
    def first(self, x: Tensor) -> Tensor:
        self.small.train()
        return x


class InPlace(Wrapped):
    def first(self, x: Tensor) -> Tensor:
        return x.sub_(0.5)


class Rounds(Wrapped):
    def first(self, x: Tensor) -> Tensor:
        return x.round()


class WithoutGradient(Wrapped):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Detaches(Wrapped):
    def first(self, x: Tensor) -> Tensor:
        return x.detach()


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Wrapped, []),
        (Shifted, []),
        (InPlace, []),
        (Softmax, ["probabilities"]),
        (Sigmoid, ["probabilities"]),
        (LogSoftmax, ["log-probabilities"]),
        (DropsOut, ["random"]),
        (OfTheBatch, ["batch-dependent"]),
        (Trains, ["batch-dependent", "changing"]),
        (Rounds, ["no gradient"]),
        (WithoutGradient, ["no gradient"]),
        (Detaches, ["no gradient"]),
    ],
)
def test_what_breaks_an_evaluation_s_assumptions_is_named(kind: type[nn.Module], names: list[str]) -> None:
    net = kind().eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.get_rng_state()
    assert [line.partition(":")[0] for line in probe(net, (32, 32)).warnings] == names
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_few_outputs_of_logits_in_the_range_of_probabilities_are_no_probabilities() -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    nn.init.zeros_(net[2].weight)
    net[2].weight.data[0, 0] = 1e-3
    nn.init.constant_(net[2].bias, 0.4)
    assert probe(net, (8, 8)).warnings == ()


def test_networks_of_the_same_weights_and_other_code_behave_otherwise() -> None:
    torch.manual_seed(0)
    net, twin = Small(), Small()
    twin.load_state_dict(net.state_dict())
    assert behaviour(net, (32, 32)) == behaviour(twin, (32, 32)) == behaviour(net.train(), (48, 48))
    twin.pool = nn.AdaptiveMaxPool2d(1)
    assert behaviour(twin, (32, 32)) not in (None, behaviour(net, (32, 32)))


def test_behaviour_by_hand_and_through_rounding() -> None:
    class Constant(nn.Module):
        def __init__(self, values: list[float]) -> None:
            super().__init__()
            self.values = nn.Parameter(torch.tensor(values))

        def forward(self, x: Tensor) -> Tensor:
            return self.values.expand(len(x), -1)

    # Magnitudes 1, 2 and 3 have mean 2; weighed by 1, 1.5 and 2, positive ones have mean (1 + 6) / 3, the negative one 3 / 3.
    assert behaviour(Constant([1.0, -2.0, 3.0]), (8, 8)) == "2.00e+00 1.167 0.500"
    assert behaviour(Constant([1.00001, -2.00001, 3.00001]), (8, 8)) == "2.00e+00 1.167 0.500"
    assert behaviour(Constant([0.0, 0.0]), (8, 8)) == "0.00e+00 0.000 0.000"


def test_a_network_of_one_size_behaves_at_that_size_and_one_that_draws_behaves_alike_twice() -> None:
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, num_classes=3)
    assert behaviour(vit, (32, 32)) is not None
    noisy = nn.Sequential(nn.Flatten(), nn.LazyLinear(4), Noisy())
    noisy(torch.zeros(1, 3, 64, 64))
    assert behaviour(noisy, (64, 64)) == behaviour(noisy, (64, 64))


def test_a_table_laid_out_anew_for_another_size_is_as_before() -> None:
    class Tabled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("table", torch.ones(8, 8))
            self.fc = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            if self.table.shape != x.shape[2:]:
                self.table = torch.ones(x.shape[2:])
            return self.fc((x * self.table).mean((2, 3)))

    net = Tabled()
    assert behaviour(net, (8, 8)) is not None
    assert net.table.shape == (8, 8)


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


def test_a_network_of_grey_images_is_told_so() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(InputError, match=r"takes 1 channel; .*Grayscale") as caught:
        probe(net, (32, 32))
    assert "--input-size" not in str(caught.value)
    assert probe(nn.Sequential(torchvision.transforms.Grayscale(), net), (32, 32)).outputs == 4
