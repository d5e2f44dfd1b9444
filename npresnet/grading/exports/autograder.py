"""What ``run_autograder`` runs in Gradescope's container: mark the submission, and leave a valid ``results.json``.

Marking is a process of its own, so that neither its end, nor the end of its time or memory, is the end of this one.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SECONDS = 570.0
"""After which marking is given up, shortly before Gradescope does so after ten minutes; or NPRESNET_SECONDS."""

TOO_LONG = (
    "The marking took too long and was stopped. Test your functions one by one, as in npresnet grade FILE --task 1.1, "
    "to see how long each of them takes. Submit again when none is that slow, or ask your teacher for more time."
)
BROKEN = "The marking itself failed, which is not your fault. Please tell your teacher."


def main(root: Path) -> int:
    """Mark what is in ``root/submission`` and write ``root/results/results.json``; returns 0."""
    results = root / "results" / "results.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    write(results, "Not graded yet: the autograder did not finish. Please tell your teacher.")
    temporary = results.with_name("marked.json")
    temporary.unlink(missing_ok=True)
    command = [sys.executable, "-m", "npresnet", "grade", str(root / "submission")]
    command += ["--assignment", str(root / "source"), "--gradescope", str(temporary), "--student", "--quiet"]
    seconds = float(os.environ.get("NPRESNET_SECONDS", SECONDS))
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        write(results, TOO_LONG)
        return 0
    print(done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), sep="\n")
    if done.returncode == 0 and is_valid(temporary):
        os.replace(temporary, results)
    else:
        write(results, _reason(done.returncode, done.stderr.decode(errors="replace")))
    temporary.unlink(missing_ok=True)
    return 0


def _reason(status: int, stderr: str) -> str:
    """What the student is told: the one line of an error about the submission, or that it was not his."""
    lines = [line.removeprefix("npresnet: ") for line in stderr.splitlines() if line.startswith("npresnet: ")]
    if status == 1 and len(lines) == 1 and not lines[0].startswith("No module named"):
        return f"The submission could not be marked. {lines[0]}"
    return BROKEN


def write(path: Path, output: str) -> None:
    """Write a document without tests: no points, and why."""
    document = {"score": 0, "output": output, "output_format": "text", "visibility": "visible", "tests": []}
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(document) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def is_valid(path: Path) -> bool:
    """Whether a file is a document with a score and tests."""
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        return math.isfinite(document["score"]) and isinstance(document["tests"], list)
    except (OSError, ValueError, KeyError, TypeError):
        return False


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
