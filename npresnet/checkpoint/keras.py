"""Keras ``.h5`` files: weights under the names of layers. Needs h5py (``pip install 'npresnet[keras]'``).

Three layouts are read: ``model.save_weights`` and ``model.save`` of Keras 2 (also of the published ResNets), and
``model.save_weights`` of Keras 3, where an attribute of each group names the layer. An HDF5 file can point into other
files of the machine (external and virtual storage, external and soft links); all of these are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CheckpointError
from .limits import check_expansion, check_members

HDF5_START = b"\x89HDF\r\n\x1a\n"

_KNOWN_FILTERS = {1, 2, 3, 32000}  # deflate, shuffle, fletcher32, lzf; others may load plugins


def read_keras(path: Path) -> dict[str, np.ndarray]:
    """Read a Keras ``.h5`` file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to ndarray
        Arrays as Keras lays them out (convolutions HWIO), named ``layer/variable``: ``conv1_conv/kernel``,
        ``conv1_bn/moving_mean``, ``predictions/bias``; for Keras 3 ``conv1_conv/vars/0``.

    Raises
    ------
    CheckpointError
        If h5py is missing, the layout is unknown, or the file is damaged or reaches outside itself.
    """
    try:
        import h5py
    except ImportError as error:
        raise CheckpointError(
            "this is an HDF5 file (Keras), and reading it needs h5py; install it: pip install 'npresnet[keras]'"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            return _read(h5py, file, path.stat().st_size)
    except OSError as error:  # what h5py raises on damage
        raise CheckpointError(f"the HDF5 file is damaged: {str(error)[:200]}") from error


def _read(h5py: Any, file: Any, file_size: int) -> dict[str, np.ndarray]:
    root = _member(h5py, file, "model_weights") if "model_weights" in file else file
    if "layer_names" in root.attrs or "layer_names0" in root.attrs:
        found = _keras2(h5py, root)
    elif "layers" in root or "_layer_checkpoint_dependencies" in root:
        found = _keras3(h5py, root)
    else:
        raise CheckpointError(f"the HDF5 file has no layout of Keras; its top holds {list(root)[:8]}")
    datasets: dict[str, Any] = {}
    for name, dataset in found:
        check_members("arrays", len(datasets))
        if name in datasets:
            raise CheckpointError(f"the file holds {name!r} twice")
        datasets[name] = _checked(h5py, name, dataset)
    check_expansion("the arrays", sum(d.size * d.dtype.itemsize for d in datasets.values()), file_size)
    return {name: np.asarray(d[()], d.dtype.newbyteorder("=")) for name, d in datasets.items()}


def _keras2(h5py: Any, root: Any) -> Iterator[tuple[str, Any]]:
    """Keras 2: attributes list the layers, and the weights of each layer."""
    for layer in _names(root, "layer_names"):
        group = _member(h5py, root, layer)
        for weight in _names(group, "weight_names"):
            variable = weight.split("/")[-1].split(":")[0]  # conv1_conv/kernel:0
            yield f"{layer}/{variable}", _member(h5py, group, weight)


def _keras3(h5py: Any, root: Any) -> Iterator[tuple[str, Any]]:
    """Keras 3: groups by class (``conv2d_7``), variables by number; an attribute names the layer."""
    layers = _member(h5py, root, "layers" if "layers" in root else "_layer_checkpoint_dependencies")
    for label in layers:
        group = _member(h5py, layers, label)
        if "vars" not in group or not len(group["vars"]):
            continue  # an activation, a pool
        variables = _member(h5py, group, "vars")
        name = variables.attrs.get("name")
        if not isinstance(name, str):
            raise CheckpointError(
                "this file of Keras 3 does not name its layers, as older versions of it do not; save it again with the "
                "latest Keras, or in the older layout: model.save('model.h5')"
            )
        for number in variables:
            yield f"{name}/vars/{number}", _member(h5py, variables, number)


def _member(h5py: Any, group: Any, path: str) -> Any:
    """Follow hard links only, one step at a time."""
    for step in path.split("/"):
        if not isinstance(group, h5py.Group) or step in ("", ".", "..") or step not in group.keys():  # noqa: SIM118
            raise CheckpointError(f"the HDF5 file lists {path[:120]!r} but does not hold it")
        if not isinstance(group.get(step, getlink=True), h5py.HardLink):
            raise CheckpointError(f"{path[:120]!r} is a link, possibly into another file; it is refused")
        group = group[step]
    return group


def _checked(h5py: Any, name: str, dataset: Any) -> Any:
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "fiub" or dataset.shape is None:
        raise CheckpointError(f"{name!r} is not a numeric array")
    if dataset.external or dataset.is_virtual:
        raise CheckpointError(f"the numbers of {name!r} lie in another file; it is refused")
    properties = dataset.id.get_create_plist()
    filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    if not filters <= _KNOWN_FILTERS:
        raise CheckpointError(f"{name!r} is compressed with the HDF5 filters {sorted(filters)}; save it without")
    return dataset


def _names(group: Any, attribute: str) -> list[str]:
    """Read a list of names, which Keras splits over ``attribute0``, ``attribute1``, ... if it is long."""
    parts = [attribute] if attribute in group.attrs else [f"{attribute}{i}" for i in range(1000)]
    names: list[str] = []
    for part in parts:
        if part not in group.attrs:
            break
        values = np.asarray(group.attrs[part]).reshape(-1).tolist()
        names += [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]
    return names
