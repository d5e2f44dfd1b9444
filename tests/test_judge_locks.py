"""The filter of system calls, run here as the kernel would, for both architectures; and frames that are none."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npresnet.grading.judge import seccomp
from npresnet.grading.judge.protocol import HEAD, MAGIC, Frame, Parser, ProtocolError, laid_out, pack

ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x50001, 0x50026, 0x80000000
X86_64, AARCH64, I386, ARM = 0xC000003E, 0xC00000B7, 0x40000003, 0x40000028
PROCESS = 4321


def decide(column: int, architecture: int, number: int, *arguments: int) -> int:
    """What the kernel would do: an interpreter of the few instructions that the filter uses."""
    program = seccomp._filter(column, X86_64 if column == 0 else AARCH64, PROCESS)
    values = [argument % (1 << 64) for argument in (*arguments, *[0] * (6 - len(arguments)))]
    data = struct.pack("<IIQ6Q", number, architecture, 0, *values)
    accumulator, position = 0, 0
    while True:
        code, yes, no, k = program[position]
        position += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif code == 0x54:
            accumulator &= k
        elif code == 0x06:
            return k
        else:
            assert code in (0x15, 0x35)
            position += yes if (accumulator == k if code == 0x15 else accumulator >= k) else no


@pytest.mark.parametrize(("architecture", "numbers"), [
    ((0, X86_64), {"read": 0, "write": 1, "mmap": 9, "openat": 257, "futex": 202, "exit_group": 231, "exit": 60}),
    ((1, AARCH64), {"read": 63, "write": 64, "mmap": 222, "openat": 56, "futex": 98, "exit_group": 94, "exit": 93}),
])  # fmt: skip
def test_arithmetic_may_go_on(architecture: tuple[int, int], numbers: dict[str, int]) -> None:
    for number in numbers.values():
        assert decide(*architecture, number) == ALLOW


@pytest.mark.parametrize(("architecture", "numbers"), [
    ((0, X86_64), {
        "socket": 41, "connect": 42, "sendto": 44, "bind": 49, "socketpair": 53, "fork": 57, "vfork": 58, "execve": 59,
        "ptrace": 101, "chmod": 90, "chown": 92, "mkdir": 83, "symlink": 88, "link": 86, "setuid": 105, "setsid": 112,
        "mknod": 133, "mount": 165, "chroot": 161, "reboot": 169, "init_module": 175, "setxattr": 188, "keyctl": 250,
        "unshare": 272, "perf_event_open": 298, "open_by_handle_at": 304, "setns": 308, "process_vm_readv": 310,
        "memfd_create": 319, "bpf": 321, "execveat": 322, "userfaultfd": 323, "io_uring_setup": 425, "pidfd_open": 434,
        "pidfd_send_signal": 424, "pidfd_getfd": 438, "rt_sigqueueinfo": 129, "shmget": 29, "unknown": 4000,
    }),
    ((1, AARCH64), {
        "socket": 198, "connect": 203, "sendto": 206, "bind": 200, "socketpair": 199, "execve": 221, "ptrace": 117,
        "fchmodat": 53, "fchownat": 54, "mkdirat": 34, "symlinkat": 36, "linkat": 37, "setuid": 146, "setsid": 157,
        "mknodat": 33, "mount": 40, "chroot": 51, "reboot": 142, "setxattr": 5, "keyctl": 219, "unshare": 97,
        "perf_event_open": 241, "open_by_handle_at": 265, "setns": 268, "process_vm_readv": 270, "memfd_create": 279,
        "bpf": 280, "execveat": 281, "userfaultfd": 282, "io_uring_setup": 425, "pidfd_open": 434,
    }),
])  # fmt: skip
def test_everything_else_is_refused(architecture: tuple[int, int], numbers: dict[str, int]) -> None:
    allowed = [name for name, number in numbers.items() if decide(*architecture, number) != EPERM]
    assert allowed == []


@pytest.mark.parametrize(("column", "architecture", "clone", "kill", "tgkill", "prctl", "prlimit", "ioctl", "fcntl"), [
    (0, X86_64, 56, 62, 234, 157, 302, 16, 72),
    (1, AARCH64, 220, 129, 131, 167, 261, 29, 25),
])  # fmt: skip
def test_some_calls_depend_on_their_arguments(
    column: int, architecture: int, clone: int, kill: int, tgkill: int, prctl: int, prlimit: int, ioctl: int, fcntl: int
) -> None:
    def allowed(number: int, *arguments: int) -> bool:
        return decide(column, architecture, number, *arguments) == ALLOW

    thread = 0x3D0F00  # as the C library starts them
    assert allowed(clone, thread)
    assert not allowed(clone, 17)  # a process: SIGCHLD
    assert not allowed(clone, thread & ~0x10000)
    assert not allowed(clone, 0x4111)  # vfork
    assert decide(column, architecture, 435) == ENOSYS
    for call in (kill, tgkill):
        assert allowed(call, PROCESS)
        assert not any(allowed(call, other) for other in (0, 1, -1, -PROCESS, PROCESS + 1))
    assert allowed(prctl, 15)
    assert not any(allowed(prctl, option) for option in (1, 4, 8, 22, 24, 36, 47))
    assert allowed(prlimit, 0)
    assert not allowed(prlimit, 1)
    assert allowed(ioctl, 1, 0x5401)
    assert not allowed(ioctl, 1, 0x5412)  # typing into a terminal
    assert allowed(fcntl, 3, 3)
    assert not any(allowed(fcntl, 3, command) for command in (8, 10, 15, 1024))  # signals to others


def test_other_doors_to_the_system_are_closed() -> None:
    assert decide(0, I386, 0) == decide(1, ARM, 63) == decide(0, AARCH64, 63) == KILL
    assert decide(0, X86_64, 0x40000000) == decide(0, X86_64, 0x40000000 + 41) == KILL  # x32
    assert decide(1, X86_64, 63) == KILL


def test_every_jump_stays_inside() -> None:
    for column, architecture in ((0, X86_64), (1, AARCH64)):
        program = seccomp._filter(column, architecture, PROCESS)
        for position, (_, yes, no, _) in enumerate(program):
            assert max(yes, no) < 256
            assert position + 1 + max(yes, no) < len(program) or position == len(program) - 1


# ---------------------------------------------------------------------------------------------------- frames
def parsed(data: bytes, piece: int = 1 << 20) -> list[Frame]:
    parser, frames = Parser(), []
    for start in range(0, len(data), piece):
        parser.feed(data[start : start + piece])
        while (frame := parser.frame()) is not None:
            frames.append(frame)
    assert not parser.pending
    return frames


def test_frames_arrive_in_pieces() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    data = pack({"kind": "one"}, [("a", array), ("b", np.array(True)), ("c", np.zeros((0, 2)))]) + pack({"kind": "two"})
    for piece in (1, 7, 1000):
        one, two = parsed(data, piece)
        assert (one.kind, two.kind, two.arrays()) == ("one", "two", [])
        (a, first), (b, second), (c, third) = one.arrays()
        assert (a, b, c, third.shape) == ("a", "b", "c", (0, 2))
        np.testing.assert_array_equal(first, array)
        assert first.dtype == array.dtype
        assert second.dtype == bool
        assert second


@settings(deadline=None, max_examples=100)
@given(st.permutations(range(4)), st.tuples(*[st.sampled_from([1, 2, -1, -2])] * 4))
def test_arrays_are_laid_out_as_they_were(axes: list[int], steps: tuple[int, ...]) -> None:
    array = np.arange(4 * 6 * 2 * 8.0).reshape(4, 6, 2, 8)[tuple(slice(None, None, step) for step in steps)]
    array = array.transpose(axes)
    (frame,) = parsed(pack({}, [("x", array)]))
    copy = laid_out(frame.arrays()[0][1], frame.header["arrays"][0])
    np.testing.assert_array_equal(copy, array)
    assert copy.flags.c_contiguous == array.flags.c_contiguous or -1 in steps or -2 in steps
    sizes = [axis for axis in range(4) if array.shape[axis] > 1]
    order = sorted(sizes, key=lambda axis: -abs(array.strides[axis]))
    assert order == sorted(sizes, key=lambda axis: -copy.strides[axis])


def raw(header: bytes, payload: bytes = b"") -> bytes:
    return HEAD.pack(MAGIC, len(header), len(payload)) + header + payload


@pytest.mark.parametrize("data", [
    b"npJ2" + bytes(12), b"x", HEAD.pack(MAGIC, 1 << 30, 0), HEAD.pack(MAGIC, 2, 1 << 40), raw(b"[]"), raw(b"{"),
    raw(b"\xff\xfe"), raw(b"[" * 100_000), raw(b"1" * 100_000), raw(b"null"),
])  # fmt: skip
def test_what_is_no_frame(data: bytes) -> None:
    parser = Parser()
    parser.feed(data)
    with pytest.raises(ProtocolError):
        parser.frame()


def described(dtype: str = '"float64"', shape: str = "[1]", name: str = '"x"') -> bytes:
    return f'{{"arrays": [{{"name": {name}, "dtype": {dtype}, "shape": {shape}}}]}}'.encode()


@pytest.mark.parametrize(("header", "size"), [
    (described('"object"'), 8), (described('"O"'), 8), (described('"float64,float64"'), 16), (described("null"), 8),
    (described('"float128"'), 16), (described('">f8"'), 8), (described("8"), 8), (described(name="1"), 8),
    (described(name="[]"), 8), (described(shape="[-1]"), 8), (described(shape="[2]"), 8), (described(shape="8"), 8),
    (described(shape="[1.0]"), 8), (described(shape="[true]"), 8), (described(shape="[]"), 16), (described(), 9),
    (described(shape="[]"), 0), (described(shape="[1000000000000, 1000000000000]"), 8), (b'{"arrays": 1}', 0),
    (described(shape=str([1] * 33)), 8), (described(shape="[0, 100000000000000000000000]"), 0), (b"{}", 1),
    (b'{"arrays": [1]}', 0), (b'{"arrays": {}}', 0), (described('"bool"', "[8]"), 8),
])  # fmt: skip
def test_headers_that_do_not_describe_their_payload(header: bytes, size: int) -> None:
    (frame,) = parsed(raw(header, b"\x07" * size))
    with pytest.raises(ProtocolError):
        frame.arrays()


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60), st.booleans(), st.binary(max_size=20))
def test_no_bytes_upset_the_parser(header: bytes, framed: bool, payload: bytes) -> None:
    parser = Parser()
    parser.feed(raw(header, payload) if framed else header)
    try:
        frame = parser.frame()
        if frame is not None:
            frame.arrays()
    except ProtocolError:
        pass
