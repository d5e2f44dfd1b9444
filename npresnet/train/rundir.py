"""The directory of a run: what is in it, and writing each file completely or not at all.

=============  =======================================================================
recipe.toml    the complete recipe, as run
log.csv        a line for every epoch
curves.png     the same as a picture
last.npz       everything that is needed to go on, see :mod:`.state`
best.npz       the best model, for ``npresnet.load``, ``npresnet predict`` and so on
=============  =======================================================================
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import atomic_write
from ..checkpoint.writer import save_npz
from ..config import ResNetConfig
from .log import History, write_csv
from .recipe import Recipe
from .recipe_files import format_recipe
from .state import Arrays, TrainingState, load_state, save_state

LAST, BEST, RECIPE, LOG, CURVES = "last.npz", "best.npz", "recipe.toml", "log.csv", "curves.png"

SPARE_BYTES = 8 * 2**20
"""Room to be left beside the checkpoints: log, curves, and some air."""

SECONDS_BETWEEN_CURVES = 30.0


class RunDirectory:
    """The files of a run.

    Parameters
    ----------
    path : path
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._drawn = -SECONDS_BETWEEN_CURVES

    @property
    def best(self) -> Path:
        """The best model."""
        return self.path / BEST

    def check_is_new(self) -> None:
        """Check that there is no run yet.

        Raises
        ------
        FileExistsError
            If there is one, or a file has the name of the directory.
        """
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self.path} is a file; expected a directory for the run, or a new name")
        there = [name for name in (LAST, BEST, LOG, RECIPE) if (self.path / name).exists()]
        if there:
            how = f"go on with it (--resume {self.path}), or " if LAST in there else ""
            raise FileExistsError(
                f"{self.path} already holds a run ({', '.join(there)}); {how}choose another directory"
            )

    def create(self) -> None:
        """Make the directory if it does not exist."""
        self.path.mkdir(parents=True, exist_ok=True)

    def remove_leftovers(self) -> None:
        """Remove temporary files of a process that was killed while it wrote."""
        for name in (LAST, BEST, RECIPE, LOG, CURVES):
            for leftover in self.path.glob(f".{name}.*.tmp"):
                with contextlib.suppress(OSError):
                    leftover.unlink()

    def check_space(self, state_bytes: int, model_bytes: int) -> None:
        """Check that the disk can hold both checkpoints, each of them twice while it is replaced.

        Raises
        ------
        OSError
            If it cannot.
        """
        own = sum((self.path / name).stat().st_size for name in (LAST, BEST) if (self.path / name).exists())
        needed = 2 * (state_bytes + model_bytes) + SPARE_BYTES - own
        free = shutil.disk_usage(self.path).free
        if free < needed:
            raise OSError(
                errno.ENOSPC,
                f"too little room on the disk: the run needs {needed / 1e6:,.0f} MB (each checkpoint twice, while "
                f"it is replaced), {free / 1e6:,.0f} MB are free; make room or choose another directory",
                str(self.path),
            )

    def write_recipe(self, recipe: Recipe) -> None:
        """Write recipe.toml."""
        with atomic_write(self.path / RECIPE) as temporary:
            temporary.write_text(format_recipe(recipe), encoding="utf-8")

    def write_best(self, arrays: Arrays, config: ResNetConfig, preprocessing: dict[str, Any] | None) -> None:
        """Write best.npz."""
        save_npz(self.best, arrays, config, preprocessing)

    def write_state(self, state: TrainingState) -> None:
        """Write last.npz."""
        save_state(self.path / LAST, state)

    def read_state(self) -> TrainingState:
        """Read last.npz; see :func:`.state.load_state`."""
        return load_state(self.path)

    def write_log(self, history: History, at_end: bool = False) -> None:
        """Write log.csv and, if matplotlib is installed and the last picture is not very new, curves.png."""
        write_csv(history, self.path / LOG)
        from .curves import draw_curves, need_matplotlib

        if len(history) and need_matplotlib() is None:
            now = time.monotonic()
            if at_end or now - self._drawn >= SECONDS_BETWEEN_CURVES:
                draw_curves(history, self.path / CURVES)
                self._drawn = time.monotonic()
