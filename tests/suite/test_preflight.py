"""What a suite needs is looked for before anything runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eval_suite.core.errors import InputError
from eval_suite.suite.preflight import require_inputs, require_no_other_backbones
from eval_suite.suite.suite import load_suite
from eval_suite.training.recipe import Recipe
from tests.suite.checkpoints import write_checkpoint


def check(folder: Path, **changes: Any) -> None:
    content = {
        "name": "mine",
        "demo": {"out": str(folder / "world"), "size": "tiny"},
        "recipe": {"arch": "resnet14_demo", "data": f"folder:{folder / 'world' / 'images'}"},
        "backbones": {"a": {}, "b": {"lr": 0.2}},
        "tasks": {"classify": {"data": f"folder:{folder / 'world' / 'images'}"}},
        **changes,
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(content))
    require_inputs(load_suite(str(folder / "mine.yaml")))


def test_the_demo_world_need_not_be_there_yet(tmp_path: Path) -> None:
    check(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


def test_everything_missing_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as found:
        check(
            tmp_path,
            recipe={"arch": "resnet14_dmo", "data": "folder:absent"},
            backbones={"a": {}, "b": {"source": "timm:resnet18@absent.pth"}},
            tasks={"classify": {"data": "cifar10:gone"}},
        )
    lines = str(found.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [
        "backbones.a.arch",
        "backbones.a.data",
        "backbones.b.source",
        "tasks.classify.data",
    ]
    assert "Did you mean 'resnet14_demo'?" in lines[0]


def test_captions_are_looked_for_like_images(tmp_path: Path) -> None:
    check(tmp_path, tasks={"caption": {"data": f"coco:{tmp_path / 'world' / 'coco'}"}})
    with pytest.raises(
        InputError, match=r"tasks.caption.data: expected a folder with annotations/ at absent"
    ):
        check(tmp_path, tasks={"caption": {"data": "coco:absent"}})
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"tasks.caption.data: expected annotations/captions_<split>.json"):
        check(tmp_path, tasks={"caption": {"data": f"coco:{tmp_path / 'empty'}"}})
    with pytest.raises(
        InputError, match=r"tasks.caption.data: expected captions as coco:PATH, found 'coco:'"
    ):
        check(tmp_path, tasks={"caption": {"data": "coco:"}})


def test_a_regularizer_that_the_architecture_cannot_have_is_named_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(InputError) as found:
        check(
            tmp_path,
            backbones={
                "a": {"regularizers": [{"feature-cutmix": {"layers": ["layer1", "layer5"]}}]},
                "b": {"regularizers": [{"dropblock": {"block_size": 20}}], "input_size": [64, 64]},
                "c": {"arch": "torchvision:vgg11", "regularizers": ["shakedrop"]},
                "d": {"arch": "resnet14_dmo", "regularizers": ["shakedrop"]},
                "e": {"regularizers": ["dropblock", "manifold-mixup", "shakedrop"]},
            },
        )
    lines = [line.strip() for line in str(found.value).splitlines()[1:]]
    assert lines[0].startswith(
        "backbones.a.regularizers: feature-cutmix: resnet14_demo has no layer 'layer5' with a feature map; it has input, conv1"
    )
    assert lines[1].startswith(
        "backbones.b.regularizers: dropblock: blocks of 20x20 do not fit into the 8x8 map of layer3"
    )
    assert lines[2].startswith(
        "backbones.c.regularizers: shakedrop needs a residual network; torchvision:vgg11 has no stages"
    )
    assert lines[3].startswith("backbones.d.arch: unknown")
    assert len(lines) == 4


def test_a_missing_thing_is_named_once_with_who_needs_it(tmp_path: Path) -> None:
    with pytest.raises(InputError) as found:
        check(
            tmp_path,
            recipe={"arch": "resnet14_demo", "data": "imagenet:absent"},
            backbones={
                "a": {},
                "b": {"lr": 0.2},
                "c": {"data": "folder:gone"},
                "d": {"source": "timm:resnet18@w.pth"},
            },
            tasks={"classify": {"data": "imagenet:absent"}, "wsol": {"data": "ilsvrc:absent"}},
        )
    assert [line.strip() for line in str(found.value).splitlines()[1:]] == [
        "backbones.a.data, backbones.b.data, tasks.classify.data, ... (4 in all): expected a folder with images at "
        "absent, found no such folder; check the path in imagenet:PATH",
        "backbones.c.data: expected a folder with images at gone, found no such folder; check the path in folder:PATH",
        "backbones.d.source: expected a file at w.pth, found none",
    ]


def test_faults_of_one_folder_that_is_there_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as found:
        check(
            tmp_path,
            recipe={"arch": "resnet14_demo", "data": f"cub:{tmp_path / 'empty'}"},
            tasks={"detect": {"data": f"voc:{tmp_path / 'empty'}"}},
        )
    lines = str(found.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [
        "backbones.a.data, backbones.b.data",
        "tasks.detect.data",
    ]


@pytest.mark.parametrize(
    ("task", "spec", "expected"),
    [
        ("detect", "folder:{}", "unknown kind of boxes 'folder'. Known: coco, voc"),
        ("caption", "voc:{}", "expected captions as coco:PATH, found 'voc:"),
        ("classify", "coco:{}", "unknown data kind 'coco'"),
        ("ood", "nowhere", "expected data as KIND:PATH"),
    ],
)
def test_data_of_a_kind_that_the_task_does_not_read_are_refused(
    tmp_path: Path, task: str, spec: str, expected: str
) -> None:
    with pytest.raises(InputError, match=f"tasks.{task}.data: {expected}"):
        check(tmp_path, tasks={task: {"data": spec.format(tmp_path / "world")}})


def test_a_set_that_many_need_is_named_once(tmp_path: Path) -> None:
    row = {"tasks": {"ood": {"outliers": ["folder:gone", "folder:absent"]}}}
    with pytest.raises(InputError) as found:
        check(
            tmp_path,
            recipe={"arch": "resnet14_demo", "data": "folder:absent"},
            backbones={"a": {}, "b": {"lr": 0.2}, "c": row},
            tasks={
                "classify": {"data": "folder:absent"},
                "ood": {"data": "folder:absent", "outliers": ["folder:absent"]},
            },
        )
    lines = str(found.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [
        "backbones.a.data, backbones.b.data, backbones.c.data, ... (8 in all)",
        "backbones.c.tasks.ood.outliers.0",
    ]


def test_trained_backbones_need_no_data_to_train_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = {"arch": "resnet14_demo", "data": "folder:absent"}
    tasks = {"classify": {"data": "folder:absent"}}
    content = {"name": "other", "recipe": recipe, "backbones": {"net": {}}, "tasks": tasks}
    Path("other.yaml").write_text(yaml.safe_dump(content))
    rows = {"net": {"trained_in": "other.yaml"}}
    with pytest.raises(InputError, match=r"has 1 problem:\n  backbones.net.data: expected a folder"):
        check(tmp_path, backbones=rows, seeds=[0, 1])
    digest = Recipe.model_validate(recipe).digest()
    write_checkpoint(Path("checkpoints/other/net-s0"), digest, seed=0)
    with pytest.raises(InputError, match=r"backbones.net.data"):
        check(tmp_path, backbones=rows, seeds=[0, 1])
    check(tmp_path, backbones=rows)


def test_weights_to_start_from_and_architectures_of_sources_are_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError) as found:
        check(
            tmp_path,
            backbones={
                "a": {"init": str(tmp_path / "w.pth")},
                "b": {"source": f"timm:resnet81@{tmp_path / 'mine.yaml'}"},
                "c": {"source": "resnet-50"},
            },
        )
    lines = [line.strip() for line in str(found.value).splitlines()[1:]]
    assert [line.split(":")[0] for line in lines] == [
        "backbones.b.source",
        "backbones.c.source",
        "backbones.a.init",
    ]
    assert "Did you mean 'resnet50'?" in lines[1]
    (tmp_path / "w.pth").touch()
    check(tmp_path, backbones={"a": {"init": str(tmp_path / "w.pth")}})


def test_a_finished_backbone_of_another_recipe_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {
        "name": "mine",
        "recipe": {"arch": "resnet14_demo", "data": "folder:x"},
        "backbones": {"a": {}, "b": {"lr": 0.2}},
        "tasks": {},
    }
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump({**content, "tasks": {"classify": {"data": "folder:x"}}})
    )
    suite = load_suite("mine.yaml")
    require_no_other_backbones(suite)
    recipe = suite.backbones["a"].recipe
    assert recipe is not None
    for name in "ab":
        write_checkpoint(tmp_path / "checkpoints" / "mine" / f"{name}-s0", recipe.digest(), 0)
    with pytest.raises(InputError, match=r"mine/b-s0, found a finished one of another recipe"):
        require_no_other_backbones(suite)
