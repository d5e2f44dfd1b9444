"""Fetch published weights: download, verify, convert to a file that holds everything."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from npresnet.manifest import PublishedWeights, find

MIRROR = "NPRESNET_MIRROR"
"""Environment variable: fetch from this address in place of the publisher's host; the paths stay the same."""


def fetch(
    name: str,
    output: str | os.PathLike[str] | None = None,
    *,
    force: bool = False,
    keep: bool = False,
    progress: bool = True,
) -> Path:
    """Download published weights, verify them and convert them.

    The result holds the arrays under Transformers' names, the configuration with ImageNet's labels, and the
    preprocessing that the weights were published with. An interrupted download is continued by the next call.

    Parameters
    ----------
    name : str
        A key of :data:`~npresnet.manifest.MANIFEST`, such as ``"resnet50"`` or ``"microsoft/resnet-50"``.
    output : path, optional
        ``.npz``, ``.safetensors``, or a directory in the layout of Transformers. The default is ``NAME.npz`` in the
        current directory, with a dash for a slash in the name.
    force : bool
        Replace an existing output.
    keep : bool
        Keep the downloaded file beside the output; the next call uses it in place of a download.
    progress : bool
        Show a progress bar if stderr is a terminal.

    Returns
    -------
    Path
        The file or directory written.

    Raises
    ------
    ValueError
        If the name is unknown (the message gives near ones) or the suffix of ``output`` is.
    FileExistsError
        If the output exists and ``force`` is false; nothing is downloaded then.
    DownloadError
        If the file cannot be fetched or is not the published one.
    CheckpointError
        If the file does not hold the architecture that its publisher states; it is removed.

    Examples
    --------
    >>> fetch("resnet50", "weights/r50.npz")  # doctest: +SKIP
    PosixPath('weights/r50.npz')
    """
    from npresnet.checkpoint.errors import CheckpointError
    from npresnet.convert import check_target, convert
    from npresnet.download import download

    entry = find(name)
    output = check_target(f"{entry.name.replace('/', '-')}.npz" if output is None else output, force)
    original = output.parent / entry.file_name
    if original == output:
        raise ValueError(f"{output} is also the name of the original file; choose another output")
    if not (original.exists() and _is_published(original, entry)):
        download(mirrored(entry.url), original, sha256=entry.sha256, progress=progress)
    try:
        convert(original, output, config=entry.config, preprocessing=entry.preprocessing, force=force)
    except CheckpointError:  # whatever arrived, it is not this network
        original.unlink()
        raise
    if not keep:
        original.unlink()
    return output


def mirrored(url: str) -> str:
    """The address to fetch ``url`` from: the same, unless :data:`MIRROR` is set in the environment."""
    mirror = os.environ.get(MIRROR)
    return url if not mirror else mirror.rstrip("/") + urlsplit(url).path


def _is_published(path: Path, entry: PublishedWeights) -> bool:
    """Whether a file kept from an earlier call has the published SHA-256."""
    if entry.sha256 is None:
        return False
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest().startswith(entry.sha256)
