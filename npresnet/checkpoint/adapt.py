"""Arrays that other frameworks store differently, brought to PyTorch's form; and comparing two sets of arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .errors import CheckpointError


def with_folded_convolution_bias(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays without convolution biases: each is subtracted from the running mean behind it.

    This is exact. With statistics of the batch a BatchNorm removes any constant anyway, and with running statistics
    ``(x + bias - mean) = (x - (mean - bias))``, so both networks compute the same in training and in evaluation.

    Raises
    ------
    CheckpointError
        If no BatchNorm of the same size follows the convolution.
    """
    result = dict(arrays)
    for key in arrays:
        layer, is_bias, _ = key.partition(".convolution.bias")
        if not is_bias:
            continue
        bias, mean_key = result.pop(key), f"{layer}.normalization.running_mean"
        if mean_key not in result or result[mean_key].shape != bias.shape:
            found = f"of shape {result[mean_key].shape}" if mean_key in result else "none"
            raise CheckpointError(
                f"the bias {key!r} of shape {bias.shape} can only be kept in a BatchNorm behind the convolution: "
                f"expected {mean_key!r} of the same shape, found {found}"
            )
        mean = result[mean_key]
        result[mean_key] = (mean.astype(np.float64) - bias).astype(mean.dtype)
    return result


def from_keras(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn Keras' kernels (kh, kw, I, O) and (I, O) into (O, I, kh, kw) and (O, I)."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}
    return {
        key: np.ascontiguousarray(array.transpose(axes[array.ndim])) if array.ndim in axes else array
        for key, array in arrays.items()
    }


def from_caffe(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Divide Caffe's sums of means and variances by their factor, and drop the ones in old shapes.

    Caffe's BatchNorm holds a moving sum of means, one of variances and the ``factor`` of both; a factor of zero stands
    for no statistics at all, and Caffe then takes zeros. Old files give a vector as (1, 1, 1, C) or (1, C, 1, 1) and
    the classifier as (1, 1, O, I).
    """
    result = {}
    for key, array in arrays.items():
        layer, _, name = key.rpartition(".")
        if name == "factor":
            continue
        if layer == "classifier.1" and name == "weight":
            array = array.reshape(array.shape[-2:]) if array.shape[:-2] == (1, 1) else array
        elif not key.endswith(".convolution.weight") and array.shape != (array.size,):
            array = array.reshape(-1) if array.size == max(array.shape, default=0) else array
        if name in ("running_mean", "running_var") and f"{layer}.factor" in arrays:
            factor = np.asarray(arrays[f"{layer}.factor"], dtype=np.float64)
            if factor.size != 1:
                raise CheckpointError(
                    f"the third blob of a Caffe BatchNorm is a single factor, found shape {factor.shape} "
                    f"for {layer!r}; expected the blobs mean, variance, factor in this order"
                )
            scale = 0.0 if factor.item() == 0 else 1 / factor.item()
            array = (array * scale).astype(array.dtype)
        result[key] = array
    return result


def adapt_input_channels(weight: np.ndarray, num_channels: int) -> np.ndarray:
    """Fit the first convolution of a network for RGB images to another number of channels, as timm does.

    Parameters
    ----------
    weight : array (O, C, kh, kw)
    num_channels : int
        1 sums the kernels of red, green and blue: a grey image gives what its three equal channels gave.
        More are filled by repeating the three, times ``3 / num_channels`` to keep the size of the sum.

    Returns
    -------
    array (O, num_channels, kh, kw) of the same dtype

    Raises
    ------
    CheckpointError
        If ``C`` is neither 3 nor ``num_channels``.
    """
    channels = weight.shape[1]
    if channels == num_channels:
        return weight
    if channels != 3 or num_channels < 1:
        raise CheckpointError(
            f"the first convolution takes {channels} channels and cannot be fitted to {num_channels}: "
            "only kernels for RGB images can, to 1 or more channels"
        )
    if num_channels == 1:
        return weight.sum(axis=1, keepdims=True)
    repeated = np.tile(weight, (1, -(-num_channels // 3), 1, 1))[:, :num_channels]
    return (repeated * (3 / num_channels)).astype(weight.dtype)


def describe_differences(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], limit: int = 5
) -> list[str]:
    """Say how the arrays of a checkpoint differ from those of a network, one line for each.

    ``num_batches_tracked`` may be missing: old checkpoints and other frameworks do not have it.

    Parameters
    ----------
    expected, found : mapping of str to shape
    limit : int
        Lines of each kind (another shape, missing, unexpected); a last one says how many more there are.

    Returns
    -------
    list of str
        Empty if nothing differs.
    """
    kinds = {
        "with another shape": [
            f"{name}: expected shape {tuple(shape)}, found {tuple(found[name])}"
            for name, shape in expected.items()
            if name in found and tuple(found[name]) != tuple(shape)
        ],
        "missing": [
            f"{name}: missing, expected shape {tuple(shape)}"
            for name, shape in expected.items()
            if name not in found and not name.endswith(".num_batches_tracked")
        ],
        "unexpected": [
            f"{name}: unexpected, found shape {tuple(shape)}" for name, shape in found.items() if name not in expected
        ],
    }
    lines = []
    for kind, all_lines in kinds.items():
        lines += all_lines[:limit]
        if len(all_lines) > limit:
            lines.append(f"... and {len(all_lines) - limit} more {kind}")
    return lines
