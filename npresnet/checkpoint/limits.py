"""What a checkpoint may cost to read: caps on counts and sizes, far above any ResNet, far below a bomb."""

from __future__ import annotations

from .errors import CheckpointError

MAX_MEMBERS = 50_000
"""Records of an archive, tensors of a file; ResNet-152 with its optimizer has about 3,000."""

MAX_JSON = 32 * 2**20
"""Bytes of a header, an index or a config.json."""

MAX_DIMENSIONS = 32
"""Of an array, the limit of NumPy 1."""

_FREE_BYTES = 512 * 2**20
_MAX_RATIO = 100


def check_expansion(what: str, nbytes: int, file_size: int) -> None:
    """Refuse content that unpacks to far more than the file holds (zip bombs, stride-0 views).

    Parameters
    ----------
    what : str
        Subject of the error message, such as ``"the records"``.
    nbytes : int
        Size in memory that the file claims.
    file_size : int
        Size on disk; 100 times that, or 512 MiB if that is more, is allowed.
    """
    allowed = max(_FREE_BYTES, _MAX_RATIO * file_size)
    if nbytes > allowed:
        raise CheckpointError(
            f"{what} claim {nbytes:,} bytes in a file of {file_size:,}; more than {allowed:,} is refused as a bomb"
        )


def check_members(what: str, count: int) -> None:
    """Refuse an absurd number of records."""
    if count > MAX_MEMBERS:
        raise CheckpointError(f"the file claims {count:,} {what}; more than {MAX_MEMBERS:,} are refused")
