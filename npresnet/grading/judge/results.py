"""What the judge is asked and what it says: limits, results of cases, the run of a part."""

from __future__ import annotations

from dataclasses import dataclass, field

from .protocol import Array


@dataclass(frozen=True)
class Limits:
    """Of one part's process.

    Attributes
    ----------
    seconds : float
        Of wall clock, from when NumPy has been imported to the last answer.
    cpu_seconds : float or None
        Of processor time, all threads together; None for as many as ``seconds``.
    memory_mb : int
        Of address space, beyond the interpreter and NumPy.
    file_mb : int
        Of a file, and of all files together.
    output_kb : int
        That may be printed; a process that prints more is ended.
    startup_seconds : float
        To start Python, to import NumPy and to put on the locks; a busy machine may need long for that.
    """

    seconds: float = 20.0
    cpu_seconds: float | None = None
    memory_mb: int = 1024
    file_mb: int = 16
    output_kb: int = 1024
    startup_seconds: float = 60.0


@dataclass(frozen=True)
class Raised:
    """An exception of the submission. Its words are the submission's own."""

    type: str
    message: str
    line: int | None  # of the submission, where it came from


@dataclass(frozen=True)
class CaseResult:
    """What one case gave.

    Attributes
    ----------
    outputs : dict
        Arrays by name, those of a dict as ``grads/conv1.weight``; of any plain dtype, to be judged outside.
    wrong_types : dict
        By name, what there was in place of an array, in words: ``None``, ``a list``, ``nothing: f returned 2 values,
        not 3``. Every output of the case is in ``outputs``, by itself or by its members, or here.
    raised : Raised or None
        What ended the calls.
    inputs_changed : tuple of str
        Inputs that the functions wrote to.
    repeated : bool
        Whether a second run, on fresh copies, gave the same bytes.
    seconds : float
        The shorter of both runs, measured outside.
    """

    outputs: dict[str, Array] = field(default_factory=dict)
    wrong_types: dict[str, str] = field(default_factory=dict)
    raised: Raised | None = None
    inputs_changed: tuple[str, ...] = ()
    repeated: bool = True
    seconds: float = 0.0


@dataclass(frozen=True)
class PartRun:
    """The run of all cases of a part in one process.

    Attributes
    ----------
    results : tuple of CaseResult
        One for every case when the run is ``finished``; otherwise none at all.
    ended : str
        ``finished``; ``import`` (the module raised an exception when it was run), ``time``, ``memory``, ``exit``,
        ``killed``, ``output``, ``protocol`` (the process disturbed the judge's side of it), ``refused`` (by the
        policy, before anything was run).
    detail : str
        A sentence on the end; empty when finished.
    raised : Raised or None
        The exception of an ``import``.
    seconds : float
        Of wall clock, without the start of Python.
    stdout : str
        The beginning of what it printed, without control characters.
    """

    results: tuple[CaseResult, ...] = ()
    ended: str = "finished"
    detail: str = ""
    raised: Raised | None = None
    seconds: float = 0.0
    stdout: str = ""


class JudgeError(RuntimeError):
    """The judge cannot work on this machine: Python with NumPy did not start in a process of its own."""
