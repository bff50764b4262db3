"""Loading a backbone from anywhere ``--backbone`` can name, always with a report of which weights arrived."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
import torchvision
from torch import nn

from eval_suite.backbones.backbone import (
    ASSUMABLE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Backbone,
    finish,
    single_precision,
)
from eval_suite.backbones.building import (
    build_net,
    native_config,
    require_known,
    take_last_layer,
)
from eval_suite.backbones.checkpoint import load_weights
from eval_suite.backbones.class_names import named
from eval_suite.backbones.heads import with_head
from eval_suite.backbones.spec import BackboneOptions, SourceSpec, default_name, parse_source
from eval_suite.backbones.weights_match import OutputsError
from eval_suite.core.cards import BackboneCard, LoadReport
from eval_suite.core.errors import EvalSuiteError, InputError, first_line, unknown_name
from eval_suite.core.parts import import_file, importable
from eval_suite.core.store import read_card
from eval_suite.core.validation import validated
from eval_suite.data.class_order import read_class_names

SETTINGS = {"mean", "std", "input_size", "crop_fraction", "interpolation", "resize"}
"""Fields of a card that say how images are brought to the network; options and recipes name them alike."""
_RANDOM = "weights drawn at random (seed 0) in place of the source's"


class _Loaded(NamedTuple):
    net: nn.Module
    report: LoadReport
    defaults: dict[str, Any]


def load_backbone(
    source: str,
    *,
    name: str | None = None,
    num_classes: int | None = None,
    image_size: tuple[int, int] | None = None,
    **settings: Any,
) -> Backbone:
    """Load a backbone, in evaluation mode on the CPU, with its load report in the card.

    Args:
        source: a checkpoint folder, ``timm:NAME[@FILE]``, ``torchvision:NAME[/WEIGHTS][@FILE]``,
            ``path/to/model.py:FACTORY[@FILE]``, ``hf-hub:ORG/NAME``, or ``local-dir:FOLDER`` with timm's config.json.
        name: the backbone's name in records and reports; by default made from the source.
        num_classes: outputs to build where the source leaves them open: the data's number of classes. Those of a weights
            file win.
        image_size: (H, W) of the data's images, the input size of a user's factory where ``input_size`` is not given. Without
            both it is 224x224 until the backbone is evaluated on images that all have another size.
        settings: what a weights file does not say, by the names of `BackboneOptions`: ``mean``, ``std``, ``input_size``,
            ``crop_fraction``, ``interpolation``, ``resize``, ``feature_layer``, ``weights_entry``, ``classes``,
            ``class_order``, ``headless``, ``head``, ``random_weights``.

    Raises:
        InputError: if the source is unknown, a setting is wrong, or weights do not cover the network.
        EvalSuiteError: if published weights cannot be fetched or a user's factory fails.

    Example:
        >>> load_backbone("path/to/model.py:make@weights.pth", mean=(0.5, 0.5, 0.5))  # doctest: +SKIP
    """
    if not isinstance(source, str):
        raise InputError(
            expected="a source as text, such as 'timm:resnet50.a1_in1k'",
            found=type(source).__name__,
            remedy="a network in memory enters by Backbone.wrap(net, mean=..., std=..., input_size=...)",
        )
    spec = parse_source(source)
    options = validated("load_backbone", BackboneOptions, settings)
    if options.weights_entry is not None and spec.weights is None and "local-dir:" not in spec.name:
        raise InputError(
            expected="a weights file with --weights-entry",
            found=f"'{source}'",
            remedy="name the file as SOURCE@FILE",
        )
    name = name or default_name(source)[0]
    if spec.kind == "checkpoint":
        return _from_checkpoint(Path(spec.name), name, options)
    if spec.kind == "timm" and ":" not in source.partition("@")[0] + spec.name:
        try:
            require_known(spec.name, "timm")
        except InputError as error:
            raise InputError(f"no backbone at '{source}': no such folder, and {error}") from None
    if options.class_file is not None:
        num_classes = len(read_class_names(options.class_file))
    if options.headless:
        num_classes = 0
    load = {"timm": _from_timm, "torchvision": _from_torchvision, "factory": _from_factory}[spec.kind]
    try:
        if options.random_weights:
            loaded = _at_random(spec, num_classes)
        else:
            loaded = load(spec, num_classes, options.weights_entry)
    except OutputsError as error:
        if not error.outputs and spec.kind == "factory":
            raise InputError(
                f"{error}; where the weights are of features alone, let the factory leave the last layer out"
            ) from None
        # The file knows its number of classes; that of the data was a guess.
        loaded = load(spec, error.outputs, options.weights_entry)
        outputs = f"{error.outputs} outputs" if error.outputs else "no last layer"
        loaded.report.notes.append(f"the network was built with {outputs}, as the weights have")
    if spec.kind == "timm" and options.input_size is not None:
        loaded = _for_size(loaded, options.input_size)
    defaults = loaded.defaults
    if spec.kind == "factory" and image_size is not None:
        defaults = {**defaults, "input_size": image_size}
    open_ = [each for each in ASSUMABLE if getattr(options, each) is None]
    if (precision := single_precision(loaded.net)) is not None:
        loaded.report.notes.append(f"the network is in {precision}; it is evaluated in torch.float32")
    card = BackboneCard(
        name=name,
        source=source,
        arch=_arch(spec),
        classes=[],
        load=loaded.report,
        feature_layer=options.feature_layer,
        headless=options.headless,
        assumed=open_ if spec.kind == "factory" else [],
        library_defaults=open_ if spec.kind != "factory" and spec.weights is not None else [],
        **{**defaults, **options.model_dump(include=SETTINGS, exclude_none=True)},
    )
    return _with_classes(finish(loaded.net, card), options)


def _from_checkpoint(folder: Path, name: str, options: BackboneOptions) -> Backbone:
    if not (folder / "card.json").is_file():
        raise InputError(
            expected="a trained backbone",
            where=folder,
            found="no card.json",
            remedy="finish its training with eval-suite train",
        )
    card = read_card(folder)
    net = build_net(card.arch, len(card.classes), card.arch_options)
    if options.random_weights:
        with _drawing():
            net = build_net(card.arch, len(card.classes), card.arch_options)
        report = LoadReport(notes=[_RANDOM])
    else:
        report = load_weights(net, folder / "model.safetensors")
    if (card.recipe or {}).get("init"):
        report.notes[:0] = card.load.notes  # what it was trained from
    overrides = options.model_dump(include=SETTINGS | {"feature_layer"}, exclude_none=True)
    expected = None if options.random_weights else card.weights_sha256
    backbone = finish(
        net, card.model_copy(update={"name": name, "source": str(folder), "load": report, **overrides})
    )
    if expected is not None and backbone.card.weights_sha256 != expected:
        raise InputError(
            f"{folder}/model.safetensors is not the file that its card.json describes; train the backbone again"
        )
    return _with_classes(backbone, options)


def _with_classes(backbone: Backbone, options: BackboneOptions) -> Backbone:
    if options.head is None:
        return named(backbone, options)
    return with_head(backbone, Path(options.head).expanduser())


def _arch(spec: SourceSpec) -> str:
    if spec.kind == "factory":
        return f"{spec.module}:{spec.name}"
    return f"{spec.kind}:{spec.name}" + (f"/{spec.tag}" if spec.tag else "")


@contextmanager
def _drawing() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _at_random(spec: SourceSpec, num_classes: int | None) -> _Loaded:
    """A source's architecture as it is initialised; of published weights with their classes, of a file with the data's."""
    report = LoadReport(notes=[_RANDOM])
    with _drawing():
        if spec.kind == "factory":
            loaded = _from_factory(spec._replace(weights=None), num_classes, None)
            return loaded._replace(report=report)
        if spec.kind == "torchvision":
            require_known(spec.name, "torchvision")
            own = num_classes if spec.weights is not None else None
            net = build_net(f"torchvision:{spec.name}", own or 1000)
            if num_classes == 0:
                take_last_layer(net)
            return _Loaded(net, report, native_config(f"torchvision:{spec.name}", net))
        if ":" not in spec.name:
            require_known(spec.name, "timm")
        asked = num_classes == 0 or (spec.weights is not None and num_classes is not None)
        classes: dict[str, Any] = {"num_classes": num_classes} if asked else {}
        net = timm.create_model(spec.name, pretrained=False, **classes)
    report.classes.extend(_class_names(net))
    return _Loaded(net, report, native_config("timm:", net))


def _from_timm(spec: SourceSpec, num_classes: int | None, entry: str | None) -> _Loaded:
    library, _, place = spec.name.partition(":")
    if place and library == "local-dir":
        return _from_snapshot(Path(place), entry)
    if not place:
        require_known(spec.name, "timm")
    if spec.weights is not None:
        arch = f"timm:{spec.name}"
        classes: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
        net = timm.create_model(spec.name, pretrained=False, **classes)
        return _Loaded(net, load_weights(net, spec.weights, entry), native_config(arch, net))
    try:
        without_head: dict[str, Any] = {"num_classes": 0} if num_classes == 0 else {}
        net = timm.create_model(spec.name, pretrained=True, **without_head)
    except Exception as error:  # noqa: BLE001 - what fetches weights raises whatever its servers do
        raise _not_fetched(f"timm:{spec.name}", error) from None
    report = LoadReport(matched=len(net.state_dict()), notes=[f"published weights of {spec.name}"])
    report.classes.extend(_class_names(net))
    return _Loaded(net, report, native_config(f"timm:{spec.name}", net))


def _from_snapshot(folder: Path, entry: str | None) -> _Loaded:
    """A folder with timm's ``config.json`` and weights, as a model of the hub is downloaded."""
    try:
        net = timm.create_model(f"local-dir:{folder}", pretrained=False)
    except Exception as error:  # noqa: BLE001 - whatever the configuration holds
        raise InputError(
            expected="timm's configuration",
            where=folder / "config.json",
            found=f"none that it can build from ({type(error).__name__}: {first_line(error)})",
            remedy="give timm:NAME@FILE for the weights alone",
        ) from None
    names = (
        "model.safetensors",
        "pytorch_model.bin",
        *sorted(path.name for path in folder.glob("*.safetensors")),
    )
    weights = next((folder / name for name in names if (folder / name).is_file()), None)
    if weights is None:
        raise InputError(
            expected="model.safetensors or pytorch_model.bin",
            where=folder,
            found="neither",
            remedy="download the whole snapshot",
        )
    report = load_weights(net, weights, entry)
    report.classes.extend(() if report.classes else _class_names(net))
    return _Loaded(net, report, native_config("timm:", net))


def _class_names(net: nn.Module) -> list[str]:
    """Class names in a hub model's configuration."""
    names = (getattr(net, "pretrained_cfg", None) or {}).get("label_names") or []
    return [str(name) for name in names]


def _from_torchvision(spec: SourceSpec, num_classes: int | None, entry: str | None) -> _Loaded:
    require_known(spec.name, "torchvision")
    if spec.weights is not None:
        net = build_net(f"torchvision:{spec.name}", num_classes or 1000)
        if num_classes == 0:
            take_last_layer(net)
        report = load_weights(net, spec.weights, entry)
        return _Loaded(net, report, native_config(f"torchvision:{spec.name}", net))
    known = torchvision.models.get_model_weights(spec.name)
    tag = spec.tag or "DEFAULT"
    if tag not in known.__members__:
        raise unknown_name(f"weights of torchvision:{spec.name}", tag, known.__members__)
    weights = known[tag]
    try:
        net = torchvision.models.get_model(spec.name, weights=weights)
    except Exception as error:  # noqa: BLE001 - what fetches weights raises whatever its servers do
        raise _not_fetched(f"torchvision:{spec.name}/{tag}", error) from None
    if num_classes == 0:
        take_last_layer(net)
    preset = weights.transforms()
    side, short = preset.crop_size[0], preset.resize_size[0]
    defaults = {
        "input_size": (side, side),
        "mean": tuple(preset.mean),
        "std": tuple(preset.std),
        "interpolation": preset.interpolation.value,
        "crop_fraction": side / short,
    }
    report = LoadReport(matched=len(net.state_dict()), notes=[f"published weights {weights.name}"])
    return _Loaded(net, report, defaults)


def _for_size(loaded: _Loaded, size: tuple[int, int]) -> _Loaded:
    """A network of timm's that takes images of one size alone, for another size where timm has a way to that."""
    own = tuple(loaded.defaults["input_size"])
    config = getattr(loaded.net, "pretrained_cfg", None) or {}
    fit = getattr(loaded.net, "set_input_size", None)
    if size == own or not config.get("fixed_input_size") or not callable(fit):
        return loaded
    wanted = f"{size[0]}x{size[1]}"
    try:
        fit(size)
    except Exception as error:  # noqa: BLE001 - each architecture has conditions of its own
        raise InputError(
            expected=f"an input size that timm can fit {type(loaded.net).__name__} to",
            found=f"{wanted} ({type(error).__name__}: {first_line(error)})",
            remedy="choose another --input-size",
        ) from None
    loaded.report.notes.append(
        f"built for {own[0]}x{own[1]} pixels; timm's set_input_size fits its position embeddings or windows to {wanted}"
    )
    return loaded._replace(defaults={**loaded.defaults, "arch_options": {"img_size": list(size)}})


def _from_factory(spec: SourceSpec, num_classes: int | None, entry: str | None) -> _Loaded:
    assert spec.module is not None
    module = import_file(spec.module)
    factory = getattr(module, spec.name, None)
    if not callable(factory):
        callables = [
            key for key, value in vars(module).items() if callable(value) and not key.startswith("_")
        ]
        raise unknown_name(f"factory in {spec.module}", spec.name, callables)
    asked = inspect.signature(factory).parameters.get("num_classes")
    # Of no classes a factory has its own idea, so it is given them only where it has to be.
    takes_classes = asked is not None and bool(num_classes or asked.default is asked.empty)
    try:
        with importable(spec.module.parent):
            given = {"num_classes": num_classes} if takes_classes and num_classes is not None else {}
            net = factory(**given)
    except (Exception, SystemExit) as error:
        raise EvalSuiteError(
            f"{spec.module}:{spec.name} failed: {type(error).__name__}: {first_line(error)}"
        ) from error
    if not isinstance(net, nn.Module):
        raise InputError(
            expected=f"{spec.module}:{spec.name} to return a torch.nn.Module", found=f"{type(net).__name__}"
        )
    if spec.weights is not None:
        report = load_weights(net, spec.weights, entry)
    else:
        report = LoadReport(notes=["no weights file named: the weights are those the factory returned"])
    return _Loaded(net, report, {"input_size": (224, 224), "mean": IMAGENET_MEAN, "std": IMAGENET_STD})


def _not_fetched(source: str, error: Exception) -> EvalSuiteError:
    local = f"a local file: {source.partition('/')[0]}@weights.safetensors"
    if ":" in source.removeprefix("timm:") and source.startswith("timm:"):
        local = "a downloaded snapshot: local-dir:FOLDER"
    return EvalSuiteError(
        f"the published weights of {source} cannot be had ({type(error).__name__}: {first_line(error)[:160]}); "
        f"without a network give {local}"
    )
