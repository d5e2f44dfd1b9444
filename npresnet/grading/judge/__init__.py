"""The judge: runs a submission in a process of its own and brings back arrays, to be compared outside.

What a submission is never told, it cannot give away: expected values, seeds and settings stay with the grader, and the
process is sent the submission, the functions that stand in for earlier parts, and the inputs of one case at a time. It
answers with raw bytes over a private pipe. Whatever it sends can only be wrong: forged messages win nothing that right
numbers would not, and a process that ends early, late or otherwise than asked yields no results at all.

Reading order:

===================  =================================================================================================
``results.py``       what goes in and comes out: limits, results, how a run ended
``runner.py``        one part, from the source to its results
``process.py``       start a process, talk to it within deadlines, end it and all it started
``protocol.py``      frames of a JSON header and raw bytes; nothing is unpickled
``words.py``         names and messages of a submission in words
``worker.py``        the program of the process: import NumPy, lock up, run the submission, answer
``calls.py``         the script of a case, run once
``idle.py``          plots and progress bars that a notebook leaves behind, doing nothing
``values.py``        what a function returned, as plain arrays or in words
``stand_ins.py``     the source of functions that stand in for earlier ones
``layers.py``        the names of what stands between a submission and everything else
``locks.py``         all locks together, and which of them are really on
``folder.py``        the temporary working directory
``limits.py``        memory, processor time, files: every Unix
``landlock.py``      no file but Python's and the temporary folder: Linux
``seccomp.py``       no network, no processes, no signals: Linux
``audit.py``         the same in Python itself, as a second layer, and where there is nothing better
``isolation.py``     one sentence for the report on what this machine offers
``policy.py``        which imports and names are refused before anything runs. It is for clarity, not for safety
===================  =================================================================================================

What this does not protect against: mistakes in the kernel or in NumPy; a submission that takes the code of stand-ins
apart (those of earlier parts are in its process); and, where :func:`isolation` says so, a determined student on a
system without Landlock and seccomp. For submissions from strangers, grade in a container without network as well.
"""

from .isolation import isolation
from .policy import Finding, check_source
from .results import CaseResult, JudgeError, Limits, PartRun, Raised
from .runner import run_part
from .stand_ins import stand_in_source

__all__ = [
    "CaseResult",
    "Finding",
    "JudgeError",
    "Limits",
    "PartRun",
    "Raised",
    "check_source",
    "isolation",
    "run_part",
    "stand_in_source",
]
