"""RankFeat and Gram: what they keep of feature maps, against numpy's decompositions and pytorch-ood."""

import numpy as np
import pytest
import timm
import torch
from pytorch_ood.detector import Gram, RankFeat
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.building import build_net
from eval_suite.core.errors import InputError
from eval_suite.tasks.ood.confidences import FitOptions, TrainingFeatures
from eval_suite.tasks.ood.confidences.gram import GramMatrices, row_sums
from eval_suite.tasks.ood.confidences.rankfeat import RankFeat as OurRankFeat
from eval_suite.tasks.ood.confidences.rankfeat import without_rank_1
from eval_suite.tasks.ood.features import run_over
from eval_suite.tasks.ood.options import OodOptions
from tests.tasks.ood.test_features import batches, images

OPTIONS = FitOptions.of(OodOptions(data="folder:x"))


@pytest.fixture
def backbone() -> Backbone:
    torch.manual_seed(0)
    net = build_net("resnet14_demo", 5, {"blocks": 1, "channels": [4, 8, 16]})
    return Backbone.wrap(net, input_size=(16, 16))


def maps(n: int, channels: int, side: int, seed: int = 0) -> Tensor:
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(seed)).relu()


# RankFeat.


@pytest.mark.parametrize(("channels", "side"), [(3, 5), (40, 2)])
def test_the_rank_1_part_is_numpys(channels: int, side: int) -> None:
    given = maps(6, channels, side)
    for one, left in zip(given.numpy().astype(float), without_rank_1(given).numpy(), strict=True):
        matrix = one.reshape(channels, -1)
        u, s, v = np.linalg.svd(matrix, full_matrices=False)
        np.testing.assert_allclose(
            left.reshape(channels, -1), matrix - s[0] * np.outer(u[:, 0], v[0]), atol=1e-5
        )


def test_a_map_of_rank_1_leaves_nothing() -> None:
    given = (torch.rand(2, 4, 1) * torch.rand(2, 1, 9)).view(2, 4, 3, 3)
    np.testing.assert_allclose(without_rank_1(given), 0, atol=1e-6)
    np.testing.assert_allclose(without_rank_1(torch.zeros(1, 4, 3, 3)), 0)


def test_both_stages_are_fused_in_the_logits(backbone: Backbone) -> None:
    score, pictures, net = OurRankFeat(), images(7), backbone.net
    score.prepare(backbone)
    assert len(score.layers) == 2
    found = run_over(backbone, batches(pictures), of_maps={"rankfeat": score})
    expected = []
    with torch.no_grad():
        x = backbone.normalise(pictures)
        kept: dict[str, Tensor] = {}
        handles = [
            net.get_submodule(name).register_forward_hook(
                lambda _m, _i, out, name=name: kept.update({name: out})
            )
            for name in score.layers
        ]
        plain = net(x)
        for handle in handles:
            handle.remove()
        for name in score.layers:
            one = without_rank_1(kept[name])
            handle = net.get_submodule(name).register_forward_hook(lambda _m, _i, _o, one=one: one)
            expected.append(net(x))
            handle.remove()
        last = RankFeat(nn.Identity(), lambda given: net.get_submodule("fc")(given.mean((2, 3))))  # type: ignore[operator]
        theirs = last.predict_feature_maps(kept[score.layers[-1]])
    mean = torch.stack(expected).mean(0)
    np.testing.assert_allclose(found.statistics["rankfeat"], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(score(plain, mean), mean.double().logsumexp(1), rtol=1e-6)
    np.testing.assert_allclose(-theirs, expected[-1].logsumexp(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.logits, plain, rtol=1e-4, atol=1e-5)
    assert not any(module._forward_hooks for module in net.modules())


# Gram.


def test_row_sums_by_hand() -> None:
    one = torch.tensor([[1.0, 2.0], [3.0, -1.0]])[None].view(1, 2, 1, 2)
    found = row_sums(one)[0].view(10, 2)
    np.testing.assert_allclose(found[0], [(1 + 4) + (3 - 2), (3 - 2) + (9 + 1)])
    squares = [(1 + 16) + (9 + 4), (9 + 4) + (81 + 1)]
    np.testing.assert_allclose(found[1], np.sqrt(squares))


def test_deviations_are_those_of_pytorch_ood(backbone: Backbone) -> None:
    """With nine images a class neither holds any out, so that every stage counts as it is."""
    score, labels = GramMatrices(), torch.arange(45) % 5
    score.prepare(backbone)
    known = run_over(backbone, batches(images(45, 1)), of_maps={"gram": score})
    training = TrainingFeatures(known.statistics["gram"], labels, None, known.logits)
    score.fit(training, OPTIONS)
    new = run_over(backbone, batches(images(20, 2)), of_maps={"gram": score})
    found = score(new.logits, new.statistics["gram"])

    class Rest(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    theirs = Gram(Rest(), [nn.Identity() for _ in score.layers], 5, list(range(1, 11)))
    kept: dict[str, Tensor] = {}

    def features(pictures: Tensor) -> list[Tensor]:
        for name in score.layers:
            backbone.net.get_submodule(name).register_forward_hook(
                lambda _m, _i, out, name=name: kept.update({name: out.double()})
            )
        with torch.no_grad():
            backbone(pictures)
        return [kept[name] for name in score.layers]

    train = features(images(45, 1))
    theirs._create_feature_list = lambda _x: (known.logits, train)
    theirs.fit([(torch.zeros(45), labels)])
    expected = theirs.predict_structured(new.logits, features(images(20, 2)))
    np.testing.assert_allclose(found, -expected, rtol=1e-3)


def test_held_out_images_set_the_scale_of_a_stage(backbone: Backbone) -> None:
    score, labels = GramMatrices(), torch.arange(100) % 5
    score.prepare(backbone)
    known = run_over(backbone, batches(images(100, 3)), of_maps={"gram": score})
    score.fit(TrainingFeatures(known.statistics["gram"], labels, None, known.logits), OPTIONS)
    held = [int(place) for c in range(5) for place in (labels == c).nonzero()[9::10, 0]]
    own = score._deviations(known.statistics["gram"][held].double(), labels[held])
    np.testing.assert_allclose(score.expected, own.mean(0))
    inside = [place for place in range(100) if place not in held]
    np.testing.assert_allclose(
        score._deviations(known.statistics["gram"][inside].double(), labels[inside]), 0
    )


def test_a_class_without_images_is_refused(backbone: Backbone) -> None:
    score = GramMatrices()
    score.prepare(backbone)
    known = run_over(backbone, batches(images(8)), of_maps={"gram": score})
    with pytest.raises(InputError, match="every class"):
        score.fit(
            TrainingFeatures(known.statistics["gram"], torch.arange(8) % 4, None, known.logits), OPTIONS
        )


@pytest.mark.parametrize("kind", [OurRankFeat, GramMatrices])
def test_networks_without_stages_are_refused(kind: type[OurRankFeat | GramMatrices]) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 4))
    tokens = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=3)
    for net, size in ((flat, (16, 16)), (tokens, (32, 32))):
        with pytest.raises(InputError) as caught:
            kind().prepare(Backbone.wrap(net, input_size=size))
        assert f"the score '{kind.name}'" in str(caught.value)
        assert caught.value.remedy == "leave the score out"
