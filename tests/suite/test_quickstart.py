"""The quickstart: its networks know their classes, and know nothing through noise."""

from pathlib import Path

import pytest

from eval_suite.core.errors import InputError
from eval_suite.core.store import read_record
from eval_suite.suite import quickstart as module
from eval_suite.suite.quickstart import BACKBONES, quickstart


def value(folder: Path, backbone: str, task: str, key: str) -> float:
    found = read_record(folder / "results" / f"{backbone}-s0" / f"{task}.json")[key].value
    assert found is not None
    return found


@pytest.mark.long
def test_the_networks_are_right_on_new_images_and_at_chance_in_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    clear = quickstart(tmp_path, tell=lines.append)
    # Of the control, the two tasks that are judged below; what the others do, the clear images have shown.
    whole = module._tasks
    judged = ("classify", "ood")
    monkeypatch.setattr(module, "_tasks", lambda data: {name: whole(data)[name] for name in judged})
    noisy = quickstart(tmp_path, noise=1.0)
    assert len(lines) == 8
    assert (clear.unfinished, noisy.unfinished) == (0, 0)
    for backbone in BACKBONES:
        assert value(clear.index.parent, backbone, "classify", "top1_error") < 0.25
        assert value(clear.index.parent, backbone, "ood", "auroc") > 0.7
        assert value(clear.index.parent, backbone, "wsol", "top1_loc") > 0.5
        # 200 images of ten classes: chance is 0.9, give or take four standard deviations of 0.021.
        assert abs(value(noisy.index.parent, backbone, "classify", "top1_error") - 0.9) < 0.085
        assert abs(value(noisy.index.parent, backbone, "ood", "auroc") - 0.5) < 0.12


@pytest.mark.parametrize("noise", [-0.1, float("nan"), 11])
def test_noise_has_a_range(tmp_path: Path, noise: float) -> None:
    with pytest.raises(InputError):
        quickstart(tmp_path, noise=noise)
    assert not list(tmp_path.iterdir())


def test_the_shipped_networks_are_small_and_have_their_cards() -> None:
    import eval_suite

    networks = Path(eval_suite.__file__).parent / "demo" / "networks"
    assert {path.name for path in networks.iterdir()} == {f"{name}-s0" for name in BACKBONES}
    for folder in networks.iterdir():
        assert {path.name for path in folder.iterdir()} == {"model.safetensors", "card.json"}
        assert (folder / "model.safetensors").stat().st_size < 1_000_000
