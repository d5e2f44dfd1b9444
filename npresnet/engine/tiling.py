"""Which tiles a convolution is cut into, and which of them make one task."""

from __future__ import annotations

from typing import NamedTuple

from .target import Target

CACHE = 512 << 10  # bytes of input that a task may go over again and again: half of a usual second-level cache


def tile_shape(target: Target, width: int, blocks: int, far: bool = False) -> tuple[int, int]:
    """Return how many pixels and how many blocks of outputs a kernel computes at once.

    Tiles of a row may overlap at its end, where the same numbers are computed twice; this is the waste to avoid. A step
    of a kernel takes as long as its multiplications, its loads, or the four cycles after which the sum of the step
    before is there, whichever is longest; and a little for weights and inputs that come from a farther cache.

    Parameters
    ----------
    width : int
        Pixels in a row.
    blocks : int
        Blocks of 16 outputs that share their inputs.
    far : bool
        Whether most weights come from main memory, where one long run is faster than several.
    """
    best, choice = float("inf"), (1, 1)
    per_vector = 1.5 if far else 0.4
    for vectors in (2, 1, 4, 8):
        for rows in range(1, width + 1):
            if blocks % vectors or not target.fits(rows, vectors):
                break
            cycles = max(rows * vectors, 4, vectors + rows / 2) + 0.25 + per_vector * vectors + 0.1 * rows
            cost = -(-width // rows) * cycles / vectors
            if cost < best - 1e-9 or (cost < best + 1e-9 and rows * vectors > choice[0] * choice[1]):
                best, choice = cost, (rows, vectors)
    return choice


def starts(width: int, rows: int) -> list[int]:
    """Return where tiles begin; the last one ends with the row, over its neighbour if need be."""
    return [*range(0, width - rows, rows), width - rows]


class Split(NamedTuple):
    """Tiles and groups of outputs for each task."""

    tiles: int
    groups: int


def split(
    tiles: int, groups: int, batch: int, tile_cycles: float, tile_bytes: float, group_bytes: float, threads: int
) -> Split:
    """Choose the size of a task.

    Small tasks keep all threads busy to the end; large ones read weights and inputs less often from far away. The
    choice changes no result, so it may depend on the number of threads.

    Parameters
    ----------
    tiles, groups, batch : int
        How many there are; every combination is one call of a kernel (or a few, for long sums).
    tile_cycles : float
        Of such a call.
    tile_bytes, group_bytes : float
        Input that is new for each tile, and weights of each group.
    """
    best, choice = float("inf"), Split(tiles, groups)
    whole = batch * tiles * groups * tile_cycles / threads
    for per_task in sorted({-(-tiles // n) for n in range(1, min(tiles, 64) + 1)}):
        for groups_per_task in sorted({-(-groups // n) for n in range(1, groups + 1)}):
            tile_tasks, group_tasks = -(-tiles // per_task), -(-groups // groups_per_task)
            tasks = batch * tile_tasks * group_tasks
            longest = -(-tasks // threads) * per_task * groups_per_task * tile_cycles
            far = batch * (tile_tasks * groups * group_bytes + group_tasks * tiles * tile_bytes) / threads / 16
            if groups_per_task > 1 and per_task * tile_bytes > CACHE:
                far += batch * groups * tiles * tile_bytes / threads / 16
            spare = 0.02 * whole if tasks < 3 * threads else 0  # a disturbed thread should be able to leave some work
            cost = longest + 0.3 * far + 300 * tasks / threads + spare
            if cost < best:
                best, choice = cost, Split(per_task, groups_per_task)
    return choice
