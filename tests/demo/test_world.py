import fcntl
import hashlib
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.demo import layouts as demo_layouts
from eval_suite.demo import world as demo
from eval_suite.demo.creatures import CLASSES
from eval_suite.demo.layouts import OOD_SETS, DemoSize, Part
from eval_suite.demo.world import SIZES, DemoSummary, make_demo


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> DemoSummary:
    return make_demo(tmp_path_factory.mktemp("demo") / "world", "tiny", seed=0)


def tree(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def columns(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()]


def picture(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


def forbid(*_: object) -> dict[str, int]:
    raise AssertionError("nothing was to be written")


def interrupt(*_: object) -> dict[str, int]:
    raise KeyboardInterrupt


class TestBytes:
    def test_the_same_seed_makes_the_same_bytes(self, world: DemoSummary, tmp_path: Path) -> None:
        make_demo(tmp_path / "elsewhere", "tiny", seed=0)
        assert tree(tmp_path / "elsewhere") == tree(world.out)

    def test_another_seed_makes_every_picture_anew(self, world: DemoSummary, tmp_path: Path) -> None:
        make_demo(tmp_path / "other", "tiny", seed=1)
        first, second = tree(world.out), tree(tmp_path / "other")
        pictures = [name for name in first if name.endswith(".jpg")]
        assert first.keys() == second.keys()
        assert len(pictures) == sum(world.counts.values())
        assert not [name for name in pictures if first[name] == second[name]]

    def test_no_two_pictures_are_alike(self, world: DemoSummary) -> None:
        hashes = [value for name, value in tree(world.out).items() if name.endswith(".jpg")]
        assert len(set(hashes)) == len(hashes)

    def test_a_picture_depends_on_no_other(self, world: DemoSummary, tmp_path: Path) -> None:
        fewer = DemoSize(2, 1, 3, 2, 1, 2, 1, 2)
        demo_layouts.write_ood(tmp_path / "ood", fewer, 0)
        demo_layouts.write_voc(tmp_path / "VOCdevkit", fewer, 0)
        demo_layouts.write_images(tmp_path / "images", fewer, 0)
        whole, part = tree(world.out), tree(tmp_path)
        shared = [name for name in part if name.startswith(("images/", "ood/")) and name.endswith(".jpg")]
        shared += [f"VOCdevkit/VOC2007/JPEGImages/{i:06d}.jpg" for i in (1, 2, 3)]
        assert len(shared) == 30 + 6 + 3
        assert {name: part[name] for name in shared} == {name: whole[name] for name in shared}


class TestImages:
    def test_lists_agree_with_the_files(self, world: DemoSummary) -> None:
        root = world.out / "images"
        images = dict(columns(root / "images.txt"))
        labels, split = (
            dict(columns(root / "image_class_labels.txt")),
            dict(columns(root / "train_test_split.txt")),
        )
        classes = dict(columns(root / "classes.txt"))
        on_disk = {str(path.relative_to(root)) for path in root.rglob("*.jpg")}
        assert set(images.values()) == on_disk
        assert list(images) == [str(i + 1) for i in range(len(on_disk))]
        assert list(classes.values()) == world.classes == list(CLASSES)
        assert list(classes) == [str(i + 1) for i in range(10)]
        assert labels.keys() == split.keys() == images.keys()
        for key, path in images.items():
            assert path.split("/")[:2] == ["train" if split[key] == "1" else "val", classes[labels[key]]]
        assert Counter(path.rsplit("/", 1)[0] for path in on_disk) == {
            f"{part}/{name}": n for part, n in (("train", 6), ("val", 3)) for name in CLASSES
        }

    def test_boxes_are_tight_around_the_masks(self, world: DemoSummary) -> None:
        root = world.out / "images"
        paths, boxes = columns(root / "images.txt"), columns(root / "bounding_boxes.txt")
        assert [row[0] for row in boxes] == [row[0] for row in paths]
        for (_, path), (_, *numbers) in zip(paths, boxes, strict=True):
            assert all(number == f"{float(number):.1f}" for number in numbers)
            x, y, width, height = (int(float(number)) for number in numbers)
            split, name, file = path.split("/")
            number = (int(file[:4]) - 1) * 10 + CLASSES.index(name)
            made = demo_layouts.portrait(0, Part.TRAIN if split == "train" else Part.VAL, number, 64)
            inside = made.mask[y : y + height, x : x + width]
            assert made.creature.name == name
            assert inside.shape == (height, width)
            assert inside.sum() == made.mask.sum() > 0
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
            assert 0.15 * 64 < max(width, height) <= 64
            pixels = np.asarray(picture(root / path)).astype(int)
            assert np.abs(pixels - made.pixels).mean() < 6

    def test_pictures_have_one_size(self, world: DemoSummary) -> None:
        flat = [*(world.out / "images").rglob("*.jpg"), *(world.out / "ood").rglob("*.jpg")]
        assert {(picture(path).size, picture(path).mode) for path in flat} == {((64, 64), "RGB")}


class TestVoc:
    def test_annotations_have_the_official_fields(self, world: DemoSummary) -> None:
        difficult, names = 0, set()
        for year in ("VOC2007", "VOC2012"):
            for path in sorted((world.out / "VOCdevkit" / year / "Annotations").iterdir()):
                root = ET.parse(path).getroot()
                assert [child.tag for child in root][:5] == [
                    "folder",
                    "filename",
                    "source",
                    "size",
                    "segmented",
                ]
                assert (root.findtext("folder"), root.findtext("filename")) == (year, f"{path.stem}.jpg")
                shown = picture(path.parents[1] / "JPEGImages" / f"{path.stem}.jpg")
                size = [int(root.findtext(f"size/{side}") or 0) for side in ("width", "height", "depth")]
                assert size == [*shown.size, 3] == [128, 96, 3]
                objects = root.findall("object")
                assert 1 <= len(objects) <= 4
                for each in objects:
                    assert [child.tag for child in each] == [
                        "name",
                        "pose",
                        "truncated",
                        "difficult",
                        "bndbox",
                    ]
                    assert [child.tag for child in each[4]] == ["xmin", "ymin", "xmax", "ymax"]
                    xmin, ymin, xmax, ymax = (int(child.text or 0) for child in each[4])
                    assert 1 <= xmin < xmax <= 128
                    assert 1 <= ymin < ymax <= 96
                    assert each.findtext("pose") in ("Left", "Right")
                    difficult += int(each.findtext("difficult") or 0)
                    names.add(each.findtext("name"))
        assert names == set(CLASSES)
        assert 1 <= difficult <= 12

    def test_sets_name_the_files(self, world: DemoSummary) -> None:
        for year, tested in (("VOC2007", 6), ("VOC2012", 0)):
            root = world.out / "VOCdevkit" / year
            sets = {path.stem: path.read_text().split() for path in (root / "ImageSets" / "Main").iterdir()}
            assert len(sets.get("test", [])) == tested
            assert sorted(sets["train"] + sets["val"]) == sets["trainval"]
            everything = sorted(sets["trainval"] + sets.get("test", []))
            assert everything == sorted(path.stem for path in (root / "JPEGImages").iterdir())
            assert everything == sorted(path.stem for path in (root / "Annotations").iterdir())


class TestCaptions:
    @pytest.mark.parametrize("split", ["train2014", "val2014"])
    def test_five_different_captions_for_every_picture(self, world: DemoSummary, split: str) -> None:
        root = world.out / "coco"
        content = json.loads((root / "annotations" / f"captions_{split}.json").read_text())
        assert {"info", "licenses", "images", "annotations"} == content.keys()
        images = {image["id"]: image for image in content["images"]}
        assert len(images) == len(content["images"]) == world.counts[f"coco/{split}"]
        assert {image["file_name"] for image in images.values()} == {p.name for p in (root / split).iterdir()}
        for identity, image in images.items():
            assert image["file_name"] == f"COCO_{split}_{identity:012d}.jpg"
            assert picture(root / split / image["file_name"]).size == (image["width"], image["height"])
        captions: dict[int, list[str]] = {identity: [] for identity in images}
        for annotation in content["annotations"]:
            captions[annotation["image_id"]].append(annotation["caption"])
        assert {len(set(five)) for five in captions.values()} == {5}
        assert all(text[0].isupper() and text.endswith(".") for five in captions.values() for text in five)

    def test_numbers_are_unique_over_both_splits(self, world: DemoSummary) -> None:
        both = [
            json.loads((world.out / "coco" / "annotations" / f"captions_{split}2014.json").read_text())
            for split in ("train", "val")
        ]
        for kind, expected in (("images", 12), ("annotations", 60)):
            assert len({item["id"] for content in both for item in content[kind]}) == expected


class TestSummary:
    def test_counts_are_the_files(self, world: DemoSummary) -> None:
        root = world.out
        found = {
            f"images/{split}": len([*(root / "images" / split).rglob("*.jpg")]) for split in ("train", "val")
        }
        found |= {f"ood/{name}": len([*(root / "ood" / name).iterdir()]) for name in OOD_SETS}
        found |= {
            f"coco/{split}": len([*(root / "coco" / split).iterdir()]) for split in ("train2014", "val2014")
        }
        for year, split in (("VOC2007", "trainval"), ("VOC2007", "test"), ("VOC2012", "trainval")):
            listed = (root / "VOCdevkit" / year / "ImageSets" / "Main" / f"{split}.txt").read_text().split()
            found[f"{year}/{split}"] = len(listed)
        assert world.counts == found
        assert json.loads((root / "demo.json").read_text()) == {
            "generator": "eval_suite demo world",
            "version": demo.VERSION,
            "seed": 0,
            "size": "tiny",
            "counts": found,
            "classes": list(CLASSES),
        }

    def test_medium_is_four_times_small(self) -> None:
        for field in ("train_per_class", "voc2007_test", "coco_val", "ood_per_set"):
            assert getattr(SIZES["medium"], field) == 4 * getattr(SIZES["small"], field)

    def test_torch_stays_out(self) -> None:
        code = "import sys, eval_suite.demo.world; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestFolder:
    @pytest.fixture(autouse=True)
    def _few_pictures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(demo.SIZES, "tiny", DemoSize(1, 1, 2, 1, 2, 1, 1, 1))

    def test_a_second_call_does_nothing(self, world: DemoSummary, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(demo, "_PARTS", dict.fromkeys(demo._PARTS, forbid))
        again = make_demo(world.out, "tiny", seed=0)
        assert again[:3] == world[:3]
        assert again.seconds < world.seconds

    def test_another_seed_and_another_version_replace_a_world(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "world"
        make_demo(out, "tiny", seed=1)
        first = tree(out)
        make_demo(out, "tiny", seed=2)
        second = tree(out)
        assert second != first
        monkeypatch.setattr(demo, "VERSION", demo.VERSION + 1)
        make_demo(out, "tiny", seed=2)
        assert json.loads((out / "demo.json").read_text())["version"] == demo.VERSION
        assert [path.name for path in tmp_path.iterdir()] == ["world"]

    def test_an_interrupted_run_leaves_nothing_and_the_old_world_stands(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "world"
        with monkeypatch.context() as patch:
            patch.setitem(demo._PARTS, "ood", interrupt)
            with pytest.raises(KeyboardInterrupt):
                make_demo(out, "tiny")
            assert list(tmp_path.iterdir()) == []
        make_demo(out, "tiny")
        before = tree(out)
        monkeypatch.setitem(demo._PARTS, "ood", interrupt)
        with pytest.raises(KeyboardInterrupt):
            make_demo(out, "tiny", seed=1)
        assert tree(out) == before
        assert [path.name for path in tmp_path.iterdir()] == ["world"]

    @pytest.mark.parametrize("summary", [True, False])
    def test_a_half_made_world_is_made_again(self, tmp_path: Path, summary: bool) -> None:
        whole, out = make_demo(tmp_path / "whole", "tiny").out, tmp_path / "world"
        (out / "images" / "train").mkdir(parents=True)
        (out / ".demo-incomplete").touch()
        if summary:
            (out / "demo.json").write_bytes((whole / "demo.json").read_bytes())
        make_demo(out, "tiny")
        assert tree(out) == tree(whole)

    def test_work_of_a_killed_run_is_swept_away_and_that_of_a_running_one_is_not(
        self, tmp_path: Path
    ) -> None:
        for name in ("killed", "running"):
            (tmp_path / f".world.{name}.tmp").mkdir()
            (tmp_path / f".world.{name}.tmp" / ".held").touch()
        with (tmp_path / ".world.running.tmp" / ".held").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            make_demo(tmp_path / "world", "tiny")
        assert sorted(path.name for path in tmp_path.iterdir()) == [".world.running.tmp", "world"]

    def test_an_empty_folder_and_missing_parents_will_do(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert make_demo(tmp_path / "empty", "tiny").out == tmp_path / "empty"
        assert make_demo(tmp_path / "a" / "b", "tiny").counts["images/train"] == 10
        assert (tmp_path / "a" / "b" / "demo.json").is_file()

    @pytest.mark.parametrize("content", ["notes.txt", "demo.json", "images"])
    def test_other_content_is_left_alone(self, content: str, tmp_path: Path) -> None:
        (tmp_path / content).write_text('{"precious": 1}')
        with pytest.raises(
            InputError, match=rf"expected an empty folder.*found other content \({content}\)"
        ) as raised:
            make_demo(tmp_path, "tiny")
        assert "\n" not in str(raised.value)
        assert (tmp_path / content).read_text() == '{"precious": 1}'

    def test_own_files_in_a_world_are_left_alone(self, tmp_path: Path) -> None:
        out = tmp_path / "world"
        make_demo(out, "tiny")
        (out / "my-weights.pth").touch()
        with pytest.raises(InputError, match=r"my-weights\.pth"):
            make_demo(out, "tiny", seed=1)
        assert (out / "my-weights.pth").exists()

    def test_wrong_requests(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"unknown demo size 'smal'\. Did you mean 'small'"):
            make_demo(tmp_path / "world", "smal")
        with pytest.raises(InputError, match="expected a demo seed of 0 or larger, found -1"):
            make_demo(tmp_path / "world", "tiny", seed=-1)
        assert list(tmp_path.iterdir()) == []

    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="found a file"):
            make_demo(tmp_path / "file", "tiny")
        with pytest.raises(EvalSuiteError, match="cannot write the demo world") as raised:
            make_demo(tmp_path / "file" / "world", "tiny")
        assert "\n" not in str(raised.value)
