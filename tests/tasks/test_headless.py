"""A network of features alone enters every task that can do without classes, and is refused at once by the others."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import InputError
from eval_suite.tasks.evaluate import evaluate
from eval_suite.tasks.wsol.localiser import make_localiser


@pytest.fixture(scope="module")
def convolutional() -> Backbone:
    torch.manual_seed(0)
    net = timm.create_model("resnet10t", num_classes=0)
    return Backbone.wrap(net, name="features", input_size=(64, 64))


@pytest.fixture(scope="module")
def tokens() -> Backbone:
    torch.manual_seed(0)
    net = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64, depth=1)
    return Backbone.wrap(net, name="tokens", input_size=(64, 64))


def run(backbone: Backbone, task: str, **options: Any) -> Any:
    return evaluate(backbone, task, device="cpu", workers=0, **options)


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("classify", {}),
        ("robustness", {}),
        ("ood", {"outliers": ["uniform"]}),
        ("ood", {"outliers": ["uniform"], "scores": ["knn", "energy"]}),
        ("wsol", {"kind": "cub"}),
    ],
)
def test_tasks_of_classes_refuse_it(
    task: str, options: dict[str, Any], convolutional: Backbone, demo_world: Path
) -> None:
    kind = options.pop("kind", "folder")
    with pytest.raises(InputError, match="returns features") as caught:
        run(convolutional, task, data=f"{kind}:{demo_world / 'images'}", **options)
    assert caught.value.expected == f"a backbone with classes for {task}"
    assert caught.value.remedy


@pytest.mark.parametrize("which", ["convolutional", "tokens"])
def test_features_alone_tell_of_outliers(
    which: str, demo_world: Path, request: pytest.FixtureRequest
) -> None:
    record = run(
        request.getfixturevalue(which),
        "ood",
        data=f"folder:{demo_world / 'images'}",
        outliers=["uniform"],
        scores=["knn"],
        knn_k=3,
    )
    assert record["auroc"].value > 0.6
    assert record.backbone.headless
    assert record["ece"].value is None


@pytest.mark.parametrize("which", ["convolutional", "tokens"])
@pytest.mark.long
def test_captions_are_made_of_features_alone(
    which: str, demo_world: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # METEOR's program takes longer to start than all else here.
    monkeypatch.setattr("eval_suite.tasks.caption.score.java_program", lambda: None)
    record = run(
        request.getfixturevalue(which), "caption", data=f"coco:{demo_world / 'coco'}", epochs=1, min_count=1
    )
    assert record["bleu"].value is not None


def test_a_fit_for_localisation_brings_the_last_layer(convolutional: Backbone) -> None:
    found = make_localiser(convolutional, 3, enlarge=True)
    logits = found.net.eval()(torch.zeros(2, 3, 64, 64))
    assert logits.shape == (2, 3)
    assert (found.head, found.feature_layer) == ("fc", "body.net.layer4")
    fitted = Backbone(
        found.net,
        convolutional.card.model_copy(update={"feature_layer": found.feature_layer, "headless": False}),
    )
    assert fitted.features(torch.rand(1, 3, 64, 64)).shape[2:] == (4, 4)  # enlarged from 2 x 2


def test_a_fit_reads_the_mean_of_tokens(tokens: Backbone) -> None:
    found = make_localiser(tokens, 3, enlarge=False)
    assert (found.feature_layer, found.notes[0]) == (
        "body.net.norm",
        "the new last layer reads the mean of 'norm'; what stands behind that is left out",
    )
    assert found.net(torch.rand(2, 3, 64, 64)).shape == (2, 3)


class _Maximum(nn.Module):
    """Returns the maximum over its map, which is no mean."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3, 2)
        self.fc = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc(self.body(x).amax((2, 3)))
        return out


def test_of_features_that_are_no_mean_of_a_map_a_fit_takes_the_map() -> None:
    found = make_localiser(Backbone.wrap(_Maximum(), input_size=(32, 32)), 3, enlarge=False)
    assert (found.feature_layer, len(found.notes)) == ("body.net.body", 1)
