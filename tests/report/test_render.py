import base64
import hashlib
import io
import json
import re
import struct
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval_suite.core.cards import LoadReport
from eval_suite.core.errors import InputError
from eval_suite.core.records import Curve, Example, Metric
from eval_suite.report import pictures
from eval_suite.report.collate import collate
from eval_suite.report.render import ReportPaths, write_report
from tests.report.fake_suite import TOP1, FakeSuite, errors

_VOID = {"meta", "img", "input", "br", "link", "wbr"}


class Page(HTMLParser):
    """Elements with their attributes, and the text; fails on tags that do not close in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(path.read_text("utf-8"))
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in ("td", "th"):
            self.text += " "

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def words(page: Page) -> str:
    return " ".join(page.text.split())


def test_the_page_answers_and_names_what_lacks(written: ReportPaths) -> None:
    assert written.headline.startswith("Top-1 error: mixup 29.00 %")
    text = words(Page(written.index))
    for part in (
        "Four ways to train",
        "3 incomplete cells: 1 failed, 1 missing and 1 partial",
        "ValueError: the loss ran away",
        "seed 1: missing",
        "partial: 100 of 400 items",
        "31.00 ± 1.41",
        "not comparable: different items",
        "✗ worse",
        "↓ lower is better",
        "0123456789",
        "2026-03-01 10:00 UTC to 2026-03-02 10:00 UTC",
        "eval-suite classify --suite demo --backbone cutmix --seed 0",
        "122 keys matched, none missing, none unexpected",
        "cutmix (alpha 1, p 0.5)",
        "25.00 % (epoch 10)",
    ):
        assert part in text


def test_nothing_is_loaded_from_elsewhere(written: ReportPaths) -> None:
    page = Page(written.index)
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "data", "action", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:")
        if tag != "a":
            assert (attributes.get("href") or "#").startswith("#")
    assert not page.all("link")
    source = written.index.read_text("utf-8")
    assert "@import" not in source
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]+)\)", source))


def test_the_policy_names_the_only_script(written: ReportPaths) -> None:
    source = written.index.read_text("utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", source, flags=re.S)
    assert len(scripts) == 1
    digest = re.search(r"script-src 'sha256-([^']+)'", source)
    assert digest is not None
    assert base64.b64decode(digest[1]) == hashlib.sha256(scripts[0].encode()).digest()


def test_ids_are_unique_and_links_lead_somewhere(written: ReportPaths) -> None:
    page = Page(written.index)
    ids = [identity for _, attributes in page.elements if (identity := attributes.get("id"))]
    assert len(ids) == len(set(ids))
    targets = {target for _, attributes in page.elements if (target := attributes.get("href"))}
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)
    for target in targets:
        if target.startswith("tables/"):
            assert (written.index.parent / target).is_file()


def test_tables_are_headed_and_pictures_described(written: ReportPaths) -> None:
    page = Page(written.index)
    assert all(head.get("scope") for head in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert page.all("img")
    assert all(image.get("alt") for image in page.all("img"))


def test_all_text_is_escaped(suite: FakeSuite) -> None:
    evil = "<script>alert(1)<!--\"'&$x^2$_%"
    suite.describe(
        title=evil, description=evil, backbones=["baseline", evil], seeds=[0], tasks=["classify", evil]
    )
    suite.add("baseline", wrong=errors(0.3))
    example = suite.picture(evil, "a.png", alt=evil)
    path = suite.add(evil, wrong=errors(0.2), examples=[Example(image=example.image, alt=evil, caption=evil)])
    content = json.loads(path.read_text())
    content["backbone"].update(source=evil, arch=evil, recipe={evil: [evil]})
    content["run"].update(command=evil, device=evil, versions={evil: evil}, started=evil)
    content["data"]["name"] = evil
    content["metrics"].append({**content["metrics"][-1], "subset": evil})
    content["metrics"].append({**content["metrics"][0], "name": evil, "unit": evil})
    content["curves"][0].update(x_label=evil, y_label=evil)
    path.write_text(json.dumps(content))
    suite.add(evil, task=evil, curves=[Curve(name=evil, x=[0, 1], y=[0, None], x_label=evil, y_label=evil)])
    failed = suite.add("baseline", task=evil, status="failed")
    content = json.loads(failed.read_text())
    content["error"]["message"] = evil
    content["task"]["paper"]["url"] = "javascript:alert(1)"
    failed.write_text(json.dumps(content))
    page = Page(write_report(suite.folder).index)
    assert len(page.all("script")) == 1
    assert evil in page.text
    assert not [link for link in page.all("a") if (link["href"] or "").startswith("javascript")]
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)


def test_a_paper_link_leads_to_the_web_only(suite: FakeSuite) -> None:
    path = suite.add("baseline", task="novel")
    content = json.loads(path.read_text())
    content["task"]["paper"]["url"] = "javascript:alert(1)"
    path.write_text(json.dumps(content))
    assert "javascript:" not in write_report(suite.folder).index.read_text("utf-8")


def test_the_same_records_give_the_same_bytes(four: FakeSuite, written: ReportPaths) -> None:
    def contents(written: ReportPaths) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (written.index, *written.tables)}

    assert contents(write_report(four.folder)) == contents(written)


def test_a_broken_record_stands_in_the_banner(four: FakeSuite) -> None:
    (four.folder / "results" / "cutmix-s0" / "classify.json").write_text('{"schema": 1')
    text = words(Page(write_report(four.folder).index))
    assert "1 broken" in text
    assert "seed 0: broken" in text
    assert "expected a record of schema 2" in text


def test_a_suite_of_failures_still_has_a_page(suite: FakeSuite) -> None:
    suite.add("baseline", status="failed")
    suite.add("cutmix").write_text("no record")
    written = write_report(suite.folder)
    assert written.headline == "no record holds a number yet"
    assert "No record holds a number yet." in words(Page(written.index))


def test_a_backbone_that_never_loaded_says_so(suite: FakeSuite) -> None:
    suite.add("baseline")
    path = suite.add("bad", status="failed")
    content = json.loads(path.read_text())
    content["backbone"].update(parameters=0, weights_sha256=None, training=None, recipe=None)
    path.write_text(json.dumps(content))
    text = words(Page(write_report(suite.folder).index))
    assert "Never loaded" in text
    assert "Not trained here" not in text


def test_an_unknown_task_is_shown_whole(suite: FakeSuite) -> None:
    curve = Curve(name="Novel curve", x=[0, 1, 2], y=[0.1, None, 0.3], x_label="steps", y_label="share")
    metric = Metric(key="novelty", name="Novelty_score", value=12.5, unit="nats", higher_is_better=True, n=3)
    for name in ("baseline", "cutmix"):
        suite.add(name, task="novel", curves=[curve], metrics=[metric])
    written = write_report(suite.folder)
    page = Page(written.index)
    assert "Novelty_score, nats" in words(page).replace("\xa0", " ")
    labels = [attributes.get("aria-label") or "" for attributes in page.all("svg")]
    assert any(label.startswith("Novel curve") for label in labels)
    assert (suite.folder / "tables" / "task-novel.csv") in written.tables


def test_a_chart_that_cannot_be_drawn_is_a_warning(suite: FakeSuite, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr("eval_suite.report.views.draw", fail)
    suite.add("baseline")
    assert "the charts cannot be drawn: no ink" in words(Page(write_report(suite.folder).index))


def test_published_numbers_stand_beside_ours(suite: FakeSuite) -> None:
    suite.describe(published="table5")
    suite.add("baseline")
    suite.add("cutmix", wrong=errors(0.15))
    text = words(Page(write_report(suite.folder).index))
    assert "paper 14.47" in text
    assert "CutMix paper, Table 5" in text
    suite.describe(name="demo")
    assert "paper 14.47" not in words(Page(write_report(suite.folder).index))


def test_options_that_differ_stand_in_a_table(suite: FakeSuite) -> None:
    suite.add("baseline")
    path = suite.add("cutmix")
    assert "Options in which the backbones differ" not in words(Page(write_report(suite.folder).index))
    content = json.loads(path.read_text())
    content["task"]["options"]["fit"] = {"regularizers": [{"cutmix": {"alpha": 0.5}}]}
    path.write_text(json.dumps(content))
    text = words(Page(write_report(suite.folder).index))
    assert "Options in which the backbones differ; all others are equal" in text
    assert "fit.regularizers — cutmix (alpha 0.5)" in text
    assert "Options as resolved, for baseline" in text


def test_pictures_stand_in_rows_and_outsiders_are_refused(suite: FakeSuite) -> None:
    (suite.folder / "secret.png").parent.mkdir(parents=True, exist_ok=True)
    (suite.folder / "secret.png").write_bytes(b"secret")
    outside = Example(image="../../secret.png", alt="secret", caption="")
    odd = Example(image="classify.json", alt="odd", caption="")
    suite.add(
        "baseline", examples=[suite.picture("baseline", "a.png"), suite.picture("baseline", "b.png"), outside]
    )
    suite.add("cutmix", examples=[suite.picture("cutmix", "b.png"), suite.picture("cutmix", "a.png"), odd])
    page = Page(write_report(suite.folder).index)
    assert [image["alt"] for image in page.all("img")] == ["a.png", "a.png", "b.png", "b.png"]
    assert "'../../secret.png' leaves the results folder" in words(page)
    assert "'classify.json' is no .png" in words(page)


@pytest.mark.parametrize(("size", "stretch"), [((30, 10), "1.732"), ((90, 10), "2.0"), ((10, 30), "1.0")])
def test_wide_pictures_are_shown_wider(suite: FakeSuite, size: tuple[int, int], stretch: str) -> None:
    example = suite.picture("baseline", "row.png")
    Image.new("RGB", size).save(suite.folder / "results/baseline-s0/classify/row.png")
    suite.add("baseline", examples=[example])
    assert f'<figure style="--stretch: {stretch}"><img' in write_report(suite.folder).index.read_text()


def test_a_picture_that_pillow_refuses_costs_nothing_else(suite: FakeSuite) -> None:
    example = suite.picture("baseline", "bomb.png")
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (suite.folder / "results/baseline-s0/classify/bomb.png").write_bytes(content)
    suite.add("baseline", examples=[example])
    page = Page(write_report(suite.folder).index)
    assert [image["alt"] for image in page.all("img")] == ["bomb.png"]


def test_pictures_beyond_the_budget_are_dropped_from_the_tail(
    suite: FakeSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.add("baseline", examples=[suite.picture("baseline", f"{index}.png") for index in range(5)])
    size = len((suite.folder / "results/baseline-s0/classify/0.png").read_bytes()) * 4 // 3 + 4
    monkeypatch.setattr("eval_suite.report.render.BUDGET_BYTES", 2 * size + 1)
    assert pictures.BUDGET_BYTES <= 4_000_000
    page = Page(write_report(suite.folder).index)
    assert len(page.all("img")) == 2
    assert "3 rows of example pictures left out" in words(page)


def test_subsets_are_listed_with_their_best(suite: FakeSuite) -> None:
    suite.add("baseline", wrong=errors(0.3))
    suite.add("cutmix", wrong=errors(0.2))
    page = Page(write_report(suite.folder).index)
    assert "Accuracy on each of 3 subsets" in words(page)
    assert "lynx 133 70.00 80.00" in words(page)


def test_wrong_baseline_is_an_input_error(four: FakeSuite) -> None:
    with pytest.raises(InputError, match="unknown baseline 'nobody'"):
        write_report(four.folder, baseline="nobody")
    assert not (four.folder / "index.html").exists()


def test_many_backbones_look_different(suite: FakeSuite) -> None:
    for index in range(17):
        suite.add(f"b{index:02d}")
    page = Page(write_report(suite.folder).index)
    shapes = [shape for shape in page.all("path") if shape.get("fill") == "currentColor"]
    looks = {
        symbol["id"]: (symbol["style"], shape["d"])
        for symbol, shape in zip(page.all("symbol"), shapes, strict=True)
    }
    assert len(looks) == len(set(looks.values())) == 17
    used = [element.get("href", "") for element in page.all("use")]
    assert {href.removeprefix("#") for href in used if href.startswith("#look-")} == set(looks)


def test_the_report_never_imports_torch() -> None:
    probe = (
        "import sys, eval_suite.report.render; "
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'timm', 'torchvision')]); "
        "print(sorted({m.split('.')[1] for m in sys.modules if m.startswith('eval_suite.')}))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "['core', 'report']"]


def test_top1_is_the_first_headline(suite: FakeSuite) -> None:
    suite.add("baseline")
    assert write_report(suite.folder).headline.startswith(TOP1)


def test_what_one_task_does_not_need_of_the_budget_goes_to_the_others(suite: FakeSuite) -> None:
    suite.add("baseline", examples=[suite.picture("baseline", "0.png")])
    many = [suite.picture("baseline", f"{index}.png", task="wsol") for index in range(3)]
    suite.add("baseline", task="wsol", examples=many)
    size = len((suite.folder / "results/baseline-s0/classify/0.png").read_bytes()) * 4 // 3 + 4
    found = collate(suite.folder)
    kept = pictures.pictures_by_task(found, ["wsol", "classify"], 4 * size)
    assert {task: len(rows) for task, rows in kept.items()} == {"classify": 1, "wsol": 3}
    kept = pictures.pictures_by_task(found, ["wsol", "classify"], 3 * size)
    assert {task: len(rows) for task, rows in kept.items()} == {"classify": 1, "wsol": 2}


def test_large_pictures_are_inlined_smaller_and_look_the_same(suite: FakeSuite) -> None:
    example = suite.picture("baseline", "large.png")
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize(
        (160, 120), Image.Resampling.BICUBIC
    )
    path = suite.folder / "results/baseline-s0/classify/large.png"
    coarse.save(path)
    suite.add("baseline", examples=[example])
    (image,) = Page(write_report(suite.folder).index).all("img")
    head, _, body = image["src"].partition(",")
    assert head == "data:image/webp;base64"
    content = base64.b64decode(body)
    assert len(content) < path.stat().st_size / 3
    with Image.open(io.BytesIO(content)) as shown:
        difference = np.abs(np.asarray(shown.convert("RGB"), float) - np.asarray(coarse, float))
    assert difference.mean() < 4


def test_what_is_odd_about_a_network_stands_with_its_weights(suite: FakeSuite) -> None:
    card = suite.card("odd", 0)
    odd = LoadReport(matched=1, warnings=["random: two passes differ"])
    suite.describe(backbones=["odd"], seeds=[0], tasks=["classify"])
    suite.add("odd", 0, card=card.model_copy(update={"load": odd}))
    assert "Warning, random: two passes differ" in words(Page(write_report(suite.folder).index))
