"""The one error of reading data sets."""

from __future__ import annotations


class DatasetError(ValueError):
    """A data set cannot be found, read or understood; the message names the file, and the image if it is one."""
