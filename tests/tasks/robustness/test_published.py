"""Published corrupted images in place of those made here."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from eval_suite.core.errors import InputError
from eval_suite.tasks.robustness.metrics import ALEXNET_CLEAN_ERROR, ALEXNET_ERRORS
from eval_suite.tasks.robustness.options import COMMON, RobustnessOptions
from eval_suite.tasks.robustness.predictions import Corruptions
from eval_suite.tasks.robustness.published import published_versions
from eval_suite.tasks.robustness.score import findings
from tests.tasks.robustness.test_score import predictions, scored
from tests.tasks.robustness.test_task import run, world

__all__ = ["world"]
LABELS = np.array([0, 1, 2, 2])
PLAIN = {
    "fgsm_epsilons": [],
    "pgd_epsilons": [],
    "occlusion_sizes": 0,
    "pairs_per_image": 0,
    "corruptions": [],
}


def imagenet_c(world: Path, severities: int = 2) -> str:
    """The clean images at severity 1, and at severity 2 all in blue."""
    for severity in range(1, severities + 1):
        shutil.copytree(world / "world" / "val", world / "c" / "fog" / str(severity))
    for file in (world / "c" / "fog" / "2").rglob("*.png"):
        shutil.copy(world / "world" / "val" / "blue" / "0.png", file)
    return f"imagenetc:{world / 'c'}"


def test_the_error_on_published_images(world: Path) -> None:
    """At severity 1 that of the clean images, 3 of 12; at severity 2 blue alone is right, 8 of 12 are wrong."""
    result, _ = run(world, **PLAIN, corrupted=imagenet_c(world), severities=[1, 2])
    mean = result["mean_corruption_error"]
    assert mean.value == pytest.approx((3 / 12 + 8 / 12) / 2)
    assert mean.params == {"corruptions": "fog", "severities": "1-2", "images": "ImageNet-C"}
    assert result.outcomes is not None
    assert mean.id in result.outcomes.values
    points = {m.subset: m.value for m in result.metrics if m.key == "corruption_error_at"}
    assert points == {"fog, severity 1": 0.25, "fog, severity 2": pytest.approx(8 / 12)}
    assert result.metric("mce") is None


def test_a_version_that_is_missing_is_refused_before_anything_runs(world: Path) -> None:
    spec = imagenet_c(world)
    for options in (
        {"severities": [1, 2, 3]},
        {"severities": [1, 2], "corruptions": ["snow"]},
        {"severities": []},
    ):
        with pytest.raises(InputError) as refused:
            run(world, **{**PLAIN, **options}, corrupted=spec)
        assert refused.value.where == spec
    assert not (world / "out" / "reports").exists()
    assert published_versions(spec, RobustnessOptions(data="x", severities=[2])) == {"fog": ["fog-2"]}


def test_an_image_that_one_severity_lacks_is_refused(world: Path) -> None:
    spec = imagenet_c(world)
    (world / "c" / "fog" / "2" / "red" / "0.png").unlink()
    with pytest.raises(InputError) as refused:
        run(world, **PLAIN, corrupted=spec, severities=[1, 2])
    assert refused.value.where == spec


def test_mce_divides_each_error_by_alexnets() -> None:
    """One of four images is wrong under fog at all severities, and none under the others."""
    names = list(COMMON)
    predicted = np.broadcast_to(LABELS[:, None, None], (4, 15, 5)).copy()
    predicted[0, names.index("fog")] = 1
    found = Corruptions(predicted, names, [1, 2, 3, 4, 5], labels=LABELS, ids=list("pqrs"))
    metrics = scored(corruptions=found, settings={"corrupted": "imagenetc"})
    (mce,) = [metric for metric in metrics.metrics if metric.key == "mce"]
    assert mce.value == pytest.approx(0.25 / ALEXNET_ERRORS["fog"] / 15)
    assert not any(key.startswith("mean_corruption_error") for key in metrics.outcomes)
    same_items = scored(corruptions=found._replace(ids=list("abcd")), settings={"corrupted": "imagenetc"})
    assert any(key.startswith("mean_corruption_error") for key in same_items.outcomes)


def test_a_published_part_comes_back_from_its_file(tmp_path: Path) -> None:
    from eval_suite.tasks.robustness.predictions import read_predictions, write_predictions

    found = Corruptions(np.zeros((2, 1, 1), int), ["fog"], [3], labels=np.array([1, 0]), ids=["p", "q"])
    write_predictions(tmp_path / "p.npz", predictions(corruptions=found))
    read = read_predictions(tmp_path / "p.npz").corruptions
    assert read is not None
    assert read.labels is not None
    assert (read.labels.tolist(), read.ids, read.names, read.severities) == ([1, 0], ["p", "q"], ["fog"], [3])


def test_relative_mce_divides_what_the_error_grows_by() -> None:
    """Clean, one of four is wrong; corrupted, two of four everywhere: a quarter more, over what AlexNet's grows."""
    names = list(COMMON)
    predicted = np.broadcast_to(LABELS[:, None, None], (4, 15, 5)).copy()
    predicted[[0, 1]] = 2
    found = Corruptions(predicted, names, [1, 2, 3, 4, 5], labels=LABELS, ids=list("abcd"))
    settings = {"corrupted": "imagenetc"}
    scores = findings(
        predictions(clean=np.array([0, 1, 2, 1]), labels=LABELS, corruptions=found, settings=settings), LABELS
    )
    (relative,) = [metric for metric in scores.metrics if metric.key == "relative_mce"]
    grows = np.array([ALEXNET_ERRORS[name] for name in COMMON]) - 0.43478
    assert relative.value == pytest.approx(np.mean(0.25 / grows), rel=1e-6)
    assert scores.outcomes[relative.id].mean() == pytest.approx(relative.value)
    unpaired = scored(corruptions=found._replace(ids=list("pqrs")), settings=settings)
    assert not any(metric.key == "relative_mce" for metric in unpaired.metrics)


def test_alexnets_clean_error_is_that_of_torchvisions_weights() -> None:
    from torchvision.models import AlexNet_Weights

    metrics = AlexNet_Weights.IMAGENET1K_V1.meta["_metrics"]["ImageNet-1K"]
    assert pytest.approx(1 - metrics["acc@1"] / 100) == ALEXNET_CLEAN_ERROR


@pytest.mark.parametrize(
    ("kind", "name", "images"),
    [("imagenetcbar", "sparkles", "ImageNet-C-bar"), ("imagenet3dcc", "fog_3d", "ImageNet-3DCC")],
)
def test_sets_with_corruptions_of_their_own(world: Path, kind: str, name: str, images: str) -> None:
    for severity in (1, 2):
        shutil.copytree(world / "world" / "val", world / "c" / name / str(severity))
    spec = f"{kind}:{world / 'c'}"
    result, _ = run(world, **PLAIN, corrupted=spec, severities=[1, 2])
    mean = result["mean_corruption_error"]
    assert (mean.value, mean.params["corruptions"], mean.params["images"]) == (0.25, name, images)
    assert published_versions(spec, RobustnessOptions(data="x", severities=[2], corruptions=[name])) == {
        name: [f"{name}-2"]
    }
    for wrong in (["snow"], ["all"]):
        with pytest.raises(InputError):
            published_versions(spec, RobustnessOptions(data="x", severities=[2], corruptions=wrong))
    with pytest.raises(InputError):
        run(world, **{**PLAIN, "corruptions": [name]}, out="other")
