"""The vectors of networks that classify, and of those that do not."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.embedding import embedding_of
from eval_suite.backbones.sources import load_backbone
from eval_suite.backbones.structure.vectors import vectors_of
from eval_suite.core.errors import InputError

SIZE = (32, 32)


class Returns(nn.Module):
    """Gives the channels of an image in another shape."""

    def __init__(self, shape: str) -> None:
        super().__init__()
        self.shape = shape
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> object:
        maps = x[:, :, ::8, ::8] * self.scale
        tokens = maps.flatten(2).transpose(1, 2)
        return {"map": maps, "tokens": tokens, "hub": {"last_hidden_state": tokens}}[self.shape]


@pytest.mark.parametrize("shape", ["map", "tokens", "hub"])
def test_what_is_no_row_of_logits_is_features(shape: str) -> None:
    backbone = Backbone.wrap(Returns(shape), mean=(0, 0, 0), std=(1, 1, 1), input_size=SIZE)
    images = torch.rand(3, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    corner = images[:, :, ::8, ::8]
    expected = corner.mean((2, 3)) if shape == "map" else corner[:, :, 0, 0]
    assert (backbone.card.headless, backbone.card.num_classes) == (True, 0)
    torch.testing.assert_close(backbone(images), expected)
    torch.testing.assert_close(embedding_of(backbone).of(images[:1]), expected[:1])


def test_a_pooled_output_is_taken_before_the_tokens() -> None:
    pooled, tokens = torch.rand(2, 4), torch.rand(2, 5, 4)
    found = vectors_of({"last_hidden_state": tokens, "pooler_output": pooled})
    assert found is not None
    assert torch.equal(found.values, pooled)
    assert vectors_of({"loss": pooled}) is None


def test_a_classifier_gives_what_its_last_layer_is_given() -> None:
    torch.manual_seed(0)
    net = timm.create_model("resnet18", num_classes=4)
    backbone = Backbone.wrap(net, input_size=SIZE)
    images = torch.rand(2, 3, *SIZE)
    found = embedding_of(backbone)
    assert not backbone.card.headless
    torch.testing.assert_close(net.fc(found.of(images)), backbone(images))


@pytest.mark.parametrize("how", ["timm", "identity", "said"])
def test_a_network_without_classes_is_recognised(how: str) -> None:
    torch.manual_seed(0)
    if how == "timm":
        net = timm.create_model("resnet18", num_classes=0)
    else:
        net = torchvision.models.resnet18()
        net.fc = nn.Identity() if how == "identity" else nn.Flatten()
    backbone = Backbone.wrap(net, input_size=SIZE, headless=how == "said")
    assert backbone.card.headless
    assert any("no classes" in note for note in backbone.card.load.notes)


def test_of_two_heads_the_mean_of_what_they_are_given() -> None:
    torch.manual_seed(0)
    net = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=4, img_size=32, depth=1)
    backbone = Backbone.wrap(net, input_size=SIZE)
    images = torch.rand(2, 3, *SIZE)
    tokens = net.forward_features(backbone.normalise(images))
    torch.testing.assert_close(embedding_of(backbone).of(images), tokens[:, :2].mean(1))


def test_weights_without_a_last_layer_make_a_network_of_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    given = timm.create_model("resnet18", num_classes=0)
    torch.save(given.state_dict(), tmp_path / "features.pth")
    for library, name in (("timm", "resnet18"), ("torchvision", "resnet18")):
        file = tmp_path / "features.pth"
        found = load_backbone(f"{library}:{name}@{file}", num_classes=7, input_size=SIZE)
        assert found.card.headless, library
        images = torch.rand(2, 3, *SIZE)
        torch.testing.assert_close(found(images), given.eval()(found.normalise(images)))


def test_a_last_layer_can_be_left_out(tmp_path: Path) -> None:
    torch.manual_seed(0)
    given = timm.create_model("resnet18", num_classes=7)
    torch.save(given.state_dict(), tmp_path / "whole.pth")
    found = load_backbone(f"timm:resnet18@{tmp_path / 'whole.pth'}", num_classes=7, headless=True)
    assert (found.card.headless, found.card.num_classes) == (True, 0)
    with pytest.raises(InputError):
        load_backbone(f"timm:resnet18@{tmp_path / 'whole.pth'}", headless=True, class_order="natural")


def test_a_factory_whose_weights_lack_the_last_layer_is_told(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import timm\n\ndef make(num_classes=5):\n    return timm.create_model('resnet18', num_classes=num_classes)\n"
    )
    torch.save(timm.create_model("resnet18", num_classes=0).state_dict(), tmp_path / "features.pth")
    with pytest.raises(InputError, match="last layer out"):
        load_backbone(f"{tmp_path / 'own.py'}:make@{tmp_path / 'features.pth'}")
