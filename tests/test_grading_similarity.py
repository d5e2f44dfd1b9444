"""Similarity: disguises do not hide a copy, and people who solved the same task by themselves are left alone."""

from __future__ import annotations

import ast
import csv
import io
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npresnet.grading import similarity_report
from npresnet.grading.assignment import Assignment
from npresnet.grading.fingerprints import WINDOW, K, all_hashes, fingerprint
from npresnet.grading.similarity import FEW, NOTE, THRESHOLD, compare_sources, print_pairs, write_pairs

RIGHT = sorted((Path(__file__).parent / "coursework" / "right").glob("*.py"))
SOURCES = {path.stem: path.read_text(encoding="utf-8") for path in RIGHT}
LONG = [name for name, source in SOURCES.items() if len(fingerprint(source).values) >= 100]


class Disguise(ast.NodeTransformer):
    """Other names, constants, docstrings and annotations, and functions in another order."""

    def __init__(self, tree: ast.Module) -> None:
        stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        self.names = {name: f"renamed_{number}" for number, name in enumerate(sorted(stored | arguments | functions))}

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self.names.get(node.id, node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg = self.names[node.arg]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.name = self.names[node.name]
        for argument in node.args.args:
            argument.annotation = ast.Name("object", ast.Load())
        node.body.insert(0, ast.Expr(ast.Constant("Words of somebody else.")))
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return ast.Pass() if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant(node.value + 1) if type(node.value) is int else node


def disguised(source: str) -> str:
    """The same program, as somebody would hand it in who did not write it."""
    tree = ast.parse(source)
    tree = Disguise(tree).visit(tree)
    random.Random(1).shuffle(tree.body)
    lines = ast.unparse(ast.fix_missing_locations(tree)).splitlines()
    return "\n".join(f"{line}  # a comment" for line in lines)


@pytest.mark.parametrize("name", LONG)
def test_a_disguised_copy_is_noticed(name: str) -> None:
    others = {other: SOURCES[other] for other in LONG[:4]}
    sources = {**others, name: SOURCES[name], "copy": disguised(SOURCES[name])}
    (pair,) = compare_sources(sources).pairs
    assert {pair.first, pair.second} == {name, "copy"}
    assert pair.containment > 0.95
    assert pair.jaccard > 0.9


def test_people_who_worked_alone_are_left_alone() -> None:
    assert len(SOURCES) > 20
    assert compare_sources(SOURCES).pairs == ()
    everything = compare_sources(SOURCES, threshold=0.0, common=1.0).pairs
    assert max((pair.containment for pair in everything), default=0.0) < THRESHOLD / 2  # and by a wide margin


def test_a_part_that_was_taken_over_is_found_with_its_lines() -> None:
    first, second = SOURCES["direct_shifts"], SOURCES["seven_loops"]
    tree = ast.parse(first)
    taken = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    stolen = max(taken, key=lambda node: (node.end_lineno or 0) - node.lineno)
    text = ast.get_source_segment(first, stolen) or ""
    mixed = f"{second}\n\n{text}\n"
    (pair,) = compare_sources({"first": first, "mixed": mixed}, threshold=0.05).pairs
    match = pair.matches[0]
    start = len(f"{second}\n\n".splitlines())
    assert stolen.lineno <= match.first.first <= match.first.last <= (stolen.end_lineno or 0)
    assert match.second.first > start
    assert match.second.first - match.first.first == start + 1 - stolen.lineno
    assert pair.jaccard < pair.containment < 1


def test_what_was_handed_out_counts_for_nobody() -> None:
    stub = SOURCES["direct_shifts"]
    sources = {"a": stub, "b": f"{stub}\nx = 1\n"}
    assert compare_sources(sources).pairs
    assert compare_sources(sources, stub=stub).pairs == ()
    with pytest.raises(ValueError, match="the stub is no Python"):
        compare_sources(sources, stub="def f(:")


def test_what_a_class_shares_is_set_aside_but_not_in_a_small_one() -> None:
    shared = SOURCES["direct_shifts"]
    few = {f"s{n}": shared for n in range(FEW)}
    assert len(compare_sources(few).pairs) == FEW * (FEW - 1) // 2
    everybody = {f"s{n}": shared for n in range(10)}
    assert compare_sources(everybody).pairs == ()
    assert len(compare_sources(everybody, common=1.0).pairs) == 45
    ring = {**SOURCES, **{f"s{n}": shared for n in range(3)}}  # four in a large class are no common property
    assert len(compare_sources(ring).pairs) == 6


def test_known_texts_are_compared_with_submissions_alone() -> None:
    known = {"last year": SOURCES["direct_shifts"], "web": SOURCES["direct_shifts"]}
    found = compare_sources({"ann": disguised(SOURCES["direct_shifts"]), "bob": SOURCES["seven_loops"]}, known=known)
    assert [{pair.first, pair.second} for pair in found.pairs] == [{"ann", "last year"}, {"ann", "web"}]
    assert found.compared == 2
    with pytest.raises(ValueError, match="'ann' is both a submission and a known text"):
        compare_sources({"ann": ""}, known={"ann": ""})


def test_short_functions_are_not_evidence() -> None:
    source = (
        "def relu(x):\n    return np.maximum(x, 0), x > 0\n\ndef linear(x, w, b):\n    return x @ w.T + b, (x, w)\n"
    )
    assert fingerprint(source).values == frozenset()
    assert compare_sources({"a": source, "b": source}, threshold=0.0).pairs == ()


def test_what_is_no_python_is_said() -> None:
    deep = "x = " + "(" * 5000 + ")" * 5000
    found = compare_sources({"a": "def f(:", "b": deep, "c": "x\0y", "d": "-" * 100_000 + "1", "e": "x = 1", "f": ""})
    assert set(found.unread) == {"a", "b", "c", "d"}
    assert found.compared == 2
    assert found.unread["a"].startswith("no Python: ")
    assert found.unread["a"].endswith("(line 1)")


def test_shares_outside_of_0_to_1_are_refused() -> None:
    for name in ("threshold", "common"):
        with pytest.raises(ValueError, match=f"{name} is a share from 0 to 1, found 30"):
            compare_sources({}, **{name: 30})  # type: ignore[arg-type]
    assert compare_sources({}).pairs == ()


words = st.sampled_from([f"y = np.{name}(x)" for name in ("exp", "log", "sqrt", "sin", "cos", "abs", "tanh", "sign")])


@given(st.lists(words, min_size=12, max_size=12), st.lists(words, max_size=9), st.lists(words, max_size=9))
@settings(max_examples=60, deadline=None)
def test_winnowing_keeps_its_promise(shared: list[str], before: list[str], after: list[str]) -> None:
    """A common run of K + WINDOW - 1 words is noticed wherever it stands: here twelve lines of at least three words."""

    def body(lines: list[str]) -> str:
        return "def f(x):\n" + "\n".join(f"    {line}" for line in lines)

    first, second = body(before + shared), body(shared + after)
    assert len(shared) * 3 >= K + WINDOW - 1
    common = fingerprint(first).values & fingerprint(second).values
    assert common
    assert common <= all_hashes(first) & all_hashes(second)
    assert fingerprint(first).values <= all_hashes(first)


def test_the_table_and_the_file_say_what_they_mean(tmp_path: Path) -> None:
    from rich.console import Console

    source = SOURCES["direct_shifts"]
    found = compare_sources({"=ann\x1b[31m": source, "bob": source, "broken": "def f(:"})
    text = io.StringIO()
    print_pairs(found, Console(file=text, width=80))
    assert NOTE in " ".join(text.getvalue().split())
    assert "1 pair suspiciously alike among 2 submissions." in " ".join(text.getvalue().split())
    assert "not compared: broken: no Python" in text.getvalue()
    assert "\x1b" not in text.getvalue()
    assert max(map(len, text.getvalue().splitlines())) <= 80
    write_pairs(tmp_path / "pairs.csv", found)
    with open(tmp_path / "pairs.csv", newline="", encoding="utf-8-sig") as file:
        (row,) = csv.DictReader(file)
    assert row["first"] == r"'=ann\x1b[31m"
    assert (row["containment"], row["jaccard"]) == ("1.0", "1.0")
    assert row["lines of first"].startswith("lines ")


def test_a_class_is_compared_with_itself_and_the_solution(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from npresnet.grading import solution

    root = tmp_path / "class"
    root.mkdir()
    (root / "ann.py").write_text(SOURCES["direct_shifts"])
    (root / "bob.py").write_text(disguised(SOURCES["direct_shifts"]))
    (root / "cy.py").write_text(disguised(Path(str(solution.__file__)).read_text()))
    (root / "dan.py").write_text(SOURCES["seven_loops"])
    (root / "notes.txt").touch()
    assert similarity_report.run(root, Assignment(), csv=tmp_path / "pairs.csv") == 0
    out, err = capsys.readouterr()
    assert "2 pairs suspiciously alike among 4 submissions" in " ".join(out.split())
    assert "notes.txt" in err
    with open(tmp_path / "pairs.csv", newline="", encoding="utf-8-sig") as file:
        pairs = {(row["first"], row["second"]) for row in csv.DictReader(file)}
    assert pairs == {("ann", "bob"), ("cy", "(the published solution)")}
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "ann.py").write_text("x = 1")
    with pytest.raises(ValueError, match="a comparison needs two"):
        similarity_report.run(alone, Assignment())
