"""The layer that classifies, in networks that end in different ways."""

import pytest
import torch
from torch import Tensor, nn

from eval_suite.backbones.structure.classifier import ClassifierLayer, classifier_layer, pooled_classifier

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


class Ends(nn.Module):
    """A map of 6 channels, its mean, and what makes 4 logits of it."""

    def __init__(self, head: nn.Module, *, flatten_first: bool) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU())
        self.pool, self.head, self._flatten_first = nn.AdaptiveAvgPool2d(1), head, flatten_first

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(self.features(x))
        logits: Tensor = self.head(pooled.flatten(1) if self._flatten_first else pooled)
        return logits.flatten(1)


def linear_end() -> Ends:
    return Ends(nn.Linear(6, 4), flatten_first=True)


def convolution_end() -> Ends:
    return Ends(nn.Conv2d(6, 4, 1), flatten_first=False)


def deep_end() -> Ends:
    return Ends(nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 4)), flatten_first=True)


@pytest.mark.parametrize("make", [linear_end, convolution_end])
def test_a_linear_layer_and_a_convolution_of_one_pixel_classify_alike(make: type[Ends]) -> None:
    net = make()
    layer = classifier_layer(net, IMAGES)
    assert layer == pooled_classifier(net, IMAGES, "features") == ClassifierLayer("head", net.head)  # type: ignore[arg-type]
    assert layer is not None
    assert layer.weight.shape == (4, 6)
    pooled = net.features(IMAGES).mean((2, 3))
    torch.testing.assert_close(layer.logits(pooled), net(IMAGES))
    torch.testing.assert_close(layer.linear()(pooled), net(IMAGES))
    assert layer.renewed(9)(pooled if make is linear_end else pooled[:, :, None, None]).shape[:2] == (2, 9)


def test_a_convolution_of_one_pixel_before_the_mean_classifies_the_mean_of_its_input() -> None:
    class Averaged(nn.Module):
        def __init__(self, last: nn.Module) -> None:
            super().__init__()
            self.body, self.head, self.last = nn.Conv2d(3, 6, 3, 2), nn.Conv2d(6, 4, 1), last

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.last(self.head(self.body(x))).mean((2, 3))
            return out

    net = Averaged(nn.Identity())
    layer = classifier_layer(net, IMAGES)
    assert layer is not None
    assert layer.name == "head"
    features = layer.vectors(net.body(IMAGES))
    torch.testing.assert_close(features, net.body(IMAGES).mean((2, 3)))
    torch.testing.assert_close(layer.linear()(features), net(IMAGES))
    assert (
        classifier_layer(Averaged(nn.ReLU()), IMAGES) is None
    )  # the mean of what is cut off is no linear function


def test_layers_between_the_pooling_and_the_logits_leave_no_plain_maps() -> None:
    net = deep_end()
    assert pooled_classifier(net, IMAGES, "features") is None
    layer = classifier_layer(net, IMAGES)
    assert layer is not None
    assert layer.name == "head.2"


def test_what_follows_the_last_layer_counts() -> None:
    net = nn.Sequential(linear_end(), nn.Softmax(1))
    assert classifier_layer(net, IMAGES) is None
    assert pooled_classifier(net, IMAGES, "0.features") is None


def test_the_network_stays_as_it_was() -> None:
    net = linear_end().train()
    classifier_layer(net, IMAGES)
    pooled_classifier(net, IMAGES, "features")
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
