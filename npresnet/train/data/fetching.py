"""Fetch a published data set: download and verify; it stays as it was published."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from npresnet.download import DownloadError, download
from npresnet.fetching import mirrored

from .published import PublishedDataset, PublishedFile, find_published


def fetch_dataset(
    name: str,
    output: str | os.PathLike[str] | None = None,
    *,
    force: bool = False,
    progress: bool = True,
) -> Path:
    """Download the files of a data set into a folder, which :func:`~npresnet.train.data.open_dataset` opens.

    A file that is there already and is the published one is not downloaded again. An interrupted download is continued
    by the next call.

    Parameters
    ----------
    name : str
        ``"cifar10"``, ``"cifar100"``, ``"fashion-mnist"`` or ``"mnist"``.
    output : path, optional
        The folder; by default one of the data set's name in the current folder.
    force : bool
        Replace a file that has the right name and another content.
    progress : bool
        Show a progress bar if stderr is a terminal.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If the name is unknown, or ``output`` is a file.
    FileExistsError
        If there is another file in the place of one of the data set's, and ``force`` is false.
    DownloadError
        If a file cannot be fetched or is not the published one.
    """
    dataset = find_published(name)
    if dataset is None:
        from .published import PUBLISHED

        raise ValueError(f"no published data set is called {name!r}; there are {', '.join(PUBLISHED)}")
    folder = Path(dataset.name if output is None else output)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; expected the folder that {dataset.title} is to be put into")
    missing = _missing(dataset, folder, force)
    for file in missing:
        _download(file, folder, progress)
    return folder


def _missing(dataset: PublishedDataset, folder: Path, force: bool) -> list[PublishedFile]:
    """The files to download; nothing is downloaded before all of them are known to have a place."""
    missing = []
    for file in dataset.files:
        path = folder / file.name
        if path.exists() and (not path.is_file() or _digest(path, "sha256") != file.sha256):
            if not force:
                raise FileExistsError(
                    f"{path} exists and is not the published file; move it, or replace it with --force"
                )
            missing.append(file)
        elif not path.exists():
            missing.append(file)
    return missing


def _download(file: PublishedFile, folder: Path, progress: bool) -> None:
    path = download(mirrored(file.url), folder / file.name, sha256=file.sha256, progress=progress)
    found = _digest(path, "md5")
    if found != file.md5:  # the publisher's own checksum has the last word
        path.unlink()
        raise DownloadError(f"{file.url}: its MD5 is {found}, the publisher's {file.md5}; the file was removed")


def _digest(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
