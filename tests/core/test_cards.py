"""The card of a backbone: which of its fields decide what is fitted to it."""

from typing import Any

import pytest

from tests.core.test_records import card


@pytest.mark.parametrize(
    ("change", "decides"),
    [
        ({"mean": (0.0, 0.0, 0.0)}, True),
        ({"std": (1.0, 1.0, 1.0)}, True),
        ({"feature_layer": "layer2"}, True),
        ({"weights_sha256": "ab"}, True),
        ({"behaviour": "1.00e+00 0.100 0.200"}, True),
        ({"arch": "other"}, True),
        ({"arch_options": {"blocks": 3}}, True),
        ({"name": "other"}, False),
        ({"source": "elsewhere"}, False),
        ({"input_size": (32, 32)}, False),
    ],
)
def test_what_of_a_backbone_decides_its_features(change: dict[str, Any], decides: bool) -> None:
    assert (card(**change).deciding_features() != card().deciding_features()) == decides
