"""The judge's side of a judged process: start it, talk to it, end it for certain.

Nothing that the process does is waited for longer than a deadline; whatever it sends is limited in size; and in the end
its whole process group is killed.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .protocol import Array, Frame, Parser, ProtocolError, pack
from .worker_codes import BROKEN, OUT_OF_MEMORY

GRACE = 2.0  # seconds for a process to end by itself when it has nothing left to do
CHUNK = 1 << 18  # bytes
WATCH = 0.2  # seconds between looks at the files that were written
MOST_FILES = 1000
BOOTSTRAP = """
import os, sys, types
sys.path += sys.argv.pop(1).split(os.pathsep)
package = types.ModuleType("judge")
package.__path__ = [sys.argv.pop(1)]
sys.modules["judge"] = package
from judge.worker import main
main()
"""  # the siblings of the worker are found; the rest of the package is not


class Ended(Exception):
    """The process ended, or had to be ended: ``kind`` as in :class:`.PartRun`, and a sentence."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


class Process:
    """A judged process.

    Parameters
    ----------
    folder : Path
        Its working directory.
    import_paths : sequence of str
        Where NumPy and other packages are found.
    output_bytes, file_bytes : int
        How much it may print, and write to files in all.
    cpu_seconds : float
        The limit that it sets itself, to tell what it died of.
    """

    def __init__(
        self,
        folder: Path,
        import_paths: Sequence[str],
        output_bytes: int,
        file_bytes: int,
        cpu_seconds: float,
    ) -> None:
        self._folder, self._file_bytes = folder, file_bytes
        self._output_bytes, self._printed, self._output = output_bytes, 0, bytearray()
        self._cpu_seconds, self._oom_kills = cpu_seconds, _oom_kills()
        self._parser = Parser()
        self._outgoing = memoryview(b"")
        self._usage: Any = None
        self._watched = 0.0
        self._mark = f"NPRESNET_JUDGED={uuid.uuid4().hex}"
        self._filtered = self._closed = False
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        self._prints, prints = os.pipe()
        self._selector = selectors.DefaultSelector()
        try:
            self._popen = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", "-B", "-u", "-c", BOOTSTRAP),
                    *(os.pathsep.join(import_paths), str(Path(__file__).parent), str(requests), str(replies)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=prints,
                stderr=prints,
                cwd=folder,
                env=self._environment(),
                pass_fds=(requests, replies),
                start_new_session=True,
            )
        except BaseException:
            for descriptor in (self._requests, self._replies, self._prints):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (requests, replies, prints):
                os.close(descriptor)
        for descriptor in (self._requests, self._replies, self._prints):
            os.set_blocking(descriptor, False)
        self._selector.register(self._replies, selectors.EVENT_READ)
        self._selector.register(self._prints, selectors.EVENT_READ)

    @property
    def id(self) -> int:
        """Of the process, and of its group."""
        return self._popen.pid

    @property
    def output(self) -> bytes:
        """What it printed so far, within the limit."""
        return bytes(self._output)

    def filtered(self) -> None:
        """Note that it cannot start other processes, which then need not be looked for."""
        self._filtered = True

    def ask(self, header: dict[str, Any], arrays: Sequence[tuple[str, Array]], deadline: float) -> Frame:
        """Send a message and wait for the answer to it.

        Raises
        ------
        Ended
            If there is none before ``deadline`` (in ``time.monotonic()``), or none that can be read.
        """
        self._step(0.0)  # what is there before the question was asked is no answer
        if self._parser.pending:
            raise Ended("protocol", "the process sent bytes that nobody asked for")
        self._outgoing = memoryview(pack(header, arrays))
        return self._answer(deadline)

    def finish(self) -> None:
        """Tell the process to end, and see that it does so by itself, without another word.

        Raises
        ------
        Ended
            If not.
        """
        deadline = time.monotonic() + GRACE
        self._step(0.0)
        self._outgoing = memoryview(pack({"kind": "bye"}))
        while self._replies in self._selector.get_map():
            if time.monotonic() > deadline:
                raise Ended("protocol", "the process did not end when it should have")
            self._step(0.05)
        if self._parser.pending:
            raise Ended("protocol", "the process sent bytes that nobody asked for")
        ended = self._how_it_ended(max(0.1, deadline - time.monotonic()))
        if ended is not None:
            raise ended

    def close(self) -> None:
        """Kill what is left of the process and of its group, and collect it."""
        if self._closed:
            return
        self._closed = True
        self._kill()
        with contextlib.suppress(OSError, Ended):  # what it printed last
            while self._read_output():
                pass
        self._selector.close()
        for descriptor in (self._requests, self._replies, self._prints):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        if not self._filtered:
            self._kill_strays()

    # ------------------------------------------------------------------------------------------------ talking
    def _answer(self, deadline: float) -> Frame:
        while True:
            try:
                frame = self._parser.frame()
            except ProtocolError as error:
                raise Ended("protocol", f"the process sent {error}") from None
            if frame is not None:
                if self._parser.pending:
                    raise Ended("protocol", "the process sent bytes that nobody asked for")
                return frame
            left = deadline - time.monotonic()
            if left <= 0:
                raise Ended("time", "the time limit was reached")
            if self._replies not in self._selector.get_map():
                raise self._how_it_ended(min(left, GRACE)) or Ended("exit", "the process ended by itself")
            self._step(min(left, WATCH))

    def _step(self, patience: float) -> None:
        """Write and read what can be, waiting for at most ``patience`` seconds."""
        if self._outgoing:
            self._write()
        if self._outgoing and self._requests not in self._selector.get_map():
            self._selector.register(self._requests, selectors.EVENT_WRITE)
        for key, _ in self._selector.select(patience):
            if key.fd == self._requests:
                self._write()
            elif key.fd == self._prints:
                if not self._read_output():
                    self._selector.unregister(self._prints)
            else:
                data = os.read(self._replies, CHUNK)
                if data:
                    self._parser.feed(data)
                else:
                    self._selector.unregister(self._replies)
        self._watch_files()

    def _write(self) -> None:
        try:
            while self._outgoing:
                self._outgoing = self._outgoing[os.write(self._requests, self._outgoing) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it will be seen when nothing is answered
            self._outgoing = memoryview(b"")
        if self._requests in self._selector.get_map():
            self._selector.unregister(self._requests)

    def _read_output(self) -> bool:
        """Take in what was printed; whether there may be more."""
        try:
            data = os.read(self._prints, CHUNK)
        except BlockingIOError:
            return False
        self._printed += len(data)
        self._output += data[: self._output_bytes - len(self._output)]
        if self._printed > self._output_bytes:
            raise Ended("output", f"it printed more than {self._output_bytes >> 10} kB")
        return bool(data)

    def _watch_files(self) -> None:
        """No more files than allowed, all together."""
        now = time.monotonic()
        if now < self._watched + WATCH:
            return
        self._watched = now
        total = count = 0
        with contextlib.suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                count += 1
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_size
                if count > MOST_FILES or total > self._file_bytes:
                    raise Ended("output", f"it wrote more than {MOST_FILES} files or {self._file_bytes >> 20} MB")

    # ------------------------------------------------------------------------------------------------ ending
    def _how_it_ended(self, patience: float) -> Ended | None:
        """Wait for the end of the process and say what it was; None if it left as it should."""
        deadline = time.monotonic() + patience
        while not self._collect(wait=False):
            if time.monotonic() > deadline:
                return Ended("protocol", "the process closed its pipe and went on")
            time.sleep(0.002)
        code = self._popen.returncode
        if code == 0:
            return None
        if code == OUT_OF_MEMORY:
            return Ended("memory", "the memory limit was reached")
        if code == BROKEN:
            return Ended("protocol", "the judge's side of the process was disturbed")
        if code > 0:
            return Ended("exit", f"the process ended itself with code {code}")
        return self._killed_by(-code)

    def _killed_by(self, number: int) -> Ended:
        usage = self._usage
        used = 0.0 if usage is None else usage.ru_utime + usage.ru_stime
        if number == signal.SIGXCPU or (number == signal.SIGKILL and used >= self._cpu_seconds):
            return Ended("time", "the limit of processor time was reached")
        if number == signal.SIGKILL and _oom_kills() > self._oom_kills:
            return Ended("memory", "the system ended the process for want of memory")
        with contextlib.suppress(ValueError):
            return Ended("killed", f"the process was ended by the signal {signal.Signals(number).name}")
        return Ended("killed", f"the process was ended by signal {number}")

    def _collect(self, wait: bool) -> bool:
        """Whether the process has ended. Its group is killed before its number can be given to another."""
        if self._popen.returncode is not None:
            return True
        if hasattr(os, "waitid"):
            options = os.WEXITED | os.WNOWAIT | (0 if wait else os.WNOHANG)
            if os.waitid(os.P_PID, self.id, options) is None:
                return False
            self._kill_group()
        identity, status, usage = os.wait4(self.id, 0 if wait else os.WNOHANG)
        if identity == 0:
            return False
        self._usage = usage
        self._popen.returncode = os.waitstatus_to_exitcode(status)
        self._kill_group()
        return True

    def _kill(self) -> None:
        if self._popen.returncode is None:
            self._kill_group()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.id, signal.SIGKILL)
            self._collect(wait=True)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.id, signal.SIGKILL)

    def _kill_strays(self) -> None:
        """Where processes could be started: find those that left the group, by their environment (Linux)."""
        mark = self._mark.encode()
        for _ in range(20):
            found = False
            for environment in Path("/proc").glob("[0-9]*/environ"):
                with contextlib.suppress(OSError):
                    if mark in environment.read_bytes():
                        found = True
                        os.kill(int(environment.parent.name), signal.SIGKILL)
            if not found:
                return
            time.sleep(0.01)

    def _environment(self) -> dict[str, str]:
        name, _, value = self._mark.partition("=")
        folder = str(self._folder)
        threads = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "VECLIB_MAXIMUM")
        environment = {f"{prefix}_NUM_THREADS".replace("MAXIMUM_NUM", "MAXIMUM"): "1" for prefix in threads}
        environment |= {"HOME": folder, "TMPDIR": folder, "LC_ALL": "C.UTF-8", "PATH": os.defpath, name: value}
        if "LD_LIBRARY_PATH" in os.environ:  # NumPy may need it
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        return environment


def _oom_kills() -> int:
    """How many processes Linux has ended so far for want of memory. (The peak of a process's own memory says nothing:
    it begins with that of the process it was started from.)"""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
