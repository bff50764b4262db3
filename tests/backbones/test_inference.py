"""A backbone on its device: the fast memory layout where the network runs in it, the plain one where it does not."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.inference import to_device, transform_of
from eval_suite.core.cards import BackboneCard

CPU = torch.device("cpu")


class Views(nn.Module):
    """As many networks end: the map is viewed as a vector, which another memory layout does not allow."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 5, 3, 8), nn.Linear(5 * 16, 4)

    def flat(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), -1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.flat(self.conv(x)))


class Flattens(Views):
    def flat(self, x: Tensor) -> Tensor:
        return x.flatten(1)


@pytest.mark.parametrize(("kind", "contiguous"), [(Views, True), (Flattens, False)])
def test_the_layout_is_one_in_which_the_network_runs(kind: type[Views], contiguous: bool) -> None:
    net = kind()
    images = torch.rand(3, 3, 32, 32)
    model = Backbone.wrap(net, input_size=(32, 32))
    expected = model(images).detach()
    assert to_device(model, CPU).contiguous == contiguous
    assert net.conv.weight.is_contiguous() == contiguous
    for given in (images, images.contiguous(memory_format=torch.channels_last)):
        torch.testing.assert_close(model(given), expected)
    assert to_device(model, CPU).contiguous == contiguous


def test_another_fault_of_the_trial_is_raised() -> None:
    model = Backbone.wrap(Flattens(), input_size=(32, 32))
    model.card.input_size = (64, 64)
    with pytest.raises(RuntimeError, match="shapes"):
        to_device(model, CPU)


@pytest.mark.parametrize("size", [(64, 32), (16, 48), (32, 32)])
def test_squash_resizes_both_sides_whatever_their_ratio(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    card = BackboneCard(
        name="x",
        source="x",
        arch="x",
        classes=[],
        input_size=(32, 32),
        mean=(0, 0, 0),
        std=(1, 1, 1),
        crop_fraction=1,
        resize="squash",
    )
    squashed = transform_of(card).apply(image)
    assert np.array_equal(squashed, image.resize((32, 32), Image.Resampling.BILINEAR))
    cropped = transform_of(card.model_copy(update={"resize": "crop"})).apply(image)
    assert np.array_equal(squashed, cropped) == (size == (32, 32))
