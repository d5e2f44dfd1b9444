"""The judge brings back what functions returned, exactly and in words, and says how a run ended."""

from __future__ import annotations

import inspect
import math
import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from npresnet.grading import judge, solution
from npresnet.grading.judge import (
    CaseResult,
    JudgeError,
    Limits,
    PartRun,
    isolation,
    landlock,
    run_part,
    seccomp,
    stand_in_source,
)
from npresnet.grading.judge.stand_ins import closed
from npresnet.grading.part import Case, Step

LIMITS = Limits(seconds=20, memory_mb=256)


def case(inputs: dict[str, Any], *script: Step, outputs: tuple[str, ...] = ("y",)) -> Case:
    return Case("any", "any", {}, 0, "float64", inputs, script, outputs)


def run(source: str, *cases: Case, stand_ins: tuple[str, ...] = (), **options: Any) -> PartRun:
    return run_part(textwrap.dedent(source), "mine.py", stand_ins, cases, options.pop("limits", LIMITS), **options)


def result(source: str, one: Case, **options: Any) -> CaseResult:
    part = run(source, one, **options)
    assert (part.ended, part.detail) == ("finished", "")
    return part.results[0]


def results(expressions: Sequence[str], one: Case) -> tuple[CaseResult, ...]:
    """What functions give that return these expressions of x, all in one process."""
    functions = [f"def f{n}(x):\n    f = f{n}\n    return {expression}\n" for n, expression in enumerate(expressions)]
    cases = [replace(one, script=(one.script[0]._replace(function=f"f{n}"),)) for n in range(len(functions))]
    part = run("import numpy as np\nfrom numpy import inf, nan\n\n" + "\n".join(functions), *cases)
    assert (part.ended, part.detail) == ("finished", "")
    return part.results


RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 3))
ONE = case({"x": X}, Step("f", ("x",), ("y",)))
THREE = case({"x": X}, Step("f", ("x",), ("y", "dw", "db")), outputs=("y", "dw", "db"))


def test_the_solution_is_the_same_in_the_judge() -> None:
    inputs = {"x": RNG.normal(size=(2, 3, 5, 4)), "w": RNG.normal(size=(4, 3, 3, 3)), "b": None}
    inputs |= {"dy": RNG.normal(size=(2, 4, 5, 4)), "padding": 1}
    script = (
        Step("conv2d_forward", ("x", "w", "b"), ("y", "cache"), (("padding", "padding"),)),
        Step("conv2d_backward", ("dy", "cache"), ("dx", "dweight", "dbias")),
    )
    with open(solution.__file__) as file:
        got = result(file.read(), case(inputs, *script, outputs=("y", "dx", "dweight", "dbias")))
    y, cache = solution.conv2d_forward(inputs["x"], inputs["w"], padding=1)
    dx, dweight, _ = solution.conv2d_backward(inputs["dy"], cache)
    for name, expected in {"y": y, "dx": dx, "dweight": dweight}.items():
        np.testing.assert_allclose(got.outputs[name], expected, rtol=1e-12, atol=1e-12)
    assert got.wrong_types == {"dbias": "None"}
    assert (got.raised, got.inputs_changed, got.repeated) == (None, (), True)
    assert 0 < got.seconds < 20


def test_arrays_come_back_as_they_are() -> None:
    values = [
        *(X, X.astype(np.float32), X > 0, (X * 9).astype(np.int64), X[:, :0], np.array(2.5), X.T, X[::-1, ::2]),
        *(X.astype(">f8"), X.astype(np.float16), X * 1j, np.array([np.nan, np.inf, -0.0])),
    ]
    texts = [f"np.array({value.tolist()!r}, {value.dtype.str!r}).reshape({value.shape})" for value in values]
    for value, got in zip(values, results(texts, ONE), strict=True):
        y = got.outputs["y"]
        assert (y.shape, y.dtype) == (value.shape, value.dtype.newbyteorder("="))
        np.testing.assert_array_equal(y, value)
        if value.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(y), np.signbit(value))
        assert got.wrong_types == {}
        assert y.flags.writeable


def test_numbers_become_arrays_without_axes() -> None:
    expected = {"1.5": 1.5, "7": 7, "np.float32(1.5)": 1.5, "np.int64(7)": 7, "x.sum()": X.sum(), "True": 1}
    for value, got in zip(expected.values(), results(list(expected), ONE), strict=True):
        assert got.outputs["y"].shape == ()
        assert got.outputs["y"] == pytest.approx(value)


def test_everything_else_is_put_in_words() -> None:
    words = {
        "None": "None",
        "[1.0, 2.0]": "a list",
        "(x, x)": "a tuple of 2",
        "'text'": "a str",
        "iter([])": "a list_iterator",
        "np.ma.array(x)": "an ndarray subclass MaskedArray",
        "np.matrix(x)": "an ndarray subclass matrix",
        "x.astype(object)": "an ndarray of dtype object",
        "x.astype(str)": "an ndarray of dtype <U32",
        "{}": "an empty dict",
        "{1: x}": "a dict with a key that is an int",
        "np.broadcast_to(x, (1 << 27, 2, 3))": "an ndarray of shape (134217728, 2, 3), which is too large",
        "10 ** 30": "an ndarray of dtype object",
        "f": "a function",
    }
    for text, got in zip(words.values(), results(list(words), ONE), strict=True):
        assert got.outputs == {}
        assert got.wrong_types == {"y": text}


def test_too_few_and_too_many_values() -> None:
    table: list[tuple[str, list[str], dict[str, str]]] = [
        ("x, x", ["dw", "y"], {"db": "nothing: f0 returned 2 values, not 3"}),
        ("[x, x, x]", ["db", "dw", "y"], {}),
        ("(x,)", ["y"], dict.fromkeys(["dw", "db"], "nothing: f2 returned 1 value, not 3")),
        ("x, x, x, x", [], dict.fromkeys(["y", "dw", "db"], "nothing: f3 returned 4 values, not 3")),
        ("x", [], dict.fromkeys(["y", "dw", "db"], "nothing: f4 returned an ndarray of dtype float64, not 3 values")),
        ("(v for v in 'abc')", [], dict.fromkeys(["y", "dw", "db"], "nothing: f5 returned a generator, not 3 values")),
        ("x, None, 'a'", ["y"], {"dw": "None", "db": "a str"}),
    ]
    for (_, outputs, wrong), got in zip(table, results([row[0] for row in table], THREE), strict=True):
        assert sorted(got.outputs) == outputs
        assert got.wrong_types == wrong


def test_named_tuples_are_tuples() -> None:
    source = """
        from typing import NamedTuple

        class Gradients(NamedTuple):
            y: object
            dw: object
            db: object

        def f(x):
            return Gradients(x, x, x)
    """
    assert sorted(result(source, THREE).outputs) == ["db", "dw", "y"]


def test_dicts_go_and_come_member_by_member() -> None:
    source = """
        from collections import defaultdict

        def f(params, stride=1):
            grads = defaultdict(float)
            for name, value in params.items():
                grads[name] = stride * value
            return grads
    """
    params = {"conv1.weight": X, "bn1.bias": X[0]}
    got = result(
        source,
        case({"params": params, "s": 3}, Step("f", ("params",), ("grads",), (("stride", "s"),)), outputs=("grads",)),
    )
    assert sorted(got.outputs) == ["grads/bn1.bias", "grads/conv1.weight"]
    np.testing.assert_array_equal(got.outputs["grads/conv1.weight"], 3 * X)
    assert got.inputs_changed == ()


def test_plain_values_are_what_they_were() -> None:
    source = """
        import numpy as np

        def f(size, flag, rate, nothing, name, count):
            right = type(size) is tuple and size == (3, 2) and flag is True and rate == 0.1 and nothing is None
            return float(right and name == "same" and type(count) is int)
    """
    inputs = {"size": (3, 2), "flag": True, "rate": 0.1, "nothing": None, "name": "same", "count": np.int64(3)}
    assert result(source, case(inputs, Step("f", tuple(inputs), ("y",)))).outputs["y"] == 1


def test_inputs_keep_the_order_of_their_axes_in_memory() -> None:
    source = """
        import numpy as np

        def f(x):
            return np.array([x.flags.c_contiguous, x.flags.f_contiguous, x.flags.writeable, *np.argsort(x.strides)]), x
    """
    arrays = {
        "transposed": RNG.normal(size=(3, 4)).T,
        "every second row": RNG.normal(size=(6, 4))[::2],
        "channels last, with gaps": RNG.normal(size=(2, 3, 4, 8))[..., ::2].transpose(0, 2, 3, 1),
        "Fortran": np.asfortranarray(RNG.normal(size=(3, 4))),
        "C": RNG.normal(size=(3, 4)),
    }
    step = Step("f", ("x",), ("flags", "y"))
    part = run(source, *(case({"x": array}, step, outputs=("flags", "y")) for array in arrays.values()))
    for (name, array), got in zip(arrays.items(), part.results, strict=True):
        flags = [array.flags.c_contiguous, array.flags.f_contiguous, True, *np.argsort(array.strides)]
        np.testing.assert_array_equal(got.outputs["flags"], flags, err_msg=name)
        np.testing.assert_array_equal(got.outputs["y"], array)
        assert got.inputs_changed == ()


def test_writing_to_arguments_is_seen() -> None:
    lines: dict[str, tuple[str, ...]] = {
        "x[0, 0] = 7": ("x",),
        "x -= 0": (),
        "params['w'] *= 2": ("params/w",),
        "params['w'] = params['w'] * 2": ("params/w",),
        "params['new'] = 1": ("params/new",),
        "del params['w']": ("params/w",),
        "params, x = {}, x + 1": (),
    }
    source = "\n".join(f"def f{n}(x, params):\n    {line}\n    return x\n" for n, line in enumerate(lines))
    steps = [Step(f"f{n}", ("x", "params"), ("y",)) for n in range(len(lines))]
    part = run(source, *(case({"x": X, "params": {"w": X}}, step) for step in steps))
    assert [got.inputs_changed for got in part.results] == list(lines.values())


def test_an_output_is_copied_before_the_next_call() -> None:
    source = """
        def f(x):
            y = x + 1
            return y, y

        def g(cache):
            cache *= 0
            return cache
    """
    script = Step("f", ("x",), ("y", "cache")), Step("g", ("cache",), ("dx",))
    got = result(source, case({"x": X}, *script, outputs=("y", "dx")))
    np.testing.assert_array_equal(got.outputs["y"], X + 1)
    np.testing.assert_array_equal(got.outputs["dx"], 0 * X)


@pytest.mark.parametrize("line", ["calls[0] * x", "x if calls[0] % 2 else None", "x if calls[0] % 2 else x[0]"])
def test_another_answer_the_second_time_is_seen(line: str) -> None:
    got = result(f"calls = [0]\n\ndef f(x):\n    calls[0] += 1\n    return {line}", ONE)
    assert not got.repeated


def test_the_second_time_may_be_the_one_that_raises() -> None:
    got = result("calls = [0]\n\ndef f(x):\n    calls[0] += 1\n    assert calls[0] == 1\n    return x", ONE)
    assert not got.repeated


def test_exceptions_have_the_line_of_the_submission() -> None:
    source = """
        import numpy as np

        def helper(x):
            return x @ x

        def f(x):
            return helper(x)
    """
    raised = result(source, ONE).raised
    assert raised is not None
    assert (raised.type, raised.line) == ("ValueError", 5)
    assert "matmul" in raised.message


def test_exceptions_are_cut_and_cleaned() -> None:
    raised = result("def f(x):\n    raise KeyError('\\x1b[2J' + 1000 * 'long ')", ONE).raised
    assert raised is not None
    assert raised.type == "KeyError"
    assert len(raised.message) == 300
    assert raised.message.isprintable()


def test_one_case_that_raises_leaves_the_others() -> None:
    one = case({"x": X[0]}, Step("f", ("x",), ("y",)))
    part = run("def f(x):\n    a, b, c = x\n    return a", ONE, one, ONE)
    assert [case.raised is None for case in part.results] == [False, True, False]


def test_a_function_that_is_not_there() -> None:
    raised = result("def g(x):\n    return x", ONE).raised
    assert raised is not None
    assert (raised.type, raised.message) == ("NameError", "there is no function f")


@pytest.mark.parametrize(("source", "type_", "line"), [
    ("def f(x):\n    return (x\n", "SyntaxError", 2),
    ("x = 1\nassert x == 2\n", "AssertionError", 2),
    ("import numpy as np\n\nnp.zeros(3) @ np.zeros(4)\n", "ValueError", 3),
    ("a = 1\nb = a.nothing\n", "AttributeError", 2),
    ("x = '\0'", "SyntaxError", None),
])  # fmt: skip
def test_a_module_that_cannot_be_run(source: str, type_: str, line: int | None) -> None:
    part = run(source, ONE, layers=("kernel",))
    assert (part.ended, part.results) == ("import", ())
    assert part.raised is not None
    assert part.raised.type in (type_, "ValueError" if "\0" in source else type_)
    assert part.raised.line in (line, 1 if line is None else line)


def test_what_is_printed_is_kept_without_control_characters() -> None:
    part = run("print('one\\ttwo')\n\ndef f(x):\n    print('\\x1b[31mred', 5000 * '.')\n    return x", ONE)
    assert part.stdout.startswith("one\ttwo\n [31mred ...")
    assert len(part.stdout) == 4096


def test_stand_ins_take_the_places_of_functions_but_not_of_helpers() -> None:
    source = """
        def relu_forward(x):
            raise RuntimeError("mine")

        def _normalized(x):
            return 2 * x

        def f(x):
            return _normalized(relu_forward(x)[0])
    """
    names = tuple(
        name for name in vars(solution) if name.endswith(("_forward", "_backward")) or name in ("im2col", "col2im")
    )
    got = result(source, ONE, stand_ins=names)
    np.testing.assert_array_equal(got.outputs["y"], 2 * np.maximum(X, 0))


def test_stand_ins_call_stand_ins() -> None:
    source = """
        def im2col(*args):
            raise RuntimeError("mine")

        def conv2d_forward(x, weight):
            raise RuntimeError("mine")
    """
    inputs = {"x": RNG.normal(size=(1, 1, 4, 4)), "w": RNG.normal(size=(1, 1, 3, 3))}
    one = case(inputs, Step("conv2d_forward", ("x", "w"), ("y", "cache")))
    got = result(source, one, stand_ins=("im2col", "conv2d_forward"))
    np.testing.assert_allclose(got.outputs["y"], solution.conv2d_forward(inputs["x"], inputs["w"])[0])


def test_what_a_part_is_about_never_comes_with_the_stand_ins() -> None:
    everything = [name for name, value in vars(solution).items() if inspect.isfunction(value) and name[0] != "_"]
    for missing in everything:
        others = [name for name in everything if name != missing]
        assert f"def {missing}(" not in stand_in_source(others)
        names: dict[str, Any] = {}
        exec(stand_in_source(others), names)
        assert set(closed(others)) <= set(names)
    assert closed(["max_pool2d_forward", "relu_forward"]) == ("relu_forward",)  # pooling needs im2col
    assert "def _normalized(" in stand_in_source(everything)
    with pytest.raises(ValueError, match="conv3d"):
        stand_in_source(["conv3d"])


def test_modules_must_be_allowed() -> None:
    source = "import threadpoolctl\n\ndef f(x):\n    return x + bool(threadpoolctl.__version__)"
    part = run(source, ONE)
    assert (part.ended, part.results) == ("refused", ())
    assert part.detail.startswith("line 1: import of threadpoolctl")
    got = result(source, ONE, allow=("threadpoolctl",))
    np.testing.assert_array_equal(got.outputs["y"], X + 1)


def test_the_harmless_part_of_the_library_is_there() -> None:
    modules = (
        "cmath collections contextlib copy dataclasses datetime decimal enum fractions functools heapq itertools json"
        " logging math numbers operator pprint random re statistics string textwrap threading time timeit traceback"
    )
    source = f"import {modules.replace(' ', ', ')}\n" + textwrap.dedent("""
        import matplotlib.pyplot as plt
        import numpy as np
        from numpy.lib.stride_tricks import as_strided, sliding_window_view
        from tqdm import tqdm

        fig, axes = plt.subplots(2)
        axes[0].plot([1, 2])
        np.testing.assert_allclose(1.0, 1.0)

        @dataclasses.dataclass
        class Cache:
            x: object

        def f(x):
            with contextlib.nullcontext():
                total = sum(tqdm(range(4)))
            thread = threading.Thread(target=print)
            thread.start()
            thread.join()
            windows = sliding_window_view(x, (1, 2))
            np.linalg.svd(x)
            np.random.default_rng(0).permutation(4)
            np.fft.rfft(x)
            return Cache(x + total).x
    """)
    got = result(source, ONE)
    assert got.raised is None
    np.testing.assert_array_equal(got.outputs["y"], X + 6)


def test_memory_is_limited_and_enough_is_there() -> None:
    source = "import numpy as np\n\ndef f(x):\n    return np.ones({} << 17).sum()"  # so many MB
    assert result(source.format(200), ONE, limits=Limits(memory_mb=256)).outputs["y"] == 200 << 17
    raised = result(source.format(300), ONE, limits=Limits(memory_mb=256)).raised
    assert raised is not None
    assert "MemoryError" in raised.type


def test_the_time_of_a_call_is_measured_outside() -> None:
    source = "import time\n\ndef f(x):\n    time.sleep(0.05)\n    time.perf_counter = lambda: 0.0\n    return x"
    assert result(source, ONE).seconds >= 0.05


def test_nothing_of_the_judge_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "expected")
    source = """
        import os

        def f(x):
            return float(sum("TOKEN" in name or "PYTHON" in name for name in os.environ))

        def g(x):
            n = 0
            for descriptor in range(64):
                try:
                    os.fstat(descriptor)
                    n += 1
                except OSError:
                    pass
            return n

        def h(x):
            return float(os.environ["OPENBLAS_NUM_THREADS"] == os.environ["OMP_NUM_THREADS"] == "1")
    """
    part = run(source, *(case({"x": X}, Step(name, ("x",), ("y",))) for name in "fgh"), layers=("kernel",))
    assert [int(got.outputs["y"]) for got in part.results] == [0, 5, 1]  # three usual descriptors and two pipes


def test_no_descriptor_is_lost() -> None:
    def count() -> int:
        return len(os.listdir("/dev/fd"))

    run("def f(x):\n    return x", ONE)
    before = count()
    for source in ("def f(x):\n    return x", "import os\nos._exit(1)", "raise SystemExit", "1 / 0"):
        run(source, ONE, layers=("kernel",))
    assert count() == before


def test_isolation_tells_the_truth() -> None:
    assert "audit hook" in isolation(("policy", "audit hook"))
    assert "determined student" in isolation(("policy", "audit hook"))
    sentence = isolation()
    assert sentence.startswith("Landlock and seccomp") or "determined student" in sentence


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are of Linux")
def test_all_locks_are_on_where_the_system_has_them() -> None:
    if landlock.abi() >= 1 and seccomp.available():
        assert isolation().startswith("Landlock and seccomp: ")


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="for the superuser only")
def test_the_superuser_is_none_inside() -> None:
    source = "import os\n\ntry:\n    os.chroot('/')\nexcept PermissionError:\n    print('not allowed')"
    assert run(source, layers=()).stdout == "not allowed\n"


def test_a_python_that_does_not_start_is_no_fault_of_the_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npresnet.grading.judge.process.BOOTSTRAP", "raise SystemExit('no NumPy here')")
    with pytest.raises(JudgeError, match="no NumPy here"):
        run("def f(x):\n    return x", ONE)


def test_no_cases_at_all() -> None:
    assert run("x = 1").ended == "finished"


def test_a_long_part() -> None:
    part = run("def f(x):\n    return x + 1", *[ONE] * 50)
    assert len(part.results) == 50
    assert all(math.isfinite(one.seconds) for one in part.results)
    assert judge.run_part is run_part


def test_long_files_with_foreign_comments() -> None:
    comment = "# \u5377\u79ef\u5c42\u7684\u53cd\u5411\u4f20\u64ad\n" * 20_000
    part = run(f'"""A formula: $\\sum$ \\d."""\n{comment}\n\ndef f(x):\n    return x + 1', ONE)
    np.testing.assert_array_equal(part.results[0].outputs["y"], X + 1)
    assert part.stdout == ""  # no warning either
