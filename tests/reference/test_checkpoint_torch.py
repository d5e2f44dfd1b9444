"""Files that PyTorch itself writes, read without it; and what it makes of files made by hand."""

import argparse
import collections
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import checkpoint_files as files

from npresnet.checkpoint import CheckpointError, read_raw


def as_numpy(tensor):
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def check(found, expected):
    assert list(found) == list(expected)
    for key, tensor in expected.items():
        assert found[key].flags.c_contiguous
        np.testing.assert_array_equal(found[key], as_numpy(tensor), strict=True)


def states():
    torch.manual_seed(0)
    conv = torch.randn(4, 3, 5, 5)
    flat = torch.randn(100)
    return {
        "float32": {"x": conv, "y": torch.randn(7)},
        "half": {"x": conv.half(), "y": conv.bfloat16(), "z": conv.double()},
        "integers": {str(t): torch.arange(5).to(t) for t in (torch.int8, torch.int16, torch.int32, torch.uint8)},
        "counters": {"n": torch.tensor(7), "b": torch.tensor([True, False])},
        "channels_last": {"x": conv.to(memory_format=torch.channels_last), "t": conv.permute(3, 2, 1, 0)},
        "shared": {"x": flat[3:15].view(3, 4), "y": flat[::7], "z": flat, "e": flat[:1].expand(6, 2)},
        "empty": {"x": torch.empty(0), "y": torch.empty(3, 0, 2)},
        "parameters": {"x": torch.nn.Parameter(conv), "y": torch.nn.Parameter(torch.ones(2), requires_grad=False)},
        "module": torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).state_dict(),
    }  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", states())
def test_state_dicts(tmp_path, kind, zipped):
    state = states()[kind]
    torch.save(state, tmp_path / "a", _use_new_zipfile_serialization=zipped)
    check(read_raw(tmp_path / "a").arrays, state)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols(tmp_path, protocol):
    state = states()["module"]
    torch.save(state, tmp_path / "a", pickle_protocol=protocol)
    check(read_raw(tmp_path / "a").arrays, state)


def test_newer_integers(tmp_path):
    state = {str(t): torch.arange(4).to(t) for t in (torch.uint16, torch.uint32, torch.uint64)}
    torch.save(state, tmp_path / "a")
    check(read_raw(tmp_path / "a").arrays, state)


def test_without_checksums(tmp_path):
    state = states()["module"]
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "a")
    finally:
        torch.serialization.set_crc32_options(True)
    check(read_raw(tmp_path / "a").arrays, state)


@pytest.mark.parametrize("zipped", [True, False])
def test_training_checkpoint(tmp_path, zipped):
    """What a training script keeps: DataParallel, averaged weights, optimizer, schedule, arguments, scores."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    averaged = torch.optim.swa_utils.AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 3])
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3, "arch": "resnet18", "best_acc1": torch.tensor(76.1), "best_prec1": np.float64(3.5),
        "loss": np.float32(1), "state_dict": torch.nn.DataParallel(model).state_dict(),
        "model_ema": averaged.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": schedule.state_dict(),
        "args": argparse.Namespace(lr=0.1, output=Path("x"), gpus={1, 2}), "device": torch.device("cpu"),
        "history": collections.defaultdict(list, a=[1]), "rng": torch.get_rng_state(), "noise": np.ones(3),
    }  # fmt: skip
    torch.save(checkpoint, tmp_path / "a", _use_new_zipfile_serialization=zipped)
    check(read_raw(tmp_path / "a").arrays, averaged.module.state_dict())
    del checkpoint["model_ema"]
    torch.save(checkpoint, tmp_path / "a", _use_new_zipfile_serialization=zipped)
    check(read_raw(tmp_path / "a").arrays, model.state_dict())


def test_compiled_model(tmp_path):
    model = torch.nn.Linear(3, 2)
    torch.save(torch.compile(model).state_dict(), tmp_path / "a")
    check(read_raw(tmp_path / "a").arrays, model.state_dict())


@pytest.mark.parametrize("zipped", [True, False])
def test_whole_module(tmp_path, zipped):
    torch.save(torch.nn.Linear(3, 2), tmp_path / "a", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"torch.save\(model.state_dict\(\)"):
        read_raw(tmp_path / "a")


def test_torchscript(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), tmp_path / "a")
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_raw(tmp_path / "a")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.eye(3).to_sparse(),
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        torch.ones(3).to(torch.float8_e4m3fn),
        torch.ones(3, dtype=torch.complex64),
        torch.view_as_complex(torch.ones(3, 2)).conj().imag,
    ],
)
def test_tensors_that_are_not_read(tmp_path, tensor):
    torch.save({"x": tensor}, tmp_path / "a")
    with pytest.raises(CheckpointError):
        read_raw(tmp_path / "a")


ARRAYS = {
    "x": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "y": np.array(3, np.int64), "z": np.ones(4, np.float64)
}  # fmt: skip


@pytest.mark.parametrize("kind", ["zip", "legacy", "tar"])
def test_pytorch_reads_the_files_made_by_hand(tmp_path, kind):
    """The byte-level files of the default suite are true to the format, the tar of 2017 included."""
    if kind == "zip":
        files.arrays_zip(tmp_path / "a", ARRAYS)
    elif kind == "legacy":
        body = files.named({key: files.tensor_of(key, array, files.NONE) for key, array in ARRAYS.items()})
        files.torch_legacy(tmp_path / "a", body, ARRAYS)
    else:
        files.write_tar(tmp_path / "a", files.tar_members(ARRAYS))
    expected = torch.load(tmp_path / "a", weights_only=kind != "tar")
    check(read_raw(tmp_path / "a").arrays, expected)
    check(
        {key: as_numpy(tensor) for key, tensor in expected.items()}, {k: torch.from_numpy(a) for k, a in ARRAYS.items()}
    )
