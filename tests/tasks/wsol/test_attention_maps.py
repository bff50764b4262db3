"""Maps of vision transformers against loops by hand, and plain maps of networks whose head reads the mean of tokens."""

import pytest
import timm
import torch
from torch import Tensor

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.structure.layout import map_of
from eval_suite.backbones.structure.tokens import token_layer
from eval_suite.core.errors import InputError
from eval_suite.tasks.wsol.attention_maps import ATTENTION_MAPS, LeGrad, Rollout
from eval_suite.tasks.wsol.localiser import make_localiser, with_map
from eval_suite.tasks.wsol.maps import PackageMaps, PlainMaps, min_max
from tests.tasks.wsol.nets import backbone, images, wrap

VIT = "vit_tiny_patch16_224"
SMALL = {"img_size": 64, "depth": 2}


@pytest.fixture(scope="module")
def class_token() -> Backbone:
    return backbone(VIT, 64, **SMALL)


def attention_by_hand(net: Backbone, x: Tensor) -> list[Tensor]:
    """softmax(q k / sqrt(d)) of each block, from the blocks' own inputs."""
    vit, found = net.net, []
    tokens = vit.norm_pre(vit._pos_embed(vit.patch_embed(net.normalise(x))))  # type: ignore[operator,union-attr]
    for block in vit.blocks:  # type: ignore[union-attr]
        heads = block.attn.num_heads
        q, k, _ = block.attn.qkv(block.norm1(tokens)).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        found.append((q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1))
        tokens = block(tokens)
    return found


def test_rollout_is_the_product_of_the_layers(class_token: Backbone) -> None:
    x = images(2, 64)
    with torch.no_grad():
        first, second = (each.mean(1) for each in attention_by_hand(class_token, x))
        eye = torch.eye(17)
        rolled = ((second + eye) / 2) @ ((first + eye) / 2)
        expected = min_max(rolled[:, 0, 1:].unflatten(1, (4, 4)))
        found = Rollout(class_token)(x, torch.tensor([0, 1]))
        torch.testing.assert_close(found.maps, expected)
        torch.testing.assert_close(found.logits, class_token(x))
    assert all(block.attn.fused_attn for block in class_token.net.blocks)  # type: ignore[union-attr]


def test_legrad_is_the_gradient_of_what_each_layer_says(class_token: Backbone) -> None:
    x, wanted = images(2, 64), torch.tensor([2, 0])
    found = LeGrad(class_token)(x, wanted)
    vit, total = class_token.net, torch.zeros(2, 17)
    for depth in range(2):
        # The attention of one block, moved by hand in one entry: a difference quotient of the class's score.
        def score(moved: Tensor | None, depth: int = depth) -> tuple[Tensor, Tensor]:
            seen: list[Tensor] = []

            def hook(_module: object, _inputs: object, given: Tensor) -> Tensor:
                seen.append(given)
                return given if moved is None else given + moved

            block = vit.blocks[depth]  # type: ignore[index]
            block.attn.fused_attn = False
            handle = block.attn.attn_drop.register_forward_hook(hook)
            tokens = vit._pos_embed(vit.patch_embed(class_token.normalise(x)))  # type: ignore[operator]
            for each in vit.blocks[: depth + 1]:  # type: ignore[index]
                tokens = each(tokens)
            handle.remove()
            block.attn.fused_attn = True
            logits = vit.forward_head(vit.norm(tokens))  # type: ignore[operator]
            return logits.gather(1, wanted[:, None]).sum(), seen[0]

        _, attention = score(None)
        moved = torch.zeros_like(attention).requires_grad_()
        (gradient,) = torch.autograd.grad(score(moved)[0], moved)
        total += gradient.clamp(min=0).mean((1, 2)) / 2
    torch.testing.assert_close(found.maps, min_max(total[:, 1:].unflatten(1, (4, 4))), atol=1e-4, rtol=1e-4)
    other = LeGrad(class_token)(x, torch.tensor([1, 1])).maps
    assert not torch.allclose(found.maps, other)
    assert torch.equal(LeGrad(class_token)(x, None).maps, LeGrad(class_token)(x, found.logits.argmax(1)).maps)


@pytest.mark.parametrize("name", ATTENTION_MAPS)
def test_what_has_no_attention_is_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        ATTENTION_MAPS[name](backbone("resnet14_demo", 32))
    assert "--cam-method" in caught.value.remedy


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        (VIT, {**SMALL, "global_pool": "avg", "fc_norm": False}),
        ("swin_tiny_patch4_window7_224", {"img_size": 64, "window_size": 2, "depths": (1, 1, 1, 1)}),
        ("mixer_s32_224", {"img_size": 64}),
    ],
)
def test_plain_maps_of_a_mean_of_tokens_have_the_logit_for_mean(arch: str, options: dict) -> None:  # type: ignore[type-arg]
    net = backbone(arch, 64, **options)
    head = net.net.get_classifier()  # type: ignore[operator]
    torch.nn.init.normal_(head.weight)
    net = with_map(net)
    x, wanted = images(2, 64), torch.tensor([1, 3])
    found = PlainMaps(net)(x, wanted)
    own = found.logits.gather(1, wanted[:, None])[:, 0] - head.bias[wanted]
    torch.testing.assert_close(found.maps.mean((1, 2)), own.detach(), atol=1e-4, rtol=1e-4)


def test_a_class_token_is_read_before_the_last_attention(class_token: Backbone) -> None:
    net = with_map(class_token)
    assert net.card.feature_layer == "blocks.1.norm1"
    maps = PackageMaps(net, "gradcam")(images(2, 64), torch.tensor([0, 1])).maps
    assert maps.shape == (2, 4, 4)
    assert bool((maps.flatten(1).amax(1) > 0).all())
    with pytest.raises(InputError, match="gradcam"):
        PlainMaps(net)


def test_prefix_tokens_are_left_out_and_patches_lie_row_by_row() -> None:
    net = backbone("vit_small_patch14_reg4_dinov2", 56, img_size=56, depth=1).net
    tokens = torch.arange(5 + 16, dtype=torch.float32)[None, :, None]
    found = map_of(tokens, (56, 56), net)
    assert found is not None
    assert found[0, 0].flatten().tolist() == list(range(5, 21))
    assert map_of(tokens[:, 1:], (56, 56), net) is None
    assert map_of(torch.zeros(2, 9), (56, 56), net) is None


def test_a_network_without_tokens_or_maps_has_no_such_layer() -> None:
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 4))
    assert token_layer(flat, torch.rand(2, 3, 8, 8)) is None


def test_a_fit_starts_from_tokens_whose_mean_is_classified() -> None:
    net = backbone(VIT, 64, **SMALL, global_pool="avg", fc_norm=False)
    found = make_localiser(net, 3, enlarge=True)
    assert (found.feature_layer, found.head) == ("norm", "head")
    assert len(found.notes) == 1
    card = net.card.model_copy(update={"feature_layer": found.feature_layer})
    assert Backbone(found.net, card).features(images(1, 64)).shape == (1, 192, 4, 4)
    headless = wrap(build_headless(), 64)
    assert make_localiser(headless, 3, enlarge=False).feature_layer == "body.net.norm"


def build_headless() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(VIT, num_classes=0, global_pool="avg", fc_norm=False, **SMALL)
