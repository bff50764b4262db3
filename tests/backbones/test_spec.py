"""The grammar of --backbone."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from eval_suite.backbones.spec import BackboneOptions, SourceSpec, default_name, parse_source
from eval_suite.core.errors import InputError

HOME = Path.home()


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("timm:resnet50", SourceSpec("timm", "resnet50")),
        ("timm:resnet50.a1_in1k", SourceSpec("timm", "resnet50.a1_in1k")),
        ("timm:resnet50@w/x.pth", SourceSpec("timm", "resnet50", weights=Path("w/x.pth"))),
        ("timm:a@b:c@d.pth", SourceSpec("timm", "a", weights=Path("b:c@d.pth"))),
        ("torchvision:resnet50", SourceSpec("torchvision", "resnet50")),
        ("torchvision:resnet50/IMAGENET1K_V2", SourceSpec("torchvision", "resnet50", tag="IMAGENET1K_V2")),
        ("torchvision:resnet50@x.pth", SourceSpec("torchvision", "resnet50", weights=Path("x.pth"))),
        ("a/b.py:make", SourceSpec("factory", "make", module=Path("a/b.py"))),
        ("/a/b.py:make@c.th", SourceSpec("factory", "make", module=Path("/a/b.py"), weights=Path("c.th"))),
        (
            "/me@work/b.py:make@/me@work/c.th",
            SourceSpec("factory", "make", module=Path("/me@work/b.py"), weights=Path("/me@work/c.th")),
        ),
        ("~/b.py:make@~/c.th", SourceSpec("factory", "make", module=HOME / "b.py", weights=HOME / "c.th")),
        ("timm:resnet50@~/c.th", SourceSpec("timm", "resnet50", weights=HOME / "c.th")),
        ("resnet50", SourceSpec("timm", "resnet50")),
        ("resnet50.a1_in1k@c.th", SourceSpec("timm", "resnet50.a1_in1k", weights=Path("c.th"))),
        ("hf-hub:timm/resnet50.a1_in1k", SourceSpec("timm", "hf-hub:timm/resnet50.a1_in1k")),
        ("hf_hub:me/mine@main", SourceSpec("timm", "hf-hub:me/mine@main")),
        ("timm:hf-hub:me/mine", SourceSpec("timm", "hf-hub:me/mine")),
    ],
)
def test_every_form(text: str, spec: SourceSpec) -> None:
    assert parse_source(text) == spec


@pytest.mark.parametrize("name", ["cutmix-s0", "me@work", "odd:name", "timm:resnet18"])
def test_a_folder_is_a_checkpoint_whatever_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_source(name) == SourceSpec("checkpoint", name)
    assert parse_source(str(tmp_path / name)) == SourceSpec("checkpoint", str(tmp_path / name))


@pytest.mark.parametrize(
    "text", ["", "no/where", "timm:", "timm:@x.pth", "jax:resnet50", "a b", "hf-hub:", "local-dir:"]
)
def test_anything_else_is_answered_with_the_grammar(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected a checkpoint folder, timm:NAME") as caught:
        parse_source(text)
    assert f"'{text}'" in str(caught.value)


@pytest.mark.parametrize("text", ["mine.pt", "@x.pth", "a/b@work.ckpt", "model_best.pth.tar"])
def test_weights_alone_are_asked_for_their_architecture(text: str) -> None:
    with pytest.raises(InputError, match="which one") as caught:
        parse_source(text)
    assert f"timm:NAME@{text.removeprefix('@')}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/model.py", "expected a/model.py:FACTORY"),
        ("a/model.py@b/w.pth", "expected a/model.py:FACTORY@b/w.pth"),
        ("https://example.org/w.pth", "download it"),
        ("timm/resnet50.a1_in1k", "hf-hub:timm/resnet50.a1_in1k"),
        ("hf-hub:resnet50", "expected hf-hub:ORG/NAME"),
        ("local-dir:nowhere", "config.json at nowhere, found none"),
    ],
)
def test_what_a_source_lacks_is_said(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_source(text)


def test_a_snapshot_of_the_hub_is_known_by_its_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "me@work" / "resnet.a1"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    expected = SourceSpec("timm", f"local-dir:{folder}")
    forms = [str(folder), f"local-dir:{folder}", f"timm:local-dir:{folder}"]
    assert [parse_source(form) for form in forms] == [expected] * 3
    assert {default_name(form) for form in forms} == {("resnet.a1", None)}
    (folder / "card.json").write_text("{}")
    assert parse_source(str(folder)).kind == "checkpoint"


def test_a_folder_with_a_weights_file_is_no_form(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no backbone at"):
        parse_source(f"{tmp_path}@x.pth")


@pytest.mark.parametrize("text", ["a.py:", "a.py:1x", "a.py:make me", "a.py:x.y", "a.py:@w.pth"])
def test_a_factory_needs_a_function_name(text: str) -> None:
    with pytest.raises(InputError, match=r"expected path/to/model.py:FACTORY"):
        parse_source(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("timm:resnet50.a1_in1k", "resnet50.a1_in1k"),
        ("torchvision:resnet50/IMAGENET1K_V2", "resnet50-IMAGENET1K_V2"),
        ("torchvision:resnet50", "resnet50"),
        ("a/b.py:make", "make"),
        ("a/b.py:make@w/resnet20-12fca82f.th", "resnet20-12fca82f"),
        ("resnet18@runs/model_best.pth.tar", "model_best"),
        ("resnet18@runs/v1.2", "v1.2"),
        ("hf-hub:timm/resnet50.a1_in1k", "resnet50.a1_in1k"),
        ("hf-hub:me/mine@main", "mine"),
    ],
)
def test_a_backbone_has_a_name_by_default(text: str, name: str) -> None:
    assert default_name(text) == (name, None)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("cutmix-s0", ("cutmix", 0)),
        ("a-s1-s12", ("a-s1", 12)),
        ("cutmix", ("cutmix", None)),
        ("res-sx", ("res-sx", None)),
        ("-s3", ("-s3", None)),
    ],
)
def test_a_checkpoint_is_named_by_its_folder(
    folder: str, name: tuple[str, int | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    assert default_name(".") == default_name(f"{tmp_path}/{folder}/") == name


def test_options_refuse_what_they_do_not_know() -> None:
    assert BackboneOptions(mean=(0, 0, 0)).std is None
    assert BackboneOptions.model_validate({"input_size": 32}).input_size == (32, 32)
    for wrong in ({"num_classes": 0}, {"mean": (0, 0)}, {"input_size": (32, 32, 32)}, {"classes": 3}):
        with pytest.raises(ValidationError):
            BackboneOptions.model_validate(wrong)


def test_reading_a_source_needs_no_torch() -> None:
    code = "import eval_suite.backbones.spec, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
