"""The plan of a suite: what runs, what hangs on what, and when a stamp counts."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from eval_suite.core.cards import BackboneCard
from eval_suite.core.errors import InputError
from eval_suite.core.papers import CUTMIX
from eval_suite.core.parts import part
from eval_suite.core.records import Record, TaskInfo
from eval_suite.core.runtime import Clock, run_info
from eval_suite.core.store import read_record, write_record
from eval_suite.data.images import open_images
from eval_suite.suite.execute import _snakemake
from eval_suite.suite.plan import Job, Plan, jobs_to_run, make_plan, write_plan
from eval_suite.suite.preflight import require_no_other_backbones
from eval_suite.suite.suite import Suite, load_suite
from tests.suite.checkpoints import write_checkpoint


@pytest.fixture
def make_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Suite]:
    monkeypatch.chdir(tmp_path)

    def make(**changes: object) -> Suite:
        content: dict[str, object] = {
            "name": "mini",
            "demo": {"out": "world", "size": "tiny"},
            "seeds": [0, 1],
            "recipe": {"arch": "resnet14_demo", "data": "folder:world/images"},
            "backbones": {"baseline": {}, "cutmix": {"regularizers": ["cutmix"]}},
            "tasks": {"classify": {"data": "folder:world/images"}},
            **changes,
        }
        Path("mini.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return load_suite("mini.yaml")

    return make


def written(suite: Suite, threads: int = 1) -> Plan:
    plan = make_plan(suite, threads)
    write_plan(plan)
    return plan


def finish(plan: Plan, *, without: tuple[str, ...] = ()) -> None:
    """Leave what the jobs of a plan leave, one after the other; products are no records, but files of data and weights."""
    for moment, job in enumerate(plan.jobs):
        if job.name not in without:
            for path in (Path(job.product), Path(job.stamp)):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            if job.name.startswith("classify"):
                leave_record(Path(job.product))
            later = time.time() + 10 + moment
            os.utime(job.stamp, (later, later))


def leave_record(path: Path) -> None:
    info = TaskInfo(name="classify", version=1, options={}, paper=CUTMIX)
    card = BackboneCard(
        name="n", source="", arch="a", classes=[], input_size=(1, 1), mean=(0, 0, 0), std=(1, 1, 1)
    )
    run = run_info(Clock(), "cpu", "fp32", 0)
    write_record(path, Record(status="complete", task=info, backbone=card, data=None, run=run))


def names(jobs: list[Job]) -> list[str]:
    return [job.name for job in jobs]


def times(plan: Plan) -> dict[str, int]:
    return {job.name: Path(job.inputs[0]).stat().st_mtime_ns for job in plan.jobs}


def changed(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {name for name in after if after[name] != before.get(name)}


def test_every_cell_is_there_and_hangs_on_its_training(make_suite: Callable[..., Suite]) -> None:
    plan = written(make_suite())
    assert names(plan.jobs)[0] == "data"
    assert set(names(plan.jobs)[1:]) == {
        f"{verb} {backbone}-s{seed}"
        for verb in ("train", "classify")
        for backbone in ("baseline", "cutmix")
        for seed in (0, 1)
    }
    stamps = {job.name: job.stamp for job in plan.jobs}
    for job in plan.jobs:
        if job.name.startswith("train"):
            assert stamps["data"] in job.inputs
        if job.name.startswith("classify"):
            assert stamps[job.name.replace("classify", "train")] in job.inputs
    assert json.loads(plan.file.read_text())["jobs"][0]["name"] == "data"
    assert json.loads(Path("reports/mini/suite.json").read_text())["backbones"] == ["baseline", "cutmix"]


def test_changing_one_recipe_touches_only_its_own_training(make_suite: Callable[..., Suite]) -> None:
    before = times(written(make_suite()))
    assert changed(before, times(written(make_suite(), threads=4))) == set()
    altered = make_suite(backbones={"baseline": {}, "cutmix": {"regularizers": [{"cutmix": {"prob": 0.5}}]}})
    assert changed(before, times(written(altered))) == {"train cutmix-s0", "train cutmix-s1"}


def test_changing_a_task_leaves_the_trainings_alone(make_suite: Callable[..., Suite]) -> None:
    before = times(written(make_suite()))
    altered = make_suite(tasks={"classify": {"data": "folder:world/images", "limit": 5}})
    assert {name.split()[0] for name in changed(before, times(written(altered)))} == {"classify"}


def test_a_backbone_taken_as_it_is_needs_no_training(make_suite: Callable[..., Suite]) -> None:
    suite = make_suite(backbones={"pretrained": {"source": "timm:resnet18.a1_in1k", "mean": [0.5, 0.5, 0.5]}})
    plan = written(suite)
    assert not [job for job in plan.jobs if job.name.startswith("train")]
    specification = json.loads(Path(plan.jobs[1].inputs[0]).read_text())
    assert specification["source"][0] == "timm:resnet18.a1_in1k"


def test_a_rows_own_options_are_its_jobs_alone(make_suite: Callable[..., Suite]) -> None:
    before = times(written(make_suite()))
    row = {"regularizers": ["cutmix"], "tasks": {"classify": {"limit": 5}}}
    plan = written(make_suite(backbones={"baseline": {}, "cutmix": row}))
    assert changed(before, times(plan)) == {"classify cutmix-s0", "classify cutmix-s1"}


def test_rows_trained_in_another_suite_share_its_checkpoint_and_one_job(
    make_suite: Callable[..., Suite],
) -> None:
    other = make_suite(name="other", seeds=[0])
    Path("mini.yaml").rename("other.yaml")
    rows = {
        "plain": {"trained_in": "other.yaml", "row": "baseline"},
        "limited": {
            "trained_in": "other.yaml",
            "row": "baseline",
            "tasks": {"classify": {"limit": 5}},
        },
    }
    suite = make_suite(seeds=[0], backbones=rows)
    plan = written(suite)
    assert [job.name for job in plan.jobs] == [
        "data",
        "train baseline-s0 in other",
        "classify plain-s0",
        "classify limited-s0",
    ]
    training = plan.jobs[1]
    assert training.product == str(Path("checkpoints/other/baseline-s0/card.json").resolve())
    assert all(training.stamp in job.inputs for job in plan.jobs[2:])
    assert not Path(training.stamp).exists()

    recipe = other.backbones["baseline"].recipe
    assert recipe is not None
    write_checkpoint(Path("checkpoints/other/baseline-s0"), recipe.digest(), seed=1)
    written(suite)
    assert not Path(training.stamp).exists()
    card = Path("checkpoints/other/baseline-s0/card.json")
    card.write_text("{")
    written(suite)
    assert not Path(training.stamp).exists()
    write_checkpoint(card.parent, recipe.digest(), seed=0)
    for file in (plan.jobs[0].product, plan.jobs[0].stamp):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()
    assert names(jobs_to_run(make_plan(suite, threads=1))) == ["classify plain-s0", "classify limited-s0"]
    assert not Path(training.stamp).exists()
    written(suite)
    assert Path(training.stamp).exists()
    assert Path(training.stamp).stat().st_mtime_ns >= Path(training.inputs[0]).stat().st_mtime_ns


@pytest.mark.parametrize("product", ["missing", "failed", "unreadable"])
def test_a_stamp_without_a_usable_product_does_not_count(
    make_suite: Callable[..., Suite], product: str
) -> None:
    plan = written(make_suite())
    job = next(job for job in plan.jobs if job.name == "classify cutmix-s0")
    stamp, record = Path(job.stamp), Path(job.product)
    stamp.parent.mkdir(parents=True, exist_ok=True)
    record.parent.mkdir(parents=True, exist_ok=True)
    later = time.time() + 10
    stamp.touch()
    os.utime(stamp, (later, later))
    if product == "unreadable":
        record.write_text("{}")
    if product == "failed":
        from eval_suite.core.runtime import RuntimeOptions
        from eval_suite.core.store import Cell
        from eval_suite.tasks.evaluate import task_named, write_failed

        task = task_named("classify")
        write_failed(
            task,
            task.options(data="folder:world"),
            cell=Cell("mini", "cutmix", 0),
            runtime=RuntimeOptions(),
            type_name="Error",
            message="no luck",
        )
        assert record.is_file()
    assert job in jobs_to_run(plan)
    write_plan(plan)
    assert not stamp.exists()


def test_what_is_taken_as_it_is_is_evaluated_once_whatever_the_seeds(
    make_suite: Callable[..., Suite],
) -> None:
    suite = make_suite(backbones={"baseline": {}, "theirs": {"source": "timm:resnet18.a1_in1k"}})
    assert [cell.name for cell in suite.cells()] == ["baseline-s0", "baseline-s1", "theirs-s0"]
    assert suite.summary()["taken_as_they_are"] == ["theirs"]


def test_the_tasks_of_a_probes_layer_wait_for_the_probe(
    make_suite: Callable[..., Suite], tmp_path: Path
) -> None:
    tasks = {"classify": {"data": "folder:world/images"}, "probe": {"data": "folder:world/images"}}
    (tmp_path / "model.py").write_text("make = None")
    row = {"source": "model.py:make", "head": "probe"}
    jobs = {job.name: job for job in make_plan(make_suite(tasks=tasks, backbones={"own": row}), 1).jobs}
    names = list(jobs)
    assert names.index("probe own-s0") < names.index("classify own-s0")
    assert jobs["probe own-s0"].stamp in jobs["classify own-s0"].inputs
    del tasks["probe"]
    with pytest.raises(InputError) as caught:
        make_plan(make_suite(tasks=tasks, backbones={"own": row}), 1)
    assert caught.value.found == "classify"


def test_laying_out_writes_nothing(make_suite: Callable[..., Suite]) -> None:
    plan = make_plan(make_suite(), threads=1)
    assert jobs_to_run(plan) == plan.jobs
    assert [path.name for path in Path().iterdir()] == ["mini.yaml"]


def test_what_is_done_stays_done_and_a_change_reaches_what_hangs_on_it(
    make_suite: Callable[..., Suite],
) -> None:
    suite = make_suite()
    finish(written(suite))
    assert jobs_to_run(make_plan(suite, threads=4)) == []
    altered = make_suite(backbones={"baseline": {}, "cutmix": {"regularizers": [{"cutmix": {"prob": 0.5}}]}})
    wanted = ["train cutmix-s0", "classify cutmix-s0", "train cutmix-s1", "classify cutmix-s1"]
    # The same before the change is on disk, as a dry run sees it, and after.
    assert names(jobs_to_run(make_plan(altered, threads=1))) == wanted
    assert names(jobs_to_run(make_plan(suite, threads=1))) == []
    later = time.time() + 100
    for job in written(altered).jobs:
        if job.name.startswith("train cutmix"):
            os.utime(job.inputs[0], (later, later))
    assert names(jobs_to_run(make_plan(altered, threads=1))) == wanted


def test_another_content_of_a_regularizers_file_reaches_what_depends_on_it(
    make_suite: Callable[..., Suite],
) -> None:
    own = Path("mine.py")
    text = (
        "import eval_suite as es\n"
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class Own(es.Regularizer):\n"
        "    name, stage = 'own', 'erase'\n"
        "    paper = es.Paper('Own', 'unpublished', 2026, 'https://example.org')\n"
        "    def apply(self, images, targets, context):\n"
        "        return es.Mixed(images, targets)\n"
    )
    own.write_text(text)
    rows = {"baseline": {}, "own": {"regularizers": ["mine.py:Own"]}}
    suite = make_suite(backbones=rows, seeds=[0])
    plan = written(suite)
    finish(plan)
    for name, row in suite.backbones.items():
        assert row.recipe is not None
        write_checkpoint(Path(f"checkpoints/mini/{name}-s0"), row.recipe.digest(), seed=0)
    assert jobs_to_run(make_plan(suite, threads=1)) == []
    own.write_text(f"{text}# another content\n")
    changed = make_plan(make_suite(backbones=rows, seeds=[0]), threads=1, overwrite=True)
    assert names(jobs_to_run(changed)) == ["train own-s0", "classify own-s0"]
    write_plan(changed)
    stamps = {job.name: Path(job.stamp).exists() for job in changed.jobs}
    assert (stamps["train baseline-s0"], stamps["train own-s0"]) == (True, False)


def test_another_content_of_a_scores_file_reaches_the_task_that_names_it(
    make_suite: Callable[..., Suite],
) -> None:
    own = Path("mine.py")
    text = (
        "import eval_suite as es\n"
        "class Own(es.OodScore):\n"
        "    name, title = 'own', 'own'\n"
        "    paper = es.Paper('Own', 'unpublished', 2026, 'https://example.org')\n"
        "    def __call__(self, logits, features):\n"
        "        return logits.max(dim=1).values\n"
    )
    own.write_text(text)
    classify = {"data": "folder:world/images"}
    ood = {**classify, "outliers": ["near/a=folder:a"], "scores": ["energy", "mine.py:Own"]}
    suite = make_suite(seeds=[0], tasks={"classify": classify, "ood": ood})
    before = [job.depends_on for job in make_plan(suite, threads=1).jobs]
    assert [each.depends_on for each in make_plan(suite, threads=1).jobs] == before
    own.write_text(f"{text}# another content\n")
    jobs = make_plan(suite, threads=1).jobs
    differing = [job.name for job, old in zip(jobs, before, strict=True) if job.depends_on != old]
    assert differing == ["ood baseline-s0", "ood cutmix-s0"]


def test_another_content_of_a_networks_file_is_evaluated_again(make_suite: Callable[..., Suite]) -> None:
    own = Path("net.py")
    own.write_text("def make(): ...\n")
    suite = make_suite(seeds=[0], backbones={"baseline": {}, "theirs": {"source": "net.py:make"}})
    finish(written(suite))
    assert jobs_to_run(make_plan(suite, threads=1)) == []
    own.write_text("def make(): ... # otherwise\n")
    assert names(jobs_to_run(make_plan(suite, threads=1))) == ["classify theirs-s0"]


def test_other_weights_of_a_pretrained_row_are_evaluated_again(make_suite: Callable[..., Suite]) -> None:
    weights = Path("theirs.pth")
    weights.touch()
    suite = make_suite(
        seeds=[0], backbones={"baseline": {}, "theirs": {"source": "timm:resnet18@theirs.pth"}}
    )
    finish(written(suite))
    assert jobs_to_run(make_plan(suite, threads=1)) == []
    later = time.time() + 100
    os.utime(weights, (later, later))
    changed = make_plan(suite, threads=1)
    assert names(jobs_to_run(changed)) == ["classify theirs-s0"]
    write_plan(changed)
    assert [Path(job.stamp).exists() for job in changed.jobs if job.verb == "classify"] == [True, False]


def image_files() -> list[Path]:
    images = [Path(f"world/images/{split}/{name}/0.jpg") for split in ("train", "val") for name in "ab"]
    for image in images:
        image.parent.mkdir(parents=True)
        image.write_bytes(b"four")
    return images


def test_data_that_changed_are_evaluated_again(make_suite: Callable[..., Suite]) -> None:
    images = image_files()
    suite = make_suite(seeds=[0], demo=None, backbones={"theirs": {"source": "timm:resnet18"}})
    task = part("task", "classify")()
    finish(written(suite))
    record = read_record(Path("reports/mini/results/theirs-s0/classify.json"))
    sets = task.sets_read(suite.task_options("classify", "theirs"))
    write_record(
        Path("reports/mini/results/theirs-s0/classify.json"), record.model_copy(update={"sets": sets})
    )
    assert jobs_to_run(make_plan(suite, threads=1)) == []
    moved = images[3].rename("world/images/val/a/1.jpg")
    changed = make_plan(suite, threads=1)
    assert names(jobs_to_run(changed)) == ["classify theirs-s0"]
    write_plan(changed)
    assert not Path(changed.jobs[-1].stamp).exists()
    moved.rename(images[3])
    shutil.rmtree("world")  # what has gone speaks against no record
    assert not make_plan(suite, threads=1).jobs[-1].outdated


def test_a_training_whose_images_changed_is_replaced_only_where_that_is_asked_for(
    make_suite: Callable[..., Suite],
) -> None:
    images = image_files()
    suite = make_suite(seeds=[0], demo=None, backbones={"baseline": {}})
    recipe = suite.backbones["baseline"].recipe
    assert recipe is not None
    learnt = open_images(recipe.data, "train", purpose="train").sha256()
    plan = written(suite)
    finish(plan)
    write_checkpoint(Path("checkpoints/mini/baseline-s0"), recipe.digest(), 0, learnt)
    assert not make_plan(suite, threads=1).jobs[0].outdated
    require_no_other_backbones(suite)
    images[0].write_bytes(b"five5")
    assert [job.name for job in jobs_to_run(make_plan(suite, threads=1))] == [
        "train baseline-s0",
        "classify baseline-s0",
    ]
    with pytest.raises(InputError, match="--overwrite"):
        require_no_other_backbones(suite)
    shutil.rmtree("world")
    require_no_other_backbones(suite)


def test_trainings_replace_other_recipes_only_where_that_is_asked_for(
    make_suite: Callable[..., Suite],
) -> None:
    suite = make_suite()
    kept, replaced = make_plan(suite, 1), make_plan(suite, 1, overwrite=True)
    assert not any("--overwrite" in job.command for job in kept.jobs)
    assert {job.name for job in replaced.jobs if "--overwrite" in job.command} == {
        job.name for job in replaced.jobs if job.name.startswith("train ")
    }
    assert [job.depends_on for job in kept.jobs] == [job.depends_on for job in replaced.jobs]


def test_snakemake_would_run_the_same_jobs(make_suite: Callable[..., Suite]) -> None:
    plan = written(make_suite(seeds=[0, 1, 2]))
    finish(plan, without=("train baseline-s1", "classify baseline-s2"))
    later = time.time() + 100
    changed = next(job for job in plan.jobs if job.name == "classify cutmix-s0")
    os.utime(changed.inputs[0], (later, later))
    younger = next(job for job in plan.jobs if job.name == "train cutmix-s1")
    os.utime(younger.stamp, (later, later))
    call = [*_snakemake(plan, ["--cores", "1"]), "--summary"]
    said = subprocess.run(call, capture_output=True, text=True, cwd=plan.folder, check=True).stdout
    header, *rows = (line.split("\t") for line in said.splitlines() if "\t" in line)
    stamp, what = header.index("output_file"), header.index("plan")
    theirs = {str(plan.folder / row[stamp]) for row in rows if row[what] != "no update"}
    ours = jobs_to_run(plan)
    assert names(ours) == [
        "train baseline-s1",
        "classify baseline-s1",
        "classify baseline-s2",
        "classify cutmix-s0",
        "classify cutmix-s1",
    ]
    assert {job.stamp for job in ours} == theirs


def test_jobs_share_the_users_cache_unless_the_suite_or_the_command_says_otherwise(
    make_suite: Callable[..., Suite],
) -> None:
    def said(suite: Suite, cache: str | None = None) -> set[str]:
        commands = [
            job.command.split() for job in make_plan(suite, 1, cache=cache).jobs if job.name != "data"
        ]
        return {words[words.index("--cache") + 1] for words in commands}

    assert said(make_suite()) == {"on"}
    assert said(make_suite(runtime={"cache": "off"})) == {"off"}
    assert said(make_suite(runtime={"cache": "off"}), "kept") == {"kept"}
