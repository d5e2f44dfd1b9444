"""Threads: every task once, errors out, and results that do not depend on how many there are."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npresnet import ops
from npresnet.kernels import parallel
from npresnet.kernels.parallel import for_each, num_threads


@pytest.fixture(autouse=True)
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever the machine has."""
    with parallel._Pool(3) as pool:
        monkeypatch.setattr(parallel, "num_threads", lambda: 4)
        monkeypatch.setattr(parallel, "_pool", lambda workers: pool)
        yield


# -------------------------------------------------------------------------------------------------------- for_each


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 1000])
def test_every_task_once(count: int) -> None:
    calls = np.zeros(count, int)

    def task(index: int) -> None:
        calls[index] += 1

    for_each(task, count)
    np.testing.assert_array_equal(calls, 1)


def test_several_threads_take_part() -> None:
    """Four tasks that wait for each other can only end side by side."""
    barrier = threading.Barrier(4, timeout=60)
    for_each(lambda index: barrier.wait(), 4)


@pytest.mark.parametrize("culprit", [0, 1, 7, 99])
@pytest.mark.parametrize("error", [ValueError("task failed"), KeyboardInterrupt("task failed")])
def test_an_error_reaches_the_caller(culprit: int, error: BaseException) -> None:
    running, started = set(), []

    def task(index: int) -> None:
        started.append(index)
        running.add(index)
        try:
            time.sleep(0.001)
            if index == culprit:
                raise error
        finally:
            running.discard(index)

    with pytest.raises(type(error), match="task failed"):
        for_each(task, 100)
    assert not running  # those that ran have ended
    assert len(started) <= culprit + 8  # and hardly any were started afterwards
    calls = []
    for_each(calls.append, 50)  # the threads are as good as before
    assert sorted(calls) == list(range(50))


def test_every_task_fails() -> None:
    def task(index: int) -> None:
        raise LookupError(f"task {index}")

    with pytest.raises(LookupError, match="task"):
        for_each(task, 20)


def test_calls_within_a_task_stay_in_its_thread() -> None:
    homes: list[set[int]] = [set() for _ in range(6)]
    calls = np.zeros((6, 5), int)

    def outer(index: int) -> None:
        homes[index].add(threading.get_ident())

        def inner(number: int) -> None:
            homes[index].add(threading.get_ident())
            calls[index, number] += 1

        for_each(inner, 5)

    for_each(outer, 6)
    np.testing.assert_array_equal(calls, 1)
    assert all(len(threads) == 1 for threads in homes)


def test_an_error_of_a_call_within_a_task() -> None:
    def outer(index: int) -> None:
        for_each(lambda number: 1 // (number - 2), 5)

    with pytest.raises(ZeroDivisionError):
        for_each(outer, 6)
    test_several_threads_take_part()  # the caller's thread does not think that it is still inside


def test_calls_from_several_threads() -> None:
    """More callers than workers: nobody waits for ever, nobody gets another one's tasks."""

    def caller(seed: int) -> list[int]:
        found: list[int] = []
        for_each(lambda index: found.append(seed * 1000 + index), 50)
        return sorted(found)

    with ThreadPoolExecutor(8) as callers:
        for seed, found in enumerate(callers.map(caller, range(40))):
            assert found == [seed * 1000 + index for index in range(50)]


def test_operations_from_several_threads() -> None:
    def work(seed: int) -> list[bytes]:
        rng = np.random.default_rng(seed)
        x, weight = rng.standard_normal((2, 8, 40, 40)), rng.standard_normal((16, 8, 3, 3))
        y, cache = ops.conv2d(x, weight, None, 1, 1)
        z, bn_cache = ops.batchnorm2d_train(y, weight[:, 0, 0, 0], weight[:, 0, 0, 1])
        a, relu_cache = ops.activation(z, "relu")
        dz = ops.activation_backward(rng.standard_normal(a.shape), relu_cache)
        dy, *_ = ops.batchnorm2d_train_backward(dz, bn_cache)
        dx, dw, _ = ops.conv2d_backward(dy, cache)
        return [array.tobytes() for array in (a, dx, dw)]

    alone = [work(seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as callers:
        assert list(callers.map(work, range(6))) == alone


# -------------------------------------------------------------------------------------------------- BLAS's threads


def blas_threads() -> list[int]:
    """Of NumPy's BLAS, and of others that were loaded before the first product, but not of SciPy's own."""
    return [library["num_threads"] for library in parallel._blas().info()]


@pytest.fixture
def two_blas_threads() -> Iterator[None]:
    """A number of their own, to be found again afterwards."""
    with parallel._blas().limit(limits=2):
        yield


@pytest.mark.usefixtures("two_blas_threads")
def test_one_blas_thread_within() -> None:
    before = blas_threads()
    assert set(before) <= {2}  # none at all where NumPy has a BLAS that cannot be told
    seen: list[list[int]] = []
    with parallel.single_threaded_blas():
        seen.append(blas_threads())
        with parallel.single_threaded_blas():
            pass
        seen.append(blas_threads())  # still inside the outer one
    for_each(lambda index: seen.append(blas_threads()), 3)
    assert seen == [[1] * len(before)] * 5
    assert blas_threads() == before


@pytest.mark.usefixtures("two_blas_threads")
def test_blas_threads_come_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        for_each(lambda index: 1 // 0, 3)
    assert set(blas_threads()) <= {2}


# ------------------------------------------------------------------------------------------------ number of threads


@pytest.mark.parametrize(("value", "expected"), [("1", 1), ("3", 3), ("17", 17)])
def test_number_of_threads(value: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPRESNET_NUM_THREADS", value)
    assert num_threads.__wrapped__() == expected


def test_number_of_threads_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NPRESNET_NUM_THREADS", raising=False)
    assert 1 <= num_threads.__wrapped__() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", ""])
def test_wrong_number_of_threads(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPRESNET_NUM_THREADS", value)
    with pytest.raises(ValueError, match=f"NPRESNET_NUM_THREADS must be a positive integer, found '{value}'"):
        num_threads.__wrapped__()


@given(st.integers(1, 200), st.integers(-1, 40))
def test_blocks(size: int, count: int) -> None:
    blocks = parallel.blocks(size, count)
    assert [i for block in blocks for i in range(size)[block]] == list(range(size))
    assert 1 <= len(blocks) <= max(1, count)
    assert all(block.stop > block.start for block in blocks)


@given(st.integers(0, 10**10))
def test_pieces(elements: int) -> None:
    assert 1 <= parallel.pieces(elements) <= 16
    assert parallel.pieces(elements) <= parallel.pieces(elements + 10**6)


STEP = """
import hashlib
import numpy as np
from npresnet import ResNetConfig, ResNetForImageClassification, ops
from npresnet.kernels import parallel

rng = np.random.default_rng(0)
def draw(*shape):
    return rng.standard_normal(shape, np.float32)
def show(name, *arrays):
    print(name, hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest())

for n, c, o, size, kernel, stride, groups in [
    (1, 16, 72, 40, 3, 1, 1), (5, 8, 16, 33, 3, 2, 2), (2, 3, 64, 65, 7, 2, 1), (9, 64, 130, 14, 1, 1, 1)
]:
    y, cache = ops.conv2d(draw(n, c, size, size), draw(o, c // groups, kernel, kernel), draw(o), stride, 1, 1, groups)
    show("conv", y, *ops.conv2d_backward(draw(*y.shape), cache))
y, cache = ops.linear(draw(64, 512), draw(300, 512), draw(300))
show("linear", y, *ops.linear_backward(draw(*y.shape), cache))

config = ResNetConfig(layer_type="bottleneck", embedding_size=16, hidden_sizes=(32, 64), depths=(1, 1), num_labels=10)
model = ResNetForImageClassification(config, seed=0).train()
out = model(draw(3, 3, 128, 128), labels=np.array([1, 2, 3]))
dx = model.backward(input_gradient=True)
show("outputs", out.logits, np.float64(out.loss))
show("gradients", dx, *(p.grad for p in model.parameters()))
show("statistics", *(b for _, b in model.named_buffers()))
print("threads", parallel.num_threads())
"""


def run(code: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    """Neither on ours nor on BLAS's, to the last bit."""
    expected = run(STEP, NPRESNET_NUM_THREADS="1")
    assert len(expected) == 9
    for threads, blas in (("2", "1"), ("4", "2")):
        found = run(STEP, NPRESNET_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=blas)
        assert found[-1] == f"threads {threads}"
        assert found[:-1] == expected[:-1]


FORK = """
import os, signal, threading
from npresnet.kernels.parallel import for_each

barrier = threading.Barrier(3, timeout=60)
for_each(lambda index: barrier.wait(), 3)  # now there is a pool of two threads, which a child will not have
child = os.fork()
if child == 0:
    signal.alarm(30)  # waiting for them would be for ever
    done = []
    for_each(done.append, 8)
    os._exit(len(done))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_after_a_fork() -> None:
    if hasattr(os, "fork"):
        assert run(FORK, NPRESNET_NUM_THREADS="3") == ["8"]


def same_bits(make: Callable[[], list[np.ndarray]]) -> None:
    """Twice the same."""
    for first, second in zip(make(), make(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_twice_the_same() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((9, 8, 30, 30), np.float32), rng.standard_normal((16, 8, 3, 3), np.float32)
    dy = rng.standard_normal((9, 16, 28, 28), np.float32)

    def convolve() -> list[np.ndarray]:
        y, cache = ops.conv2d(x, weight)
        dx, dw, _ = ops.conv2d_backward(dy, cache)
        assert dx is not None
        assert dw is not None
        return [y, dx, dw]

    same_bits(convolve)
