"""Multiply-adds by hand, and a measured forward pass."""

import pytest
import torch
from torch import nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.cost import measured
from eval_suite.backbones.operations import multiply_adds
from eval_suite.core.runtime import RuntimeOptions


def test_multiply_adds_by_hand() -> None:
    # 16 x 16 places of 8 channels from 3 x 3 x 3 values each; then 8 numbers to 5 classes.
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )
    assert multiply_adds(net, (32, 32)) == 16 * 16 * 8 * 27 + 8 * 5
    assert Backbone.wrap(net, input_size=(32, 32)).card.multiply_adds == 16 * 16 * 8 * 27 + 8 * 5


class Attends(nn.Module):
    """Attention over the 16 pixels of an image, of 4 channels in one head, fused in torch's own layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 1, 8, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = torch.cat([x, x[:, :1]], 1).flatten(2).transpose(1, 2)
        out: torch.Tensor = self.layer(tokens).mean(1)
        return out


def test_fused_attention_is_counted() -> None:
    projections, products, mlp = 4 * 16 * 4 * 4, 2 * 16 * 16 * 4, 2 * 16 * 4 * 8
    before = torch.backends.mha.get_fastpath_enabled()
    assert multiply_adds(Attends(), (4, 4)) == projections + products + mlp
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_what_cannot_be_counted_is_unknown() -> None:
    assert multiply_adds(nn.Linear(7, 2), (4, 4)) is None
    assert multiply_adds(nn.Flatten(), (4, 4)) is None


def test_speed_is_measured_in_batches_and_alone() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    cost = measured(Backbone.wrap(net, input_size=(16, 16)), RuntimeOptions(device="cpu", batch_size=4))
    assert cost.batch_size == 4
    assert cost.images_per_second > 0
    assert cost.latency_ms > 0
    assert cost.peak_memory is None
    assert cost.device == "cpu"


@pytest.mark.parametrize("asked", [True, False])
def test_a_record_holds_it_where_it_was_asked_for(asked: bool, demo_world) -> None:  # type: ignore[no-untyped-def]
    from eval_suite.tasks.evaluate import evaluate

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    record = evaluate(
        Backbone.wrap(net, input_size=(16, 16)),
        "classify",
        data=f"folder:{demo_world / 'images'}",
        device="cpu",
        workers=0,
        measure_cost=asked,
    )
    assert (record.run.cost is not None) == asked
