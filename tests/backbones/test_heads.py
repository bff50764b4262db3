"""A probe's linear layer as the last layer: the same numbers as the probe's, in every task of classes."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.heads import Headed, read_head, with_head
from eval_suite.backbones.spec import BackboneOptions
from eval_suite.core.errors import InputError
from eval_suite.tasks.evaluate import evaluate

PROBE = {"probes": ["linear"], "linear_c": [1.0]}


class Own(nn.Module):
    """Returns its map, without a place for a last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 5, 4), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.body(x)
        return out


def backbone(kind: str = "resnet") -> Backbone:
    torch.manual_seed(0)
    net = {
        "resnet": lambda: timm.create_model("resnet10t", num_classes=0),
        "vit": lambda: timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64, depth=2),
        "own": Own,
    }[kind]()
    return Backbone.wrap(net, name=kind, input_size=(64, 64))


def run(source: Any, task: str, world: Path, out: Path, **more: Any) -> Any:
    settings = {"data": f"folder:{world / 'images'}", "device": "cpu", "workers": 0, "out": out, **more}
    return evaluate(source, task, **settings)


@pytest.fixture(scope="module")
def probed(demo_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("heads") / "reports/one"
    for kind in ("resnet", "vit", "own"):
        run(backbone(kind), "probe", demo_world, out, **PROBE)
    return out


def folder_of(probed: Path, kind: str) -> Path:
    return next((probed.parents[1] / "checkpoints/one").glob(f"{kind}*/probe"))


@pytest.mark.parametrize(("kind", "place"), [("resnet", "fc"), ("vit", "head"), ("own", "")])
def test_the_layer_stands_where_it_belongs(probed: Path, kind: str, place: str) -> None:
    bare = backbone(kind)
    found = with_head(bare, folder_of(probed, kind))
    head = read_head(bare, folder_of(probed, kind))
    images = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(found(images), head.layer(bare(images)))
    assert isinstance(found.net, Headed) == (not place)
    if place:
        assert isinstance(found.net.get_submodule(place), nn.Linear)
        assert isinstance(bare.net.get_submodule(place), nn.Identity)  # left as it was
    elif found.card.feature_layer is not None:
        assert found.features(images).shape == bare.features(images).shape
    assert found.card.num_classes == len(found.card.classes) > 0
    assert (found.card.headless, bare.card.headless) == (False, True)
    assert found.card.fitted_sha256["head"]
    images.requires_grad_()
    found(images).sum().backward()
    assert images.grad is not None
    assert images.grad.any()


@pytest.mark.parametrize("kind", ["resnet", "own"])
def test_tasks_of_classes_take_it(probed: Path, demo_world: Path, kind: str) -> None:
    head = {"settings": {"head": "probe"}}
    linear = run(backbone(kind), "probe", demo_world, probed, **PROBE, overwrite=True)
    found = run(backbone(kind), "classify", demo_world, probed, **head)
    assert found["top1_error"].value == linear["probe_top1_error"].value
    assert found.backbone.fitted_sha256["head"]
    ood = run(backbone(kind), "ood", demo_world, probed, outliers=["uniform"], scores=["energy"], **head)
    assert ood["auroc"].value is not None
    attacked = run(
        backbone(kind),
        "robustness",
        demo_world,
        probed,
        fgsm_epsilons=[0.1],
        pgd_epsilons=[],
        occlusion_sizes=0,
        pairs_per_image=0,
        limit=8,
        **head,
    )
    assert attacked.metrics
    maps = run(
        backbone(kind), "wsol", demo_world, probed, data=f"cub:{demo_world / 'images'}", limit=8, **head
    )
    assert maps["top1_loc"].value is not None


def test_a_task_without_classes_leaves_it_out(probed: Path, demo_world: Path) -> None:
    again = run(backbone(), "probe", demo_world, probed, **PROBE, overwrite=True, settings={"head": "probe"})
    assert again.backbone.headless


def test_what_cannot_be_put_on(probed: Path, demo_world: Path, tmp_path: Path) -> None:
    folder = folder_of(probed, "resnet")
    with pytest.raises(InputError) as caught:
        with_head(Backbone.wrap(timm.create_model("resnet10t", num_classes=3), input_size=(64, 64)), folder)
    assert "--headless" in caught.value.remedy
    with pytest.raises(InputError) as caught:
        with_head(backbone(), tmp_path)
    assert (caught.value.found, caught.value.where) == ("none", str(tmp_path))
    other = backbone()
    with torch.no_grad():
        next(other.net.parameters()).mul_(2)
    other = Backbone.wrap(other.net, name="resnet", input_size=(64, 64))
    with pytest.raises(InputError) as caught:
        with_head(other, folder)
    assert caught.value.found == "one of a network with another weights"
    for name in ("probes.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "probes.json").write_text(json.dumps({"fitted": {}}))
    with pytest.raises(InputError, match="something else"):
        with_head(backbone(), tmp_path)
    with pytest.raises(InputError, match="fitted linear probe"):
        run(backbone(), "classify", demo_world, tmp_path / "reports/x", settings={"head": "probe"})
    assert not (tmp_path / "reports").exists()


def test_of_several_shares_the_largest_is_taken(demo_world: Path, tmp_path: Path) -> None:
    out = tmp_path / "reports/one"
    run(backbone(), "probe", demo_world, out, **PROBE, fractions=[0.5, 1.0])
    whole = read_head(backbone(), next(tmp_path.glob("checkpoints/one/*/probe")))
    run(backbone(), "probe", demo_world, out, **PROBE, fractions=[1.0], overwrite=True)
    alone = read_head(backbone(), next(tmp_path.glob("checkpoints/one/*/probe")))
    assert torch.equal(whole.layer.weight, alone.layer.weight)


def test_a_source_takes_it_too(probed: Path, demo_world: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = timm.create_model("resnet10t", num_classes=0)
    weights = tmp_path / "weights.pth"
    torch.save(net.state_dict(), weights)
    source = f"timm:resnet10t@{weights}"
    size: dict[str, Any] = {"headless": True, "input_size": (64, 64)}
    run(source, "probe", demo_world, tmp_path / "reports/one", **PROBE, settings=size)
    found = run(source, "classify", demo_world, tmp_path / "reports/one", settings={**size, "head": "probe"})
    assert found.status == "complete"
    assert BackboneOptions(head="probe").head == "probe"
