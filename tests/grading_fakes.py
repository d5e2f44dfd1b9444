"""Stand-ins for marking that run in worker processes: what a submission says decides what happens."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

from grading_reports import cell, failure, part, report

from npresnet.grading.assignment import Assignment
from npresnet.grading.marks import Report
from npresnet.grading.submission import Submission


def mark(submission: Submission, assignment: Assignment) -> Report:
    """A report with as many of four points as the source has passes; a log notes every call."""
    log = re.search(r"# log: (.*)", submission.source)
    if log:
        with open(log[1], "a") as file:
            file.write(f"{submission.name}\n")
    if "die" in submission.source:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    if "raise" in submission.source:
        raise RuntimeError("the grader stumbles")
    if "leave" in submission.source:
        os._exit(0)
    if "wait" in submission.source:
        if log:
            Path(f"{log[1]}.new").write_text(str(os.getpid()))
            os.replace(f"{log[1]}.new", f"{log[1]}.waiting")
        time.sleep(60)
    print("noise on stdout")
    passes = submission.source.count("pass")
    cells = [cell("a", worth=1, failed=None if n < passes else failure(mistake=f"mistake_{n}")) for n in range(4)]
    named = {"title": assignment.title}
    return report(part(*cells), part(cell("b", "y"), name="relu_forward", task="1.10"), findings=(str(named),))
