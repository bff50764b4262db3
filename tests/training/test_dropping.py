"""Regularizers of the network: branches, blocks of maps, and maps that are mixed."""

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Generator, Tensor, nn

from eval_suite.backbones.building import build_net
from eval_suite.core.errors import InputError
from eval_suite.training.network import Network
from eval_suite.training.objective import softmax_bce
from eval_suite.training.regularizers import (
    Context,
    DropBlock,
    FeatureCutMix,
    ManifoldMixup,
    Regularizer,
    ShakeDrop,
    Shard,
    StochasticDepth,
)
from eval_suite.training.regularizers._shaking import shake
from eval_suite.training.regularizers.dropblock import bernoulli_positions, drop_blocks

TINY = {
    "pyramidnet110_a64": ({"depth": 20, "alpha": 12}, 32),
    "resnet110_bottleneck_cifar": ({"blocks": 2}, 32),
    "resnet20_cifar": ({"blocks": 2}, 32),
    "resnet50": ({"layers": [1, 2, 1, 1]}, 64),
    "torchvision:resnet18": ({}, 64),
}


def context(seed: int = 0, progress: float = 1.0, network: Network | None = None) -> Context:
    return Context(Generator().manual_seed(seed), torch.zeros(3), progress, Shard(), network)


def net_of(arch: str, classes: int = 5) -> tuple[nn.Module, int]:
    options, side = TINY[arch]
    torch.manual_seed(0)
    net = build_net(arch, classes, options)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # timm starts branches at zero, where a gate would not be seen
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
    return net, side


def installed(regularizer: Regularizer, arch: str) -> tuple[Network, Tensor]:
    net, side = net_of(arch)
    network = Network(net, arch, (side, side))
    regularizer.install(network)
    return network, torch.rand(4, 3, side, side, generator=Generator().manual_seed(1))


def forward(network: Network, images: Tensor, seed: int, progress: float = 1.0) -> Tensor:
    network.begin_step(context(seed, progress, network))
    logits: Tensor = network.net.train()(images)
    return logits


@pytest.mark.parametrize("arch", TINY)
@pytest.mark.parametrize(
    "regularizer", [StochasticDepth(0.5), ShakeDrop(0.8), DropBlock(block_size=2)], ids=lambda r: r.name
)
def test_the_same_seed_drops_the_same_and_evaluation_drops_nothing(
    arch: str, regularizer: Regularizer
) -> None:
    network, images = installed(regularizer, arch)
    keys = list(network.net.state_dict())
    assert keys == list(net_of(arch)[0].state_dict())
    one, same = forward(network, images, 1), forward(network, images, 1)
    assert torch.equal(one, same)
    assert any(not torch.equal(one, forward(network, images, seed)) for seed in range(2, 6))
    network.net.eval()
    assert torch.equal(network.net(images), network.net(images))


@pytest.mark.parametrize("arch", TINY)
@pytest.mark.parametrize("regularizer", [StochasticDepth(0.5), ShakeDrop(0.8)], ids=lambda r: r.name)
def test_the_plain_architecture_computes_what_the_network_did_in_evaluation(
    arch: str, regularizer: Regularizer
) -> None:
    network, images = installed(regularizer, arch)
    with torch.no_grad():
        wanted = network.net.eval()(images)
        plain = net_of(arch)[0].eval()
        plain.load_state_dict(network.plain_state(network.net.state_dict()))
        torch.testing.assert_close(plain(images), wanted, rtol=1e-4, atol=1e-5)
        plain.load_state_dict(network.net.state_dict())
        assert not torch.allclose(plain(images), wanted, rtol=1e-3)


def test_a_block_is_dropped_with_its_depths_probability_and_scaled_by_the_rest_in_evaluation() -> None:
    branch, n, generator = torch.ones(2, 1, 1, 1), 3000, Generator().manual_seed(0)
    network, _ = installed(StochasticDepth(0.4), "resnet20_cifar")
    blocks = network.blocks("x")
    assert [block.name for block in blocks] == [f"layer{s}.{b}" for s in (1, 2, 3) for b in (0, 1)]
    assert [block.end.rpartition(".")[2] for block in blocks] == ["bn2"] * 6
    for number, block in enumerate(blocks, start=1):
        (gate, evaluation) = network.net.get_submodule(block.end)._forward_hooks.values()
        rate = 0.4 * number / 6
        norm = network.net.get_submodule(block.end).train()
        drawn = []
        for _ in range(n):
            network.begin_step(Context(generator, torch.zeros(3)))
            drawn.append(gate(norm, (), branch))
        assert {tuple(one.flatten().tolist()) for one in drawn} == {
            (0.0, 0.0),
            (1.0, 1.0),
        }  # one gate a batch
        mean = np.mean([float(one.mean()) for one in drawn])
        assert mean == pytest.approx(1 - rate, abs=4 * math.sqrt(rate * (1 - rate) / n))
        assert evaluation(norm.eval(), (), branch).flatten().tolist() == pytest.approx([1 - rate] * 2)
    uniform, _ = installed(StochasticDepth(0.4, decay="uniform"), "resnet20_cifar")
    assert set(uniform._factors.values()) == {0.6}


def test_shakedrop_multiplies_forward_and_backward_by_its_own_factors() -> None:
    x = torch.rand(3, 2, 4, 4, generator=Generator().manual_seed(0), requires_grad=True)
    ahead, back = torch.tensor([-0.5, 0.0, 2.0]), torch.tensor([0.25, 1.0, 0.0])
    out = shake(x, ahead, back)
    torch.testing.assert_close(out, x * ahead.view(3, 1, 1, 1))
    out.sum().backward()
    torch.testing.assert_close(x.grad, back.view(3, 1, 1, 1).expand_as(x))


def test_shakedrops_expectations_are_those_of_its_formula() -> None:
    network, _ = installed(ShakeDrop(0.5), "pyramidnet110_a64")
    last = network.blocks("x")[-1]
    assert last.end == "layer3.1.bn4"
    (hook, evaluation) = network.net.get_submodule(last.end)._forward_hooks.values()
    norm = network.net.get_submodule(last.end).train()
    generator = Generator().manual_seed(0)
    ahead, back, whole = [], [], 0
    for _ in range(2000):
        network.begin_step(Context(generator, torch.zeros(3)))
        x = torch.ones(2, 1, 1, 1, requires_grad=True)
        out = hook(norm, (), x)
        out.sum().backward()
        assert x.grad is not None
        ahead += out.flatten().tolist()
        back += x.grad.flatten().tolist()
        whole += bool((out == 1).all())
    assert whole / 2000 == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 2000))  # one gate for both images
    dropped = np.array([pair for pair in zip(ahead, back, strict=True) if pair != (1.0, 1.0)])
    assert stats.kstest(dropped[:, 0], stats.uniform(-1, 2).cdf).pvalue > 0.01
    assert stats.kstest(dropped[:, 1], stats.uniform(0, 1).cdf).pvalue > 0.01
    assert abs(np.corrcoef(dropped[:, 0], dropped[:, 1])[0, 1]) < 0.1
    assert abs(np.corrcoef(dropped[::2, 0][:900], dropped[1::2, 0][:900])[0, 1]) < 0.15  # drawn per image
    # E[b + a - ba] = 1 - rate, by which evaluation multiplies; E[b + c - bc] = 1 - rate / 2.
    assert np.mean(ahead) == pytest.approx(0.5, abs=0.05)
    assert np.mean(back) == pytest.approx(0.75, abs=0.03)
    assert float(evaluation(norm.eval(), (), torch.ones(()))) == 0.5


@pytest.mark.parametrize("probability", [0.0, 0.003, 0.2, 0.9, 1.0])
def test_positions_are_independent_draws(probability: float) -> None:
    n, generator = 400, Generator().manual_seed(0)
    counts, hits = [], np.zeros(n)
    for _ in range(600):
        found = bernoulli_positions(n, probability, generator)
        assert torch.equal(found, found.unique())
        assert not len(found) or (found.min() >= 0 and found.max() < n)
        counts.append(len(found))
        hits[found.numpy()] += 1
    deviation = math.sqrt(n * probability * (1 - probability))
    assert np.mean(counts) == pytest.approx(n * probability, abs=5 * deviation / math.sqrt(600) + 1e-9)
    assert np.std(counts) == pytest.approx(deviation, rel=0.15)
    if 0 < probability < 1:
        expected = np.full(n, hits.sum() / n)
        statistic = ((hits - expected) ** 2 / (expected * (1 - probability))).sum()
        assert stats.chi2(n - 1).sf(statistic) > 0.001


@pytest.mark.parametrize("size", [1, 3, 4])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropped_cells_are_whole_blocks_per_channel_and_the_rest_is_rescaled(
    size: int, layout: torch.memory_format
) -> None:
    maps = torch.ones(16, 8, 9, 11).contiguous(memory_format=layout)
    out = drop_blocks(maps, 0.05, size, context(3))
    zero = out == 0
    assert 0.01 < zero.float().mean() < 0.12
    kept = out[~zero]
    torch.testing.assert_close(kept, torch.full_like(kept, maps.numel() / (~zero).sum()))
    assert out.sum().item() == pytest.approx(maps.sum().item(), rel=1e-5)
    # Every dropped cell belongs to a dropped square that lies inside the map: opening the mask changes nothing.
    eroded = -F.max_pool2d(-zero.float(), size, 1)
    opened = F.max_pool2d(F.pad(eroded, (size - 1,) * 4), size, 1)
    assert torch.equal(opened.bool(), zero)
    assert not torch.equal(zero[:, 0], zero[:, 1])
    plain = drop_blocks(torch.ones(16, 8, 9, 11), 0.05, size, context(3))
    assert torch.equal(plain, out)


def test_the_rate_of_seeds_is_the_papers_gamma() -> None:
    """gamma = (1 - keep) / s^2 * f^2 / (f - s + 1)^2: at small rates, blocks hardly overlap, and the share is 1 - keep."""
    shares = [
        float((drop_blocks(torch.ones(8, 16, 8, 8), 0.01, 4, context(s)) == 0).float().mean())
        for s in range(400)
    ]
    # Overlaps take about half of the rate's square away.
    assert np.mean(shares) == pytest.approx(0.01 - 0.01**2 / 2, abs=5 * np.std(shares) / 20)


def test_dropblock_stands_behind_convolutions_and_on_shortcuts_of_the_last_two_stages() -> None:
    network, images = installed(DropBlock(block_size=2, keep_prob=0.5), "resnet50")
    hooked = [name for name, module in network.net.named_modules() if module._forward_hooks]
    assert hooked == [
        *("layer3.0.bn1", "layer3.0.bn2", "layer3.0.bn3", "layer3.0.downsample.1"),
        *("layer4.0.bn1", "layer4.0.bn2", "layer4.0.bn3", "layer4.0.downsample.1"),
    ]
    seen: dict[str, float] = {}
    for name in hooked:
        module = network.net.get_submodule(name)
        module.register_forward_hook(
            lambda _m, _i, out, name=name: seen.update({name: float((out == 0).float().mean())})
        )
    forward(network, images.repeat(8, 1, 1, 1), 0)
    # 1 - keep and a quarter of it; blocks overlap, so that 0.5 comes to about 1 - exp(-0.5) inside, less at borders.
    assert 0.07 < seen["layer3.0.bn2"] < 0.15
    assert 0.3 < seen["layer4.0.bn2"] < 0.5
    forward(network, images, 0, progress=0.0)
    assert max(seen.values()) == 0.0
    identity, _ = installed(DropBlock(block_size=2, stages=("layer2",)), "resnet50")
    assert isinstance(identity.net.get_submodule("layer2.1.downsample"), nn.Identity)
    assert identity.net.get_submodule("layer2.1.downsample")._forward_hooks
    pyramid, _ = installed(DropBlock(block_size=4), "pyramidnet110_a64")
    hooked = [name for name, module in pyramid.net.named_modules() if module._forward_hooks]
    assert hooked[:5] == [f"layer2.0.{name}" for name in ("downsample", "bn2", "bn3", "bn4")] + [
        "layer2.1.downsample"
    ]


@pytest.mark.parametrize("layer", ["input", "bn1", "layer1", "layer2", "layer3"])
def test_manifold_mixup_blends_the_maps_of_a_layer_as_by_hand(layer: str) -> None:
    network, images = installed(ManifoldMixup(layers=(layer,)), "resnet110_bottleneck_cifar")
    regularizer, net = ManifoldMixup(layers=(layer,)), network.net
    targets, given = torch.eye(4, 5), context(7, network=network)
    network.begin_step(given)
    mixed = regularizer.apply(images.clone(), targets, given)
    found = net.train()(mixed.images)
    generator = Generator().manual_seed(7)
    torch.rand((), generator=generator, dtype=torch.float64), torch.randint(1, (1,), generator=generator)
    lam = float(torch.rand((), generator=generator, dtype=torch.float64))
    order = torch.randperm(4, generator=generator)

    def blend(x: Tensor) -> Tensor:
        return lam * x + (1 - lam) * x[order]

    network.begin_step(context())
    x = blend(images) if layer == "input" else images
    for name in ("conv1", "bn1", "act1", "layer1", "layer2", "layer3"):
        x = net.get_submodule(name)(x)
        x = blend(x) if name == layer else x
    torch.testing.assert_close(found, net.fc(x.mean((2, 3))), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mixed.targets, lam * targets + (1 - lam) * targets[order])


def test_feature_cutmix_at_the_image_is_cutmix() -> None:
    regularizer, n = FeatureCutMix(layers=("input",)), 6
    network, _ = installed(regularizer, "resnet20_cifar")
    for seed in range(10):
        before = torch.arange(1.0, n + 1).view(n, 1, 1, 1).expand(n, 3, 32, 32).clone()
        images, targets = regularizer.apply(before.clone(), torch.eye(n), context(seed, network=network))
        where = (images != before)[:, 0]
        for i in range(n):
            assert where[i].any(1).sum() * where[i].any(0).sum() == where[i].sum()
            if where[i].any():
                assert targets[i, i].item() == pytest.approx(1 - where[i].float().mean().item(), abs=1e-6)
        torch.testing.assert_close(targets.sum(1), torch.ones(n))
        assert not any(module._forward_hooks for module in network.net.modules())


def test_feature_cutmix_pastes_a_box_of_the_map_and_weighs_by_its_area() -> None:
    regularizer = FeatureCutMix(layers=("layer2",))
    network, _ = installed(regularizer, "resnet20_cifar")
    height, width = network.sizes["layer2"][-2:]
    images = torch.rand(6, 3, 32, 32, generator=Generator().manual_seed(0))
    maps: dict[str, Tensor] = {}
    layer, moved = network.net.get_submodule("layer2"), 0
    for seed in range(12):
        handle = layer.register_forward_hook(lambda _m, _i, out: maps.update(before=out.detach().clone()))
        given = context(seed, network=network)
        network.begin_step(given)
        mixed = regularizer.apply(images.clone(), torch.eye(6), given)
        after = layer.register_forward_hook(lambda _m, _i, out: maps.update(after=out.detach().clone()))
        network.net.train()(mixed.images)
        handle.remove(), after.remove()
        assert torch.equal(mixed.images, images)
        changed = (maps["after"] != maps["before"]).any(1)
        own = mixed.targets.diagonal()
        for i in range(6):
            if changed[i].any() and own[i] < 1:
                rows, columns = changed[i].any(1).sum(), changed[i].any(0).sum()
                assert own[i].item() == pytest.approx(1 - float(rows * columns) / (height * width), abs=1e-6)
                partner = int((mixed.targets[i] - own[i] * torch.eye(6)[i]).argmax())
                inside = changed[i]
                assert torch.equal(maps["after"][i][:, inside], maps["before"][partner][:, inside])
                moved += 1
    assert moved > 20


@pytest.mark.parametrize("regularizer", [ManifoldMixup(), FeatureCutMix()], ids=lambda r: r.name)
def test_a_layer_is_drawn_for_each_batch_and_forgotten_after_it(regularizer: Regularizer) -> None:
    network, images = installed(regularizer, "resnet20_cifar")
    hooked = []
    for seed in range(60):
        given = context(seed, network=network)
        network.begin_step(given)
        regularizer.apply(images.clone(), torch.eye(4, 5), given)
        hooked.append([n for n, m in network.net.named_modules() if m._forward_hooks])
    assert {tuple(names) for names in hooked} == {(), ("layer1",), ("layer2",)}
    network.begin_step(context())
    assert not any(module._forward_hooks for module in network.net.modules())
    with pytest.raises(ValueError, match="the context has none"):
        type(regularizer)(layers=("layer1",)).apply(images, torch.eye(4, 5), context())  # type: ignore[call-arg]


@pytest.mark.parametrize("regularizer", [StochasticDepth(0.5, decay="uniform"), ShakeDrop(0.9)])
def test_the_passes_of_a_step_share_its_gates(regularizer: Regularizer) -> None:
    net, side = net_of("resnet20_cifar")
    network, images = Network(net, "resnet20_cifar", (side, side)), torch.rand(4, 3, side, side)
    plain: dict[str, Tensor] = {}
    kept: dict[str, list[bool]] = {}

    def before(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: plain.update({name: output})

    def after(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: kept[name].append(torch.equal(output, plain[name]))

    ends = [block.end for block in network.blocks("")]
    for end in ends:
        net.get_submodule(end).register_forward_hook(before(end))
    regularizer.install(network)
    for end in ends:
        net.get_submodule(end).register_forward_hook(after(end))
    steps = []
    for seed in range(8):
        kept.update({end: [] for end in ends})
        network.begin_step(context(seed))
        for part in images.chunk(2):
            net.train()(part)
        assert all(first == second for first, second in kept.values())
        steps.append(tuple(first for first, _ in kept.values()))
    assert len(set(steps)) > 4


def test_softmax_bce_is_torchs_bce_of_the_softmax() -> None:
    generator = Generator().manual_seed(0)
    logits = 3 * torch.randn(5, 7, generator=generator)
    soft = torch.rand(5, 7, generator=generator).softmax(1)
    torch.testing.assert_close(softmax_bce(logits, soft), nn.BCELoss()(logits.softmax(1), soft))
    labels = torch.tensor([0, 3, 6, 2, 2])
    torch.testing.assert_close(
        softmax_bce(logits, labels), nn.BCELoss()(logits.softmax(1), F.one_hot(labels, 7).float())
    )
    assert softmax_bce(torch.tensor([[500.0, -500.0]]), torch.tensor([1])).item() == 100.0


@pytest.mark.parametrize("sure", [0.0, 5.0, 18.0, 25.0])
@pytest.mark.parametrize("target", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.3, 0.0, 0.7]], ids=str)
def test_softmax_bce_of_a_sure_network_has_torchs_gradient_in_double_precision(
    sure: float, target: list[float]
) -> None:
    ours = torch.tensor([[sure, 0.5, 0.0]], requires_grad=True)
    theirs = ours.detach().double().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = softmax_bce(ours, torch.tensor([target]))
    exact = nn.BCELoss()(theirs.softmax(1), torch.tensor([target]).double())
    loss.backward()
    exact.backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(loss.double(), exact, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-4, atol=1e-7)


def test_softmax_bce_leads_out_of_a_wrong_certainty() -> None:
    logits = torch.tensor([[60.0, 0.0, 0.0]], requires_grad=True)
    softmax_bce(logits, torch.tensor([1])).backward()
    # One of both logarithms that a wrong class has, a third of each: 1/3 + 1/3 for its logit.
    torch.testing.assert_close(logits.grad, torch.tensor([[2 / 3, -1 / 2, -1 / 6]]))


def test_softmax_bce_passes_nan_on() -> None:
    assert softmax_bce(torch.tensor([[math.nan, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])).isnan()


@pytest.mark.parametrize(
    ("regularizer", "arch", "message"),
    [
        (
            ManifoldMixup(layers=("input", "layer7")),
            "resnet20_cifar",
            r"manifold-mixup: resnet20_cifar has no layer 'layer7' with a feature map; it has input, conv1, bn1, act1, layer1, ",
        ),
        (
            DropBlock(block_size=9),
            "resnet20_cifar",
            r"dropblock: blocks of 9x9 do not fit into the 8x8 map of layer3.0.bn1",
        ),
        (DropBlock(stages=("layer9",)), "resnet20_cifar", "has no layer 'layer9'"),
        (StochasticDepth(), "vgg", r"stochastic-depth needs a residual network; vgg has no stages layer1"),
        (ShakeDrop(), "seresnet", "needs residual blocks whose branch ends with a BatchNorm"),
        (DropBlock(), "vgg", "dropblock needs a residual network"),
    ],
)
def test_what_a_network_lacks_is_said(regularizer: Regularizer, arch: str, message: str) -> None:
    made: dict[str, Callable[[], nn.Module]] = {
        "vgg": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
        "seresnet": lambda: build_net("seresnet50", 5, {"layers": [1, 1, 1, 1]}),
        "resnet20_cifar": lambda: net_of("resnet20_cifar")[0],
    }
    with pytest.raises(InputError, match=message):
        regularizer.install(Network(made[arch](), arch, (32, 32)))


def test_a_copy_of_the_network_stays_plain() -> None:
    network, images = installed(StochasticDepth(1.0), "resnet20_cifar")
    plain = net_of("resnet20_cifar")[0]
    assert not torch.equal(network.net.eval()(images), copy.deepcopy(plain).eval()(images))
