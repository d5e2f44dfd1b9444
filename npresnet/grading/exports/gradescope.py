"""The archive that Gradescope builds an autograder from: ``setup.sh`` and ``run_autograder`` at its root.

It holds the assignment and those Python files of this package that grading needs, so that nothing is fetched but a few
common packages (and those that the assignment allows) when the image is built, and nothing at all when a submission is
marked.
"""

from __future__ import annotations

import io
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import npresnet

from ...checkpoint.atomic import atomic_write
from ..assignment import Assignment
from ..assignment_file import FILE, format_assignment

LEFT_OUT = ("engine", "train", "benchmark", "kernels/fast", "weights", "assets", "__pycache__")
"""Folders of the package that grading does not need."""
KEPT = (".py", ".toml")

SETUP = """\
#!/usr/bin/env bash
# Run once, when Gradescope builds the image.
set -euo pipefail
root="${NPRESNET_AUTOGRADER:-/autograder}"
if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    apt-get update
    apt-get install -y --no-install-recommends python3 python3-pip python3-venv
fi
python3 -m venv "$root/venv"
"$root/venv/bin/python" -m pip install --no-cache-dir @PACKAGES@
"""

PACKAGES = ("numpy>=1.26", "scipy>=1.11", "threadpoolctl>=3.2", "rich>=13", 'tomli>=2; python_version < "3.11"')
"""What marking imports. SciPy is for the error function in :mod:`npresnet.kernels.reference`; NumPy has none."""

RUN = """\
#!/usr/bin/env bash
# Run for every submission. Whatever happens, results/results.json is a valid document when this ends.
root="${NPRESNET_AUTOGRADER:-/autograder}"
python="${NPRESNET_PYTHON:-$root/venv/bin/python}"
export NPRESNET_SECONDS="${NPRESNET_SECONDS:-@SECONDS@}"  # shortly before Gradescope gives up
mkdir -p "$root/results"
cat > "$root/results/results.json" <<'END'
{"score": 0, "output": "Not graded yet: the autograder did not finish. Please tell your teacher.", "tests": []}
END
cd "$root/source" && PYTHONDONTWRITEBYTECODE=1 "$python" -m npresnet.grading.exports.autograder "$root"
exit 0
"""


def autograder_archive(assignment: Assignment, minutes: float = 10) -> bytes:
    """The content of the archive, the same bytes for the same assignment.

    Parameters
    ----------
    assignment : Assignment
        The teacher's, with the seed of the hidden cases.
    minutes : float
        The time limit that is set in Gradescope, at least 1.

    Raises
    ------
    ValueError
        If the time is shorter.
    """
    if not minutes >= 1:
        raise ValueError(f"the time limit must be at least 1 minute, found {minutes:g}")
    run = RUN.replace("@SECONDS@", str(round(60 * minutes - 30)))
    allowed = {name.split(".")[0] for name in assignment.allow} - sys.stdlib_module_names - {"numpy", "scipy", "rich"}
    setup = SETUP.replace("@PACKAGES@", " ".join(f"'{package}'" for package in (*PACKAGES, *sorted(allowed))))
    files = {"setup.sh": setup, "run_autograder": run, FILE: format_assignment(assignment)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            _add(archive, name, content.encode(), executable=name in ("setup.sh", "run_autograder"))
        for name, data in sorted(_package_files(Path(npresnet.__file__).parent, "npresnet")):
            _add(archive, name, data, executable=False)
    return buffer.getvalue()


def write_archive(path: str | os.PathLike[str], assignment: Assignment, minutes: float = 10) -> Path:
    """Write the archive, whole or not at all, and return its path.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    content = autograder_archive(assignment, minutes)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def _add(archive: zipfile.ZipFile, name: str, content: bytes, executable: bool) -> None:
    info = zipfile.ZipInfo(name)  # of 1980, so that the archive does not depend on the day
    info.create_system = 3  # Unix, or the permissions mean nothing
    info.external_attr = (0o100755 if executable else 0o100644) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, content)


def _package_files(folder: Path, name: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        path = f"{name}/{entry.name}"
        if entry.is_dir():
            if path.removeprefix("npresnet/") not in LEFT_OUT and entry.name != "__pycache__":
                yield from _package_files(entry, path)
        elif entry.name.endswith(KEPT):
            yield path, entry.read_bytes()
