"""Every place a backbone can come from, and what each says when it cannot."""

import json
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

import huggingface_hub.constants
import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor

from eval_suite.backbones.building import build_net
from eval_suite.backbones.checkpoint import save_checkpoint, state_sha256
from eval_suite.backbones.sources import IMAGENET_MEAN, IMAGENET_STD, finish, load_backbone
from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import EvalSuiteError, InputError

FACTORY = Path(__file__).parent / "akamaster_resnet20.py"
TINY = {"blocks": 1, "channels": [4, 8, 16]}


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """No network and no cache; every attempt to use one is noted."""
    attempts: list[Any] = []

    def refuse(*arguments: Any, **_: Any) -> None:
        attempts.append(arguments)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return attempts


def images(n: int = 2, size: int = 32) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def normalised(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (x - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def trained(folder: Path, seed: int = 0) -> BackboneCard:
    """A checkpoint folder as training leaves it."""
    torch.manual_seed(seed)
    net = build_net("resnet14_demo", 3, TINY)
    card = BackboneCard(
        name="cutmix",
        source="",
        arch="resnet14_demo",
        arch_options=TINY,
        classes=["a", "b", "c"],
        input_size=(32, 32),
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        recipe={"lr": 0.1},
    )
    backbone = finish(net, card)
    save_checkpoint(folder, net.state_dict(), backbone.card)
    return backbone.card


def test_a_checkpoint_folder_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    card = trained(tmp_path / "cutmix-s0")
    found = load_backbone(str(tmp_path / "cutmix-s0"), name="mine", num_classes=99)
    assert found.card.name == "mine"
    assert found.card.source == str(tmp_path / "cutmix-s0")
    assert found.card.load.matched == len(found.net.state_dict())
    same = {"name", "source", "load"}
    assert found.card.model_dump(exclude=same) == card.model_dump(exclude=same)
    torch.manual_seed(0)
    net = build_net("resnet14_demo", 3, TINY).eval()
    torch.testing.assert_close(found(images()), net((images() - 0.5) / 0.2))


def test_flags_override_what_a_checkpoint_says(tmp_path: Path) -> None:
    trained(tmp_path)
    options: Any = {"mean": (0.1, 0.1, 0.1), "input_size": (64, 64), "feature_layer": "layer2"}
    card = load_backbone(str(tmp_path), name="a", **options).card
    assert (card.mean, card.std) == ((0.1, 0.1, 0.1), (0.2, 0.2, 0.2))
    assert (card.input_size, card.feature_layer) == ((64, 64), "layer2")


def test_a_checkpoint_whose_weights_were_changed_is_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    state["fc.bias"][0] += 1e-3
    save_file(state, path)
    with pytest.raises(InputError, match=r"is not the file that its card.json describes"):
        load_backbone(str(tmp_path), name="a")
    trained(tmp_path / "other", seed=1)
    path.write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"is not the file that its card.json describes"):
        load_backbone(str(tmp_path), name="a")


def test_an_unfinished_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no card.json; finish its training"):
        load_backbone(str(tmp_path), name="a")
    trained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"expected a weights file at .*model.safetensors, found none"):
        load_backbone(str(tmp_path), name="a")


def test_a_checkpoint_of_an_unknown_architecture_is_told(tmp_path: Path) -> None:
    trained(tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps({**card, "arch": "resnet14_demi"}))
    with pytest.raises(InputError, match="Did you mean 'resnet14_demo'"):
        load_backbone(str(tmp_path), name="a")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_timm_name_with_local_weights(suffix: str, tmp_path: Path, network: list[Any]) -> None:
    torch.manual_seed(1)
    net = timm.create_model("mobilenetv3_small_050", num_classes=5)
    path = tmp_path / f"w{suffix}"
    save_file(net.state_dict(), path) if suffix == ".safetensors" else torch.save(net.state_dict(), path)
    found = load_backbone(f"timm:mobilenetv3_small_050@{path}", name="m", num_classes=5)
    config = timm.data.resolve_model_data_config(net)
    expected = net.eval()(normalised(images(2, 64), config["mean"], config["std"]))
    assert torch.equal(found(images(2, 64)), expected)
    assert found.card.arch == "timm:mobilenetv3_small_050"
    assert found.card.input_size == (224, 224)
    assert (found.card.interpolation, found.card.crop_fraction) == (
        config["interpolation"],
        config["crop_pct"],
    )
    assert found.card.load.matched == len(net.state_dict())
    assert found.card.weights_sha256 == state_sha256(net.state_dict())
    assert found.card.classes == []
    assert network == []


def test_a_timm_name_with_a_tag_takes_local_weights_too(tmp_path: Path, network: list[Any]) -> None:
    net = timm.create_model("mobilenetv3_small_050.lamb_in1k", num_classes=2)
    torch.save(net.state_dict(), tmp_path / "w.pth")
    source = f"timm:mobilenetv3_small_050.lamb_in1k@{tmp_path / 'w.pth'}"
    assert load_backbone(source, name="m", num_classes=2).card.interpolation == "bicubic"
    assert network == []


def test_a_torchvision_name_with_local_weights(tmp_path: Path, network: list[Any]) -> None:
    torch.manual_seed(1)
    net = torchvision.models.squeezenet1_1(num_classes=4)
    torch.save({"state_dict": net.state_dict()}, tmp_path / "w.pth")
    found = load_backbone(f"torchvision:squeezenet1_1@{tmp_path / 'w.pth'}", name="s", num_classes=4)
    expected = net.eval()(normalised(images(2, 64), IMAGENET_MEAN, IMAGENET_STD))
    assert torch.equal(found(images(2, 64)), expected)
    assert found.card.num_classes == 4
    wrapped, defaults = found.card.load.notes
    assert wrapped == "took the weights under 'state_dict'"
    assert defaults.startswith("input size, mean and std of the input are the library's")
    assert network == []


@pytest.mark.parametrize("guess", [None, 7, 10])
def test_a_weights_file_knows_its_number_of_classes(guess: int | None, tmp_path: Path) -> None:
    net = timm.create_model("resnet20_cifar", num_classes=7).eval()
    torch.save(net.state_dict(), tmp_path / "w.pth")
    found = load_backbone(f"timm:resnet20_cifar@{tmp_path / 'w.pth'}", name="a", num_classes=guess)
    assert found.card.num_classes == 7
    assert found.card.weights_sha256 == state_sha256(net.state_dict())
    assert any("7 outputs" in note for note in found.card.load.notes) == (guess != 7)


def test_a_factory_with_a_fixed_number_of_classes_is_refused_with_another(tmp_path: Path) -> None:
    code = "def make(): return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))"
    torch.save({"2.weight": torch.zeros(7, 3), "2.bias": torch.zeros(7)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"2.weight \(file \(7, 3\), network \(10, 3\)\)"):
        load_backbone(f"{_factory(tmp_path, code)}@{tmp_path / 'w.pth'}", num_classes=7)


@pytest.mark.parametrize("source", ["timm:mobilenetv3_small_050", "timm:mobilenetv3_small_050.lamb_in1k"])
def test_published_timm_weights_without_a_network_fail_in_one_line(source: str, network: list[Any]) -> None:
    with pytest.raises(EvalSuiteError) as caught:
        load_backbone(source, name="a")
    assert caught.value.exit_code == 1
    message = str(caught.value)
    assert f"the published weights of {source} cannot be had" in message
    assert f"give a local file: {source}@weights.safetensors" in message
    assert "\n" not in message
    assert network == []


def test_published_torchvision_weights_without_a_network_fail_in_one_line(
    network: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(EvalSuiteError) as caught:
        load_backbone("torchvision:squeezenet1_1/IMAGENET1K_V1", name="a")
    message = str(caught.value)
    assert "weights of torchvision:squeezenet1_1/IMAGENET1K_V1 cannot be had (URLError" in message
    assert message.endswith("give a local file: torchvision:squeezenet1_1@weights.safetensors")
    assert "\n" not in message
    assert network == []


def test_published_torchvision_weights_bring_their_preprocessing(
    network: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(2)
    state = torchvision.models.squeezenet1_1().state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: state)
    found = load_backbone("torchvision:squeezenet1_1", name="a", num_classes=3)
    assert found.card.load.notes == ["published weights IMAGENET1K_V1"]
    assert found.card.num_classes == 1000
    assert (found.card.input_size, found.card.crop_fraction) == ((224, 224), 224 / 256)
    assert (found.card.mean, found.card.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert found.card.weights_sha256 == state_sha256(state)
    assert network == []


def test_an_architecture_without_published_weights_is_never_random(network: list[Any]) -> None:
    with pytest.raises(EvalSuiteError, match="weights of timm:resnet20_cifar cannot be had"):
        load_backbone("timm:resnet20_cifar", name="a")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "timm:resnet20_cifra",
            r"unknown timm architecture 'resnet20_cifra'. Did you mean 'resnet20_cifar'\?",
        ),
        ("timm:resnet20_cifra@w.pth", "Did you mean 'resnet20_cifar'"),
        ("timm:resnet18.a1_in1", r"unknown weights of timm:resnet18 'a1_in1'. Did you mean 'a1_in1k'\?"),
        ("timm:resnet18.a1_in1@w.pth", "Did you mean 'a1_in1k'"),
        ("torchvision:resnet81", "unknown torchvision architecture 'resnet81'. Did you mean 'resnet18'"),
        ("torchvision:resnet81@w.pth", "Did you mean 'resnet18'"),
        (
            "torchvision:resnet18.a@w.pth",
            "unknown torchvision architecture 'resnet18.a'. Did you mean 'resnet18'",
        ),
        ("torchvision:resnet18.a", "unknown torchvision architecture 'resnet18.a'"),
        ("torchvision:resnet18/IMAGENET1K_V9", "Did you mean 'IMAGENET1K_V1'"),
        ("timm:ResNet-50", "Did you mean 'resnet50'"),
        ("resnet-50", r"no backbone at 'resnet-50': no such folder, and .*Did you mean 'resnet50'"),
        ("timm:vit_b_16", "torchvision has it: torchvision:vit_b_16"),
        ("timm:resnet20_cifar@none.pth", "expected a weights file at none.pth, found none"),
        ("none.py:make", "expected a Python file at none.py, found none"),
    ],
)
def test_wrong_names_are_answered_with_the_nearest(source: str, message: str, network: list[Any]) -> None:
    with pytest.raises(InputError, match=message):
        load_backbone(source, name="a", num_classes=10)
    assert network == []


def test_a_users_factory_with_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(3)
    namespace: dict[str, Any] = {}
    exec(FACTORY.read_text(), namespace)
    net = namespace["resnet20"](10)
    torch.save({"state_dict": {f"module.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "w.th")
    found = load_backbone(
        f"{FACTORY}:resnet20@{tmp_path / 'w.th'}",
        name="r",
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.3, 0.4),
        num_classes=10,
        image_size=(32, 32),
    )
    assert torch.equal(found(images()), net.eval()(normalised(images(), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))))
    assert (found.card.input_size, found.card.num_classes) == ((32, 32), 10)
    assert (found.card.parameters, found.card.feature_layer) == (269_722, "layer3")
    assert found.card.load.notes == ["took the weights under 'state_dict.module'"]
    assert found.card.arch == f"{FACTORY}:resnet20"


def test_a_factory_alone_says_that_no_weights_were_named(tmp_path: Path) -> None:
    head = "nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, num_classes))"
    source = _factory(tmp_path, f"def make(num_classes):\n    return {head}\n")
    card = load_backbone(source, name="r", num_classes=4).card
    assert card.num_classes == 4
    assert card.load.notes[0] == "no weights file named: the weights are those the factory returned"
    assert (card.input_size, card.mean, card.std) == ((224, 224), IMAGENET_MEAN, IMAGENET_STD)


def _factory(tmp_path: Path, code: str) -> str:
    path = tmp_path / "model.py"
    path.write_text("import torch\nfrom torch import nn\n" + code)
    return f"{path}:make"


def test_a_factory_may_use_dataclasses_with_postponed_annotations(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from torch import nn\n@dataclass\nclass Config:\n    kind: ClassVar[str] = 'a'\n    width: int = 4\n"
        "def make():\n    c = Config()\n"
        "    return nn.Sequential(nn.Conv2d(3, c.width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    before = set(sys.modules)
    try:
        assert load_backbone(f"{path}:make", name="a", num_classes=9).card.num_classes == 4
    finally:
        for name in set(sys.modules) - before:
            if name.startswith("_backbone_"):
                del sys.modules[name]


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("import not_a_module", EvalSuiteError, "cannot be imported: ModuleNotFoundError: No module named"),
        ("def make(:", EvalSuiteError, "cannot be imported: SyntaxError"),
        ("def mace(): pass", InputError, "Did you mean 'mace'"),
        ("make = 3", InputError, "unknown factory in .* 'make'"),
        ("def make(): raise KeyError('x')", EvalSuiteError, "model.py:make failed: KeyError: 'x'"),
        ("def make(size): pass", EvalSuiteError, "model.py:make failed: TypeError: .*'size'"),
        ("def make(): return {}", InputError, "to return a torch.nn.Module, found dict"),
        (
            "def make(): return nn.Linear(3, 3)",
            InputError,
            "found \\(1, 3, 224, 3\\)|cannot take a 224x224 image",
        ),
    ],
)
def test_a_factory_that_fails_says_how(
    code: str, kind: type[EvalSuiteError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(EvalSuiteError, match=message) as caught:
        load_backbone(_factory(tmp_path, code), name="a")
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_cover_a_factorys_network_are_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(16, 3, 3, 3)}, tmp_path / "w.th")
    with pytest.raises(InputError, match=r"do not cover the network: 96 missing: bn1.weight"):
        load_backbone(f"{FACTORY}:resnet20@{tmp_path / 'w.th'}", name="a", num_classes=10)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_a_snapshot_of_the_hub_brings_its_configuration(
    file: str, tmp_path: Path, network: list[Any]
) -> None:
    torch.manual_seed(1)
    net = timm.create_model("mobilenetv3_small_050", num_classes=3).eval()
    config = {
        "architecture": "mobilenetv3_small_050",
        "num_classes": 3,
        "label_names": ["x", "y", "z"],
        "pretrained_cfg": {
            "input_size": [3, 64, 64],
            "mean": [0.1, 0.2, 0.3],
            "std": [0.4, 0.5, 0.6],
            "crop_pct": 0.9,
            "interpolation": "bilinear",
            "num_classes": 3,
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    state = net.state_dict()
    save_file(state, tmp_path / file) if file.endswith("s") else torch.save(state, tmp_path / file)
    found = load_backbone(f"local-dir:{tmp_path}", num_classes=10)
    expected = net(normalised(images(2, 64), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    assert torch.equal(found(images(2, 64)), expected)
    assert (found.card.input_size, found.card.crop_fraction, found.card.num_classes) == ((64, 64), 0.9, 3)
    assert found.card.load.classes == ["x", "y", "z"]
    assert network == []


def test_a_snapshot_without_weights_or_of_another_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["ResNetForImageClassification"]}))
    with pytest.raises(InputError, match=r"expected timm's configuration in .*config.json"):
        load_backbone(str(tmp_path))
    whole = {"architecture": "resnet20_cifar", "num_classes": 3, "pretrained_cfg": {}}
    (tmp_path / "config.json").write_text(json.dumps(whole))
    with pytest.raises(InputError, match=r"expected model.safetensors or pytorch_model.bin in"):
        load_backbone(str(tmp_path))


def test_one_of_two_sets_of_weights_is_chosen_by_its_entry(tmp_path: Path) -> None:
    nets = [timm.create_model("resnet20_cifar", num_classes=3) for _ in range(2)]
    torch.save({"student": nets[0].state_dict(), "teacher": nets[1].state_dict()}, tmp_path / "w.pth")
    source = f"timm:resnet20_cifar@{tmp_path / 'w.pth'}"
    with pytest.raises(
        InputError, match=r"under 'student' and 'teacher'; choose one, as with --weights-entry"
    ):
        load_backbone(source, num_classes=3)
    with pytest.raises(InputError, match="expected a weights file with --weights-entry"):
        load_backbone(f"{FACTORY}:resnet20", weights_entry="teacher")
    found = load_backbone(source, num_classes=3, weights_entry="teacher")
    assert found.card.weights_sha256 == state_sha256(nets[1].state_dict())


def test_a_factory_in_half_precision_is_evaluated_in_single(tmp_path: Path) -> None:
    code = (
        "def make(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).half()"
    )
    found = load_backbone(_factory(tmp_path, code), input_size=(32, 32))
    assert found(images()).dtype == torch.float32
    assert "the network is in torch.float16; it is evaluated in torch.float32" in found.card.load.notes


def test_a_factory_may_import_files_next_to_it_when_it_is_called(tmp_path: Path) -> None:
    for folder, outputs in (("a", 4), ("b", 5)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sibling_net.py").write_text(f"OUTPUTS = {outputs}")
        _factory(
            tmp_path / folder,
            "def make():\n    import sibling_net\n"
            "    return nn.Sequential(nn.Conv2d(3, sibling_net.OUTPUTS, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())",
        )
    found = [load_backbone(f"{tmp_path}/{folder}/model.py:make").card.num_classes for folder in "ab"]
    assert found == [4, 5]  # and not the first folder's file for both


def test_folders_that_a_factory_adds_to_the_path_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "lent_net.py").write_text("OUTPUTS = 4")
    code = (
        f"import sys\nsys.path.insert(0, {str(tmp_path / 'lib')!r})\n"
        "def make():\n    import lent_net\n"
        "    return nn.Sequential(nn.Conv2d(3, lent_net.OUTPUTS, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())"
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    load_backbone(_factory(tmp_path, code))
    assert sys.path[0] == str(tmp_path / "lib")
    assert str(tmp_path) in sys.path


# The architectures of this package.


def test_random_weights_are_those_of_the_seed_and_need_no_file(tmp_path: Path) -> None:
    small: dict[str, Any] = {"input_size": (32, 32)}
    drawn = load_backbone("timm:test_resnet", random_weights=True, **small)
    again = load_backbone("timm:test_resnet@missing.pth", random_weights=True, num_classes=7, **small)
    assert (drawn.card.num_classes, again.card.num_classes) == (1000, 7)
    assert any("random" in note for note in drawn.card.load.notes)
    state = torch.random.get_rng_state()
    same = load_backbone("timm:test_resnet", random_weights=True, **small)
    assert same.card.weights_sha256 == drawn.card.weights_sha256
    assert torch.equal(state, torch.random.get_rng_state())
    assert load_backbone("timm:test_resnet", random_weights=True, headless=True, **small).card.headless
    published = load_backbone("torchvision:resnet18/IMAGENET1K_V1", random_weights=True, **small)
    assert published.card.num_classes == 1000
    model = tmp_path / "model.py"
    model.write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 900, 2))\n"
    )
    source = f"{model}:make@{tmp_path / 'missing.pth'}"
    one, two = (load_backbone(source, random_weights=True, input_size=(32, 32)) for _ in range(2))
    assert one.card.weights_sha256 == two.card.weights_sha256


def test_a_network_of_one_size_is_fitted_to_another_as_timm_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = timm.create_model("test_vit", num_classes=5)
    size = net.pretrained_cfg["input_size"][1]
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    half = size // 2
    found = load_backbone(f"timm:test_vit@{tmp_path / 'w.safetensors'}", input_size=(half, half))
    expected = timm.create_model("test_vit", num_classes=5, img_size=half)
    expected.load_state_dict(checkpoint_filter_fn(net.state_dict(), expected))
    x = images(size=half)
    card = found.card
    torch.testing.assert_close(found(x), expected.eval()(normalised(x, card.mean, card.std)))
    assert (card.input_size, card.arch_options) == ((half, half), {"img_size": [half, half]})
    assert any("set_input_size" in note for note in card.load.notes)
    same = load_backbone(f"timm:test_vit@{tmp_path / 'w.safetensors'}", input_size=(size, size))
    assert same.card.arch_options == {}


def test_a_network_that_cannot_be_fitted_to_a_size_is_refused() -> None:
    for source, size in (("timm:mixer_s32_224", (96, 96)), ("timm:test_vit", (4, 4))):
        with pytest.raises(InputError, match="input"):
            load_backbone(source, input_size=size, random_weights=True)


def test_what_is_no_source_is_answered_with_the_way_for_networks() -> None:
    with pytest.raises(InputError) as raised:
        load_backbone(torch.nn.Linear(2, 2))  # type: ignore[arg-type]
    assert raised.value.found == "Linear"
    assert "Backbone.wrap" in raised.value.remedy
