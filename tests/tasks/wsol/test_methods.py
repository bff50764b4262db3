"""Each method's masks and losses worked out by hand, and that a method changes what it is to change and no more."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.structure.hooks import outputs_of
from eval_suite.core.errors import InputError
from eval_suite.tasks.wsol.hyperparameters import (
    METHOD_SETTINGS,
    AcolSettings,
    AdlSettings,
    CamSettings,
    HasSettings,
    SpgSettings,
)
from eval_suite.tasks.wsol.localiser import Localiser, make_localiser
from eval_suite.tasks.wsol.maps import PlainMaps, activation_maps, min_max
from eval_suite.tasks.wsol.methods import METHODS, make_method
from eval_suite.tasks.wsol.methods.acol import AcolNet
from eval_suite.tasks.wsol.methods.adl import AttentionDropout, drop_mask
from eval_suite.tasks.wsol.methods.spg import IGNORED, Guided, SpgNet, guide_mask, guided_error
from tests.tasks.wsol.nets import backbone, images, tiny

LABELS = torch.tensor([0, 3, 1, 2])


def prepared(settings: object, given: Backbone | None = None) -> tuple[Backbone, Localiser]:
    torch.manual_seed(1)
    given = given or tiny()
    localiser = make_method(settings).prepare(make_localiser(given, 4, enlarge=True))
    card = given.card.model_copy(update={"feature_layer": localiser.feature_layer})
    return Backbone(localiser.net, card), localiser


def test_every_method_has_its_hyper_parameters_and_its_paper() -> None:
    assert METHODS.keys() == METHOD_SETTINGS.keys() == {"cam", "has", "acol", "adl", "spg"}
    for settings in METHOD_SETTINGS.values():
        assert settings.paper.url.startswith("https://arxiv.org/abs/")


# CAM and HaS


@pytest.mark.parametrize("settings", [CamSettings(), HasSettings()])
def test_cam_and_has_train_the_network_itself_by_cross_entropy(settings: object) -> None:
    net, localiser = prepared(settings)
    method = make_method(settings)
    objective = method.objective(net, localiser).eval()
    x = images(4, 32)
    soft = torch.tensor([[0.25, 0.75, 0, 0]]).expand(4, 4)
    with torch.no_grad():
        assert objective(x, LABELS) == F.cross_entropy(net(x), LABELS)
        assert objective(x, soft) == F.cross_entropy(net(x), soft)
    assert isinstance(method.extractor(net, "fp32"), PlainMaps)


def test_has_is_the_regularizer_of_that_name() -> None:
    assert make_method(CamSettings()).regularizers() == []
    assert make_method(HasSettings(sizes=(8,), prob=0.25)).regularizers() == [
        {"has": {"sizes": (8,), "prob": 0.25}}
    ]


# ADL


def test_the_drop_mask_takes_away_what_reaches_gamma_of_the_peak() -> None:
    attention = torch.tensor([[[[1.0, 9.0], [8.9, 10.0]]], [[[0.0, 0.5], [1.0, 0.89]]]])
    assert drop_mask(attention, 0.9).tolist() == [[[[1, 0], [1, 0]]], [[[1, 1], [0, 1]]]]


def test_attention_dropout_weights_or_drops_in_training_and_is_absent_at_test() -> None:
    output = torch.tensor([[[[1.0, 3.0]], [[1.0, 5.0]]]])  # attention 1 and 4
    layer = nn.Identity()
    keep, drop = AttentionDropout(0.0, 0.5), AttentionDropout(1.0, 0.5)
    weight = torch.tensor([1.0, 4.0]).sigmoid()
    assert torch.equal(keep(layer.train(), (), output), output * weight)  # type: ignore[arg-type]
    assert drop(layer, (), output).tolist() == [[[[1.0, 0.0]], [[1.0, 0.0]]]]  # type: ignore[union-attr]
    assert keep(layer.eval(), (), output) is None
    assert drop(layer, (), output) is None


def test_one_draw_decides_for_the_whole_batch() -> None:
    torch.manual_seed(0)
    hook, layer = AttentionDropout(0.75, 0.5), nn.Identity()
    output = torch.rand(5, 3, 4, 4) + 0.1
    dropped = 0
    for _ in range(400):
        found = hook(layer, (), output)
        assert found is not None
        per_image = (found == 0).flatten(1).any(1)
        assert per_image.all() or not per_image.any()
        dropped += int(per_image.all())
    assert 265 < dropped < 335


def test_adl_acts_behind_its_layers_in_training_alone() -> None:
    net, localiser = prepared(AdlSettings(drop_rate=1.0))
    plain, _ = prepared(CamSettings())
    x = images(2, 32)
    with torch.no_grad():
        assert torch.equal(net.eval()(x), plain.eval()(x))
        with outputs_of(net.net.train(), localiser.attention) as kept:
            net(x)
    assert localiser.attention == ("layer2.0", "layer3.0", "layer3.1")
    assert all((kept[name].amax(1) == 0).any() for name in localiser.attention)
    assert list(net.state_dict()) == list(plain.state_dict())


def test_adl_behind_layers_of_ones_own() -> None:
    net, _ = prepared(AdlSettings(drop_rate=1.0, layers=("layer1",)))
    with torch.no_grad(), outputs_of(net.net.train(), ("layer1", "layer2")) as kept:
        net(images(2, 32))
    assert (kept["layer1"].amax(1) == 0).any()
    with pytest.raises(InputError, match="unknown layer 'layer9'"):
        prepared(AdlSettings(layers=("layer9",)))
    with pytest.raises(InputError, match="not known behind which layers ADL stands"):
        prepared(AdlSettings(), backbone("efficientnet_b0", 64))


# ACoL


def acol(delta: float = 0.7) -> AcolNet:
    net, _ = prepared(AcolSettings(delta=delta))
    assert isinstance(net.net, AcolNet)
    return net.net.eval()


def test_the_second_classifier_sees_no_features_where_the_first_ones_map_is_high() -> None:
    net, seen = acol(), []
    net.second.features.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    net.first.features.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        found = net.branches(images(4, 32), LABELS)
    first, second = seen
    erased = min_max(found.first_map) >= 0.7
    assert erased.any()
    assert not erased.all()
    assert torch.equal(second, first * ~erased.unsqueeze(1))


def test_delta_zero_erases_everything() -> None:
    net = acol(delta=0.0)
    with torch.no_grad():
        found = net.branches(images(4, 32), LABELS)
        blank = net.second(torch.zeros(1, 16, 8, 8))
    assert torch.allclose(found.second, blank.expand(4, -1), atol=1e-6)


def test_acols_features_are_the_trunks_averaged_over_3x3() -> None:
    net = acol()
    with torch.no_grad(), outputs_of(net, ("trunk.layer3", "pool")) as kept:
        net(images(2, 32))
    assert torch.equal(kept["pool"], F.avg_pool2d(kept["trunk.layer3"], 3, 1, 1))


def test_acols_loss_is_the_sum_of_both_cross_entropies() -> None:
    net, localiser = prepared(AcolSettings())
    objective = make_method(AcolSettings()).objective(net, localiser).eval()
    x = images(4, 32)
    soft = torch.eye(4)[LABELS] * 0.6 + 0.1
    with torch.no_grad():
        found = net.net.branches(net.normalise(x), LABELS)  # type: ignore[operator]
        for targets in (LABELS, soft):
            expected = F.cross_entropy(found.first, targets) + F.cross_entropy(found.second, targets)
            assert torch.allclose(objective(x, targets), expected, atol=1e-6)


def test_acols_map_is_the_larger_of_both_normalised_ones() -> None:
    net, _ = prepared(AcolSettings())
    net.eval()
    x = images(4, 32)
    extract = make_method(AcolSettings()).extractor(net, "fp32")
    with torch.no_grad():
        both = net.net.branches(net.normalise(x), LABELS)  # type: ignore[operator]
        logits = net(x)
    found = extract(x, LABELS)
    assert torch.allclose(
        found.maps, torch.maximum(min_max(both.first_map), min_max(both.second_map)), atol=1e-6
    )
    assert torch.allclose(found.logits, logits, atol=1e-6)
    assert torch.equal(extract(x, None).maps, extract(x, found.logits.argmax(1)).maps)
    assert extract(x, LABELS).maps.shape == (4, 8, 8)


# SPG


def test_a_guides_mask_by_hand() -> None:
    guide = torch.tensor([[[0.9, 0.7], [0.3, 0.04]]])
    assert guide_mask(guide, 0.7, 0.05).tolist() == [[[1, IGNORED], [IGNORED, 0]]]
    # Nothing reaches 0.95: the object is then what lies above 0.7 of the maximum.
    assert guide_mask(guide, 0.95, 0.05).tolist() == [[[1, 1], [IGNORED, 0]]]


def test_the_fallback_counts_pixels_as_thirty_of_224() -> None:
    guide = torch.full((1, 224, 224), 0.5)
    guide[0, 0, :29] = 0.8
    guide[0, 1, :] = 0.6
    assert (guide_mask(guide, 0.7, 0.1) == 1).sum() == 29 + 224  # 29 pixels are few, 0.6 is above 0.7 * 0.8
    guide[0, 0, :30] = 0.8
    assert (guide_mask(guide, 0.7, 0.1) == 1).sum() == 30


def test_a_guided_error_leaves_ignored_pixels_out() -> None:
    logits = torch.tensor([[[2.0, -1.0], [5.0, 0.0]]], requires_grad=True)
    error = guided_error(logits, torch.tensor([[[1.0, 0.0], [IGNORED, IGNORED]]]))
    expected = (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(-1.0))) / 2
    assert error.item() == pytest.approx(expected)
    error.backward()
    assert logits.grad is not None
    assert logits.grad[0, 1].tolist() == [0.0, 0.0]
    assert guided_error(logits, torch.full((1, 2, 2), IGNORED)).item() == 0.0


def spg() -> tuple[Backbone, Guided]:
    net, localiser = prepared(SpgSettings())
    objective = make_method(SpgSettings()).objective(net, localiser)
    assert isinstance(objective, Guided)
    return net, objective


def mask_by_hand(guide: "np.ndarray", high: float, low: float) -> "np.ndarray":
    masks = []
    for one in guide:
        mask = np.full(one.shape, IGNORED)
        mask[one < low] = 0
        above = one > high
        mask[above if above.mean() >= 30 / 224**2 else one > 0.7 * one.max()] = 1
        masks.append(mask)
    return np.stack(masks)


def error_by_hand(logits: "np.ndarray", mask: "np.ndarray") -> float:
    sure = mask != IGNORED
    z, y = logits[sure], mask[sure]
    return float((np.logaddexp(0, z) - z * y).mean())


def test_spgs_loss_is_cross_entropy_and_three_guided_errors() -> None:
    net, objective = spg()
    objective.eval()
    x = images(4, 32)
    with torch.no_grad():
        loss = float(objective(x, LABELS))
        with outputs_of(net.net, ("trunk.layer1", "trunk.layer2", "features")) as kept:
            logits = net(x)

        def up(maps: Tensor) -> "np.ndarray":
            return (
                F.interpolate(maps, size=(32, 32), mode="bilinear", align_corners=False)[:, 0]
                .double()
                .numpy()
            )

        early = up(objective.shared(objective.early(kept["trunk.layer1"])))
        late = up(objective.shared(objective.late(kept["trunk.layer2"])))
        last = up(objective.last(kept["features"]))
        maps = up(activation_maps(kept["features"], net.net.linear.weight, LABELS).unsqueeze(1))  # type: ignore[union-attr,arg-type]
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    of_early, of_late = 1 / (1 + np.exp(-early)), 1 / (1 + np.exp(-late))
    expected = (
        float(F.cross_entropy(logits, LABELS))
        + error_by_hand(late, mask_by_hand((maps - low) / (high - low), 0.7, 0.01))
        + error_by_hand(early, mask_by_hand(of_late, 0.5, 0.05))
        + error_by_hand(last, mask_by_hand((of_early + of_late) / 2, 0.7, 0.1))
    )
    assert loss == pytest.approx(expected, rel=1e-4)


def test_spg_trains_every_layer_and_its_branches_stay_out_of_the_network() -> None:
    net, objective = spg()
    objective.train()(images(4, 32), torch.eye(4)[LABELS]).backward()
    assert all(parameter.grad is not None for parameter in objective.parameters())
    assert {name for name, _ in objective.named_children()} == {"backbone", "early", "late", "shared", "last"}
    assert isinstance(net.net, SpgNet)
    found = make_method(SpgSettings()).extractor(net.eval(), "fp32")(images(4, 32), LABELS)
    assert found.maps.shape == (4, 8, 8)
    assert torch.allclose(
        found.maps.mean((1, 2)),
        (found.logits - net.net.linear.bias).gather(1, LABELS[:, None])[:, 0],
        atol=1e-5,
    )


def test_spg_needs_a_network_whose_stages_are_known() -> None:
    with pytest.raises(InputError, match="not known which layers of this network SPG guides"):
        prepared(SpgSettings(), backbone("efficientnet_b0", 64))


@pytest.mark.parametrize("settings", [AdlSettings(), AcolSettings(), SpgSettings()])
def test_the_methods_take_vgg_too(settings: object) -> None:
    net, localiser = prepared(settings, backbone("vgg11", 32, mlp_ratio=0.01))
    objective = make_method(settings).objective(net, localiser)
    objective.train()(images(4, 32), LABELS).backward()
    found = make_method(settings).extractor(net.eval(), "fp32")(images(2, 32), LABELS[:2])
    assert found.maps.shape == (2, 2, 2)
