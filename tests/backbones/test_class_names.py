"""What outputs are called: options, weights files, timm's configuration."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.utils import CheckpointSaver
from torch import nn
from torch.optim import SGD

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.class_names import match_outputs, select_outputs
from eval_suite.backbones.sources import load_backbone
from eval_suite.core.errors import InputError
from eval_suite.data.class_order import match_classes
from eval_suite.data.images import ImageIndex

NAMES = ["c", "a", "b"]


def index(*classes: str) -> ImageIndex:
    return ImageIndex("x", "folder:x", "val", list(classes), [], np.zeros(0, np.int64), Path("x"), [], None)


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Weights of three outputs, with the names that its trainer left."""
    net = timm.create_model("resnet20_cifar", num_classes=3)
    torch.save(
        {"state_dict": net.state_dict(), "class_to_idx": {name: i for i, name in enumerate(NAMES)}},
        tmp_path / "w.pth",
    )
    return f"timm:resnet20_cifar@{tmp_path / 'w.pth'}"


def test_names_in_the_weights_file_decide_where_the_data_have_such_classes(source: str) -> None:
    card = load_backbone(source, num_classes=10).card
    assert match_outputs(card, index("a", "b", "c")).outputs.tolist() == [1, 2, 0]
    assert match_outputs(card, index("b", "c")).outputs.tolist() == [2, 0]
    other = match_outputs(card, index("x", "y", "z"))
    assert (other.outputs.tolist(), other.assumed) == ([0, 1, 2], True)
    asked = load_backbone(source, class_order="sorted").card
    assert match_outputs(asked, index("a", "b", "c")).outputs.tolist() == [0, 1, 2]


def test_names_of_another_number_than_the_outputs_are_warned_of(source: str, tmp_path: Path) -> None:
    assert load_backbone(source).card.load.warnings == []
    held = torch.load(tmp_path / "w.pth")
    torch.save({**held, "class_to_idx": {"a": 0, "b": 1}}, tmp_path / "w.pth")
    (warning,) = load_backbone(source).card.load.warnings
    assert warning.startswith("class names: the weights hold 2 for 3 outputs")
    (tmp_path / "names.txt").write_text("x\ny\nz\n")
    assert load_backbone(source, classes=tmp_path / "names.txt").card.load.warnings == []


def test_a_file_of_names_wins_and_has_one_for_each_output(source: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("x\ny\nz\n")
    for option in ("classes", "class_order"):
        card = load_backbone(
            source, **{option: tmp_path / "names.txt" if option == "classes" else str(tmp_path / "names.txt")}
        ).card
        assert (card.classes, card.class_order) == (["x", "y", "z"], None)
    (tmp_path / "names.txt").write_text("x\ny\n")
    with pytest.raises(InputError) as refused:
        load_backbone(source, classes=tmp_path / "names.txt")
    assert (refused.value.where, refused.value.found) == (str(tmp_path / "names.txt"), "2")


def by_timms_script(folder: Path, outputs: int = 3, **options: object) -> str:
    """What timm's saver writes when its training script calls it."""
    net = timm.create_model("resnet20_cifar", num_classes=outputs)
    given = {"class_map": "", "dataset": "", "num_classes": None, "reprob": 0.0, "model": "resnet20_cifar"}
    args = Namespace(**given, train_split="train", val_split="validation")
    vars(args).update(options)
    saver = CheckpointSaver(net, SGD(net.parameters(), 0.1), args=args, checkpoint_dir=str(folder))
    saver.save_checkpoint(0)
    return f"timm:resnet20_cifar@{folder / 'last.pth.tar'}"


def test_timms_script_takes_folders_in_natural_order(tmp_path: Path) -> None:
    card = load_backbone(by_timms_script(tmp_path), num_classes=3).card
    found = match_outputs(card, index("Zoo", "b10", "b9"))
    assert (found.outputs.tolist(), found.assumed) == ([2, 1, 0], False)
    assert "timm's training script" in found.how
    asked = load_backbone(by_timms_script(tmp_path), num_classes=3, class_order="sorted").card
    assert match_outputs(asked, index("Zoo", "b10", "b9")).outputs.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "options", [{"class_map": "map.txt"}, {"dataset": "hfds/x"}, {"dataset": "torch/cifar10"}]
)
def test_where_timms_script_read_no_folders_nothing_is_known(options: Any, tmp_path: Path) -> None:
    card = load_backbone(by_timms_script(tmp_path, **options), num_classes=3).card
    found = match_outputs(card, index("Zoo", "b10", "b9"))
    assert (found.outputs.tolist(), found.assumed) == ([0, 1, 2], True)


def test_ids_of_imagenet_go_before_the_order_of_timms_script(tmp_path: Path) -> None:
    card = load_backbone(by_timms_script(tmp_path, outputs=1000), num_classes=2).card
    assert match_outputs(card, index("n01443537", "n01440764")).outputs.tolist() == [1, 0]


def test_an_order_is_for_outputs_without_names(source: str, tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet20_cifar", num_classes=3).state_dict(), tmp_path / "plain.pth")
    card = load_backbone(f"timm:resnet20_cifar@{tmp_path / 'plain.pth'}", class_order="natural").card
    assert (card.classes, card.class_order) == ([], "natural")
    for wrong in ({"class_order": "bogus"}, {"classes": tmp_path / "absent.txt"}):
        with pytest.raises(InputError):
            load_backbone(source, **wrong)


def test_selected_outputs_come_in_the_datas_order() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    backbone = Backbone.wrap(net, input_size=(2, 2), mean=(0, 0, 0), std=(1, 1, 1), classes=NAMES)
    images = torch.rand(5, 3, 2, 2)
    match = match_classes(["b", "c"], "x", outputs=3, names=NAMES)
    assert torch.equal(select_outputs(backbone, match)(images), backbone(images)[:, [2, 0]])
    whole = match_classes(NAMES, "x", outputs=3, names=NAMES)
    assert select_outputs(backbone, whole) is backbone
