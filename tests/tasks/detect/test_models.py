"""Detectors get the backbone's weights, all of them, and compute its features."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.tasks.detect.detectors.base import Level
from eval_suite.tasks.detect.detectors.faster_rcnn import FasterRcnnC4
from eval_suite.tasks.detect.detectors.ssd import Ssd
from eval_suite.tasks.detect.metrics import detectors
from eval_suite.tasks.detect.models import _load, build_detector
from eval_suite.tasks.detect.options import FasterRcnnOptions, SsdOptions
from tests.tasks.detect.conftest import MEAN, MIXER, SAM, STD, SWIN, make_backbone, small_options

CARD = make_backbone(blocks=1, channels=(4, 8, 16)).card


def classifier_maps(backbone: Backbone, image: Tensor, layers: list[str]) -> list[Tensor]:
    kept: list[Tensor] = []
    handles = [
        backbone.net.get_submodule(name).register_forward_hook(lambda _m, _i, out: kept.append(out.clone()))
        for name in layers
    ]
    backbone(image)
    for handle in handles:
        handle.remove()
    return kept


def detector_maps(model: torch.nn.Module, image: Tensor) -> tuple[Tensor, ...]:
    """The backbone's maps of an image as MMDetection's loaders give it: BGR in 0..255, as bytes."""
    model.eval()
    batch = {"inputs": [(image[0].flip(0) * 255).round().to(torch.uint8)], "data_samples": None}
    data = model.data_preprocessor(batch, False)  # type: ignore[operator]
    return model.backbone(data["inputs"])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arch", "detector", "layers"),
    [
        ("resnet14_demo", "ssd", ["layer2", "layer3"]),
        ("resnet14_demo", "faster-rcnn-c4", ["layer2"]),
        ("torchvision:resnet50", "ssd", ["layer2", "layer3"]),
        ("resnext50_32x4d", "faster-rcnn-c4", ["layer3"]),
        ("resnet18", "faster-rcnn-fpn", ["layer1", "layer2", "layer3", "layer4"]),
        ("mobilenetv3_small_050", "ssd-fpn", ["blocks.1", "blocks.3", "blocks.5"]),
        ("seresnet50", "ssd", ["layer2", "layer3"]),
        ("seresnext50_32x4d", "faster-rcnn-c4", ["layer3"]),
    ],
)
@torch.no_grad()
def test_features_are_the_classifiers(arch: str, detector: str, layers: list[str]) -> None:
    backbone = make_backbone(arch)
    for norm in (m for m in backbone.net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
        norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    before = copy.deepcopy(backbone.net.state_dict())
    # As timm initialises them, residual branches end in zeros, which a network without these branches equals.
    built = build_detector(small_options().detector(detector), backbone, 7, seed=0)
    image = (torch.rand(1, 3, 96, 96) * 255).round() / 255
    own = detector_maps(built.model, image)
    for map_, wanted in zip(own, classifier_maps(backbone, image, layers), strict=True):
        torch.testing.assert_close(map_, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    assert built.loaded.startswith(f"{detectors()[detector].title}: all ")
    native = "MMDetection's" in built.loaded
    assert native == (arch in ("torchvision:resnet50", "resnext50_32x4d", "resnet18"))
    assert all(torch.equal(value, backbone.net.state_dict()[key]) for key, value in before.items())


@pytest.mark.parametrize(
    ("arch", "options", "detector", "said"),
    [
        ("test_vit", {}, "ssd", r"\(not used: head\); maps at strides 8 \(deconvolved from 16\), 16 from"),
        ("test_vit", {}, "ssd-fpn", r"16, 32 \(pooled from 16\) from the network itself$"),
        (
            "swin_tiny_patch4_window7_224",
            SWIN,
            "ssd",
            r"\(not used: layers, norm, head\); maps at strides 8, 16 from",
        ),
        ("swin_tiny_patch4_window7_224", SWIN, "faster-rcnn-fpn", r"maps at strides 4, 8, 16, 32 from"),
        ("gmlp_ti16_224", MIXER, "faster-rcnn-fpn", r"32 \(pooled from 16\) .* in tiles of 64x64$"),
        # A plain network whose last maps are as a convolutional network's.
        ("samvit_base_patch16_224", SAM, "ssd", r"maps at strides 8 \(deconvolved from 16\), 16 from"),
    ],
)
def test_networks_of_tokens_and_of_one_stride_enter(
    arch: str, options: dict[str, Any], detector: str, said: str
) -> None:
    backbone = make_backbone(arch, **options)
    built = build_detector(small_options().detector(detector), backbone, 7, seed=0)
    assert re.search(rf": all \d+ weights and buffers of its backbone loaded.*{said}", built.loaded), (
        built.loaded
    )
    own = backbone.net.state_dict()
    loaded = {
        key.removeprefix("net."): value
        for key, value in built.model.backbone.state_dict().items()  # type: ignore[union-attr]
        if key.startswith("net.")
    }
    assert all(torch.equal(value, own[key]) for key, value in loaded.items())
    again = build_detector(small_options().detector(detector), backbone, 7, seed=0).model.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in built.model.state_dict().items())


def test_the_c4_head_needs_a_last_stage_of_its_own() -> None:
    with pytest.raises(
        InputError, match=r"'mine' \(test_vit\) has no last stage .* detector faster-rcnn-fpn"
    ):
        build_detector(small_options().detector("faster-rcnn-c4"), make_backbone("test_vit"), 3, seed=0)


@torch.no_grad()
def test_networks_that_take_some_sizes_see_padded_images() -> None:
    backbone = make_backbone("dla46_c")
    inner = build_detector(small_options().detector("ssd"), backbone, 3, seed=0).model.eval().backbone
    image = torch.zeros(1, 3, 80, 64)
    image[..., :70, :60] = torch.randn(1, 3, 70, 60)
    part, whole = inner(image[..., :70, :60]), inner(image)  # type: ignore[operator]
    assert [tuple(each.shape[2:]) for each in part] == [(9, 8), (5, 4)]
    assert torch.equal(whole[0][..., :9, :8], part[0])
    assert torch.equal(whole[1][..., :5, :4], part[1])


def test_a_last_stage_that_takes_no_regions_is_refused() -> None:
    with pytest.raises(InputError, match=r"takes no regions of 7x7 .*; choose the detector faster-rcnn-fpn"):
        build_detector(
            small_options().detector("faster-rcnn-c4"), make_backbone("halonet_h1", 256), 3, seed=0
        )


def strided_early(net: torch.nn.Module) -> None:
    """Caffe's ResNet: the first convolution of a stage takes its stride, not the second."""
    for stage in (net.layer2, net.layer3):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)  # type: ignore[index,union-attr]


def with_another_activation(net: torch.nn.Module) -> None:
    net.layer1[0].act1 = torch.nn.SiLU()  # type: ignore[index,union-attr]


@pytest.mark.parametrize("change", [strided_early, with_another_activation])
def test_a_difference_hidden_behind_zeros_is_seen(change: Callable[[torch.nn.Module], None]) -> None:
    backbone = make_backbone("resnet50")
    assert (
        "MMDetection's ResNet-50"
        in build_detector(small_options().detector("ssd"), backbone, 3, seed=0).loaded
    )
    change(backbone.net)
    assert (
        "from the network itself"
        in build_detector(small_options().detector("ssd"), backbone, 3, seed=0).loaded
    )


def test_a_dilated_resnet_is_no_plain_one() -> None:
    backbone = make_backbone("resnet18", output_stride=16)
    built = build_detector(small_options().detector("faster-rcnn-fpn"), backbone, 3, seed=0)
    assert "from the network itself" in built.loaded


@torch.no_grad()
def test_the_c4_head_is_the_classifiers_last_stage(tiny_backbone: Backbone) -> None:
    built = build_detector(small_options().detector("faster-rcnn-c4"), tiny_backbone, 7, seed=0)
    maps = torch.randn(3, 8, 7, 7)
    built.model.eval()
    head = built.model.roi_head.shared_head  # type: ignore[union-attr]
    wanted = tiny_backbone.net.layer3(maps)  # type: ignore[operator]
    assert torch.equal(head(maps), wanted)  # type: ignore[operator]


@torch.no_grad()
@pytest.mark.parametrize(("arch", "side"), [("convnext_atto", 3), ("resnet10t", 4)])
def test_what_a_last_stage_makes_of_a_region_is_pooled_whole(arch: str, side: int) -> None:
    """Strides round down where a network does not pad, as ConvNeXt's do."""
    heads: Any = build_detector(
        small_options().detector("faster-rcnn-c4"), make_backbone(arch), 5, seed=0
    ).model.roi_head
    channels = heads.bbox_roi_extractor.out_channels
    made = heads.shared_head.eval()(torch.randn(2, channels, 7, 7))
    assert made.shape[2:] == (side, side)
    assert heads.bbox_head(made)[0].shape == (2, 6)


def test_the_seed_decides_the_new_layers(tiny_backbone: Backbone) -> None:
    first, again, other = (
        build_detector(small_options().detector("ssd"), tiny_backbone, 3, seed=seed).model.state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    differing = {key.split(".")[0] for key in first if not torch.equal(first[key], other[key])}
    assert differing == {"neck", "bbox_head"}


def test_weights_that_do_not_arrive_are_listed(tiny_backbone: Backbone) -> None:
    built = build_detector(small_options().detector("ssd"), tiny_backbone, 3, seed=0)
    net = copy.deepcopy(tiny_backbone.net)
    del net.layer3
    with pytest.raises(
        EvalSuiteError, match=r"12 of \d+ weights .* did not arrive .*: backbone\.net\.layer3\.0"
    ):
        _load(built.model, net)


def test_ssd300_on_a_resnet50_has_the_published_maps_and_anchors() -> None:
    config = Ssd(SsdOptions()).config([Level(512, 8), Level(1024, 16)], 20, CARD, head=None)
    neck, anchors = config["neck"], config["bbox_head"]["anchor_generator"]
    assert neck["out_channels"] == [512, 1024, 512, 256, 256, 256]
    assert (neck["level_strides"], neck["level_paddings"]) == ([2, 2, 1, 1], [1, 1, 0, 0])
    assert neck["l2_norm_scale"] == 20
    assert anchors["strides"] == [8, 16, 32, 64, 100, 300]
    assert anchors["min_sizes"] == pytest.approx([30, 60, 111, 162, 213, 264])
    assert anchors["max_sizes"] == pytest.approx([60, 111, 162, 213, 264, 315])
    assert anchors["ratios"] == [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
    assert config["data_preprocessor"]["mean"] == pytest.approx([255 * value for value in MEAN])
    assert config["data_preprocessor"]["std"] == pytest.approx([255 * value for value in STD])
    assert config["data_preprocessor"]["bgr_to_rgb"]


def test_faster_rcnn_on_a_resnet50_is_the_c4_model() -> None:
    config = FasterRcnnC4(FasterRcnnOptions()).config([Level(1024, 16)], 20, CARD, head=Level(2048, 2, 4))
    anchors = config["rpn_head"]["anchor_generator"]
    assert (anchors["scales"], anchors["ratios"], anchors["strides"]) == ([8, 16, 32], [0.5, 1.0, 2.0], [16])
    assert config["roi_head"]["bbox_head"]["roi_feat_size"] == 4
    assert config["test_cfg"]["rcnn"] == {
        "score_thr": 0.0,
        "nms": {"type": "nms", "iou_threshold": 0.3},
        "max_per_img": 100,
    }
    assert "neck" not in config


def test_backbones_without_maps_are_refused(tiny_backbone: Backbone) -> None:
    card = tiny_backbone.card.model_copy(update={"feature_layer": None})
    with pytest.raises(InputError, match="has no feature maps of height and width"):
        build_detector(small_options().detector("ssd"), Backbone(tiny_backbone.net, card), 3, seed=0)
