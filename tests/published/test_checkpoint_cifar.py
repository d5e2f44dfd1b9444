"""Published CIFAR-10 checkpoints of the paper's family: the format before PyTorch 1.6, CUDA storages, DataParallel."""

import os
from pathlib import Path

import numpy as np
import pytest

from npresnet.checkpoint import read, save_npz
from npresnet.config import preset

FOLDER = Path(os.environ["NPRESNET_DATA"]) / "data" / "checkpoints"


@pytest.mark.parametrize(("file", "name", "layers"), [
    ("resnet20-12fca82f.th", "resnet20", 20),
    ("resnet32-d509ac18.th", "resnet32", 32),
])  # fmt: skip
def test_read(tmp_path, file, name, layers):
    found = read(FOLDER / file)
    config = preset(name)
    assert found.naming == "cifar"
    assert found.config.replace(id2label=None, num_labels=10) == config
    assert found.preprocessing is None
    convolutions = [array for key, array in found.arrays.items() if array.ndim == 4]
    assert len(convolutions) == layers - 1
    assert found.arrays["resnet.embedder.embedder.convolution.weight"].shape == (16, 3, 3, 3)
    assert found.arrays["classifier.1.weight"].shape == (10, 64)
    n = (layers - 2) // 3  # convolutions of a stage
    expected = 3 * 16 + n * 16**2 + 16 * 32 + (n - 1) * 32**2 + 32 * 64 + (n - 1) * 64**2
    assert sum(array.size for array in convolutions) == 9 * expected
    for key, array in found.arrays.items():
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
        assert np.abs(array).max() < 1e3
        if key.endswith("running_var"):
            assert (array > 0).all()
    save_npz(tmp_path / "a.npz", found.arrays, found.config)
    again = read(tmp_path / "a.npz")
    assert again.config == found.config
    assert again.arrays.keys() == found.arrays.keys()
    assert all(np.array_equal(again.arrays[key], array) for key, array in found.arrays.items())
