"""TransMix and TokenMix: attention as timm computes it, the authors' weights, and patches counted."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.core.errors import InputError
from eval_suite.core.runtime import RuntimeOptions
from eval_suite.training.loop import train
from eval_suite.training.network import Network
from eval_suite.training.preparation import require_regularizers
from eval_suite.training.recipe import Recipe
from eval_suite.training.regularizers.base import Context
from eval_suite.training.regularizers.boxes import cutmix_box
from eval_suite.training.regularizers.draws import beta, integers, permutation, uniform
from eval_suite.training.regularizers.labels import LabelSmoothing
from eval_suite.training.regularizers.tokens import TokenMix, TransMix
from tests.training.mixtures import constant_images, context, shares

TINY = {"img_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 24, "num_heads": 3}


def installed(**options: object) -> Network:
    torch.manual_seed(0)
    net = timm.create_model("vit_tiny_patch16_224", num_classes=4, **TINY, **options)
    backbone = Backbone.wrap(net, input_size=(32, 32), mean=(0.5,) * 3, std=(0.5,) * 3).train()
    network = Network(net, "tiny", (32, 32), backbone)
    TransMix().install(network)
    return network


def attention_of_timm(network: Network, images: Tensor) -> Tensor:
    """(N, patches): the class token's row of the last block, taken from timm's own unfused path."""
    attention, seen = network.net.blocks[-1].attn, []  # type: ignore[index, union-attr]
    attention.fused_attn = False  # type: ignore[assignment]
    handle = attention.attn_drop.register_forward_hook(lambda _m, _i, output: seen.append(output))  # type: ignore[union-attr, operator]
    assert network.backbone is not None
    network.backbone(images)
    handle.remove()
    return seen[0][:, :, 0, network.net.num_prefix_tokens :].mean(1)  # type: ignore[misc]


@pytest.mark.parametrize("options", [{}, {"qk_norm": True}, {"reg_tokens": 2}])
def test_the_loss_weighs_labels_by_area_and_attention(options: dict[str, object]) -> None:
    network, mixer = installed(**options), TransMix()
    before = torch.rand(6, 3, 32, 32, generator=Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    loss = mixer.criterion(network)
    for seed, smoothing in ((0, 0.0), (1, 0.1), (2, 0.0)):
        step = Context(Generator().manual_seed(seed), torch.zeros(3), network=network)
        network.begin_step(step)
        images, targets = mixer.apply(before.clone(), F.one_hot(labels, 4).float(), step)
        targets = LabelSmoothing(epsilon=smoothing).apply(images, targets, step).targets
        assert network.backbone is not None
        logits = network.backbone(images)
        found = loss(logits, targets)

        generator = Generator().manual_seed(seed)
        uniform(generator)
        lam = beta(1.0, generator)
        order = permutation(6, generator)
        x, y = int(integers(32, 1, generator)), int(integers(32, 1, generator))
        box = cutmix_box(32, 32, lam, x, y)
        mask = torch.zeros(32, 32)
        mask[box.inside] = 1
        patches = torch.nn.Upsample(size=4)(mask[None, None]).flatten()
        attention = attention_of_timm(network, images)
        attended = (attention * patches).sum(1) / attention.sum(1)
        theirs = (box.area / 32**2 + attended) / 2
        each = [
            F.cross_entropy(logits, one, reduction="none", label_smoothing=smoothing)
            for one in (labels, labels[order])
        ]
        torch.testing.assert_close(found, (each[0] * (1 - theirs) + each[1] * theirs).mean())


def test_unmixed_batches_have_plain_cross_entropy() -> None:
    network = installed()
    step = Context(Generator().manual_seed(0), torch.zeros(3), network=network)
    network.begin_step(step)
    images, targets = TransMix(prob=0.0).apply(torch.rand(4, 3, 32, 32), torch.eye(4), step)
    assert network.backbone is not None
    logits = network.backbone(images)
    torch.testing.assert_close(
        TransMix().criterion(network)(logits, targets), F.cross_entropy(logits, targets)
    )


def test_a_network_without_a_class_token_is_refused_before_anything_runs() -> None:
    for arch, options in (
        ("resnet20_cifar", {}),
        ("vit_tiny_patch16_224", {**TINY, "class_token": False, "global_pool": "avg"}),
    ):
        recipe = Recipe.model_validate(
            {
                "arch": arch,
                "arch_options": options,
                "data": "d",
                "input_size": [32, 32],
                "regularizers": ["transmix"],
            }
        )
        with pytest.raises(InputError, match="class token"):
            require_regularizers(recipe)


def test_a_recipe_trains_with_transmix_or_mixup(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = tiny_recipe(
        arch="vit_tiny_patch16_224",
        arch_options={**TINY, "img_size": 32},
        regularizers=[{"either": {"of": [{"mixup": {"alpha": 0.8}}, "transmix"]}}, "label-smoothing"],
        epochs=1,
        limit=64,
        accumulate=2,
        lr=0.001,
    )
    runtime = RuntimeOptions(device="cpu", workers=0, threads=1)
    card = train(recipe, name="net", seed=0, folder=tmp_path / "net", runtime=runtime).card
    assert card.training is not None
    assert 0 < card.training["last"]["train_loss"] < 10


@pytest.mark.parametrize("blocks", ["block", "random"])
@pytest.mark.parametrize("per_sample", [False, True])
def test_tokenmix_pastes_whole_patches_and_weighs_labels_by_them(blocks: str, per_sample: bool) -> None:
    mixer = TokenMix(grid=8, more=3, blocks=blocks, per_sample=per_sample)  # type: ignore[arg-type]
    counts = []
    for seed in range(15):
        images, targets = mixer.apply(constant_images(4, 32, 24), torch.eye(4).double(), context(seed))
        torch.testing.assert_close(shares(images), targets, rtol=0, atol=1e-12)
        patches = images[:, 0].unflatten(1, (8, 4)).unflatten(3, (8, 3)).transpose(2, 3).flatten(3)
        assert (patches == patches[..., :1]).all()
        counts += [round((1 - float(own)) * 64) for own in targets.diagonal() if own < 1]
    # int(0.5 * 64) + 3 of 64; blocks that no longer fit leave a few out.
    assert max(counts) == 35
    assert (set(counts) == {35}) if blocks == "random" else (min(counts) > 20)


def test_every_patch_may_be_pasted() -> None:
    keep, weight = TokenMix(share=1.0, grid=4, blocks="random").mask(8, 8, Generator().manual_seed(0))
    assert not keep.any()
    assert weight == 0
