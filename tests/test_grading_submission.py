"""Reading what was handed in: files, folders, notebooks, and things that are neither."""

from __future__ import annotations

import ast
import json

import pytest

from npresnet.grading.notebook import NotebookError, definitions
from npresnet.grading.submission import LARGEST, SubmissionError, read_submission


def notebook(*cells):
    """The text of a notebook with these code cells."""
    return json.dumps({"cells": [{"cell_type": "code", "metadata": {}, "source": cell} for cell in cells]})


def names_of(text):
    """What executing the definitions of a notebook defines."""
    namespace = {}
    exec(compile(definitions(text), "notebook", "exec"), namespace)
    return {name for name in namespace if not name.startswith("__")}


def test_definitions_of_all_cells_are_kept():
    text = notebook(
        "import math\nfrom itertools import product as pairs\nK: int = 3",
        "def f(x):\n    return g(x) * K\n",
        "class G:\n    pass\n\nh = lambda x: math.pi * x\nsquares = [i * i for i in range(K)]",
    )
    assert names_of(text) == {"math", "pairs", "K", "f", "G", "h", "squares"}


def test_cells_that_try_things_out_are_not_run():
    text = notebook(
        "%matplotlib inline\n!touch never\nimport matplotlib.pyplot as plt",
        "def f(x):\n    return 1 / x",
        "f(0)",
        "y = f(0)\nz = y + 1\nfigure = plt.figure()\nfor _ in range(3):\n    f(0)\nassert False",
        "this cell is a note",
        "f?",
        "%%bash\nexit 1",
    )
    assert names_of(text) == {"f"}


def test_lines_keep_their_places():
    cells = ["%time x = 1\nimport math\n", "f(0)\n\n\ndef f(x):\n    return (x\n  % 2)"]
    tree = ast.parse(definitions(notebook(*cells)))
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    assert function.lineno == 7  # two lines, an empty one that a cell ends with, and a blank between cells
    assert function.end_lineno == 9


def test_a_magic_alone_in_a_block_and_a_modulo_at_the_start_of_a_line():
    text = notebook("def f(x):\n    %timeit x\n\ndef g(x):\n    return (x\n  % 2)")
    namespace = {}
    exec(definitions(text), namespace)
    assert namespace["f"](1) is None
    assert namespace["g"](3) == 1


def test_a_function_with_a_syntax_error_is_left_to_be_explained():
    with pytest.raises(SyntaxError):
        compile(definitions(notebook("def f(x)\n    return x")), "notebook", "exec")


def test_cells_as_lists_of_lines_and_cells_of_text():
    cells = [
        {"cell_type": "markdown", "source": ["# title"]},
        {"cell_type": "code", "source": ["def f():\n", "    return 1"]},
    ]
    assert names_of(json.dumps({"cells": cells})) == {"f"}


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"cells": 3}', '{"cells": [{}]}', "[" * 100_000, '{"cells": [[1]]}'])
def test_text_that_is_no_notebook(text):
    with pytest.raises(NotebookError, match="not a Jupyter notebook"):
        definitions(text)


def test_a_file_a_notebook_and_a_folder(tmp_path):
    (tmp_path / "ann.py").write_text("x = 1\n")
    (tmp_path / "bob.ipynb").write_text(notebook("x = 2"))
    (tmp_path / "eve").mkdir()
    (tmp_path / "eve" / "resnet_layers.py").write_text("x = 3\n")
    (tmp_path / "eve" / "notes.py").write_text("x = 4\n")
    ann, bob, eve = (read_submission(tmp_path / name) for name in ("ann.py", "bob.ipynb", "eve"))
    assert (ann.name, ann.source, ann.filename) == ("ann", "x = 1\n", "ann.py")
    assert (bob.name, bob.source.strip()) == ("bob", "x = 2")
    assert (eve.name, eve.source, eve.filename) == ("eve", "x = 3\n", "resnet_layers.py")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "a.py").write_bytes(b"\xef\xbb\xbfx = 1\n")
    assert read_submission(tmp_path / "a.py").source == "x = 1\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.py", None, "no such file"),
        ("a.txt", b"x = 1", r"not \.txt"),
        ("a.py", b"\xff\xfe", "not UTF-8"),
        ("a.py", b"x = 1\0", "null"),
        ("a.py", b"#" * (LARGEST + 1), "submissions may have"),
        ("a.ipynb", b"x = 1", r"a\.ipynb: not a Jupyter notebook"),
    ],
)
def test_what_cannot_be_read_is_explained(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SubmissionError, match=message):
        read_submission(tmp_path / name)


def test_a_folder_with_several_files_names_them(tmp_path):
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("")
    with pytest.raises(SubmissionError, match=r"expected resnet_layers\.py .* found a\.py, b\.py"):
        read_submission(tmp_path)
