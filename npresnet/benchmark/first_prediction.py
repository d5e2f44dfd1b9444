"""What a new process does until its first prediction.

This is a program, not a module of the package: importing npresnet must be no part of what its peers take. It is run as
``python first_prediction.py ENGINE FILE IMAGES PRECISION THREADS`` and prints ``done`` after the prediction, then the
largest memory it has used, in bytes.
"""

import sys
from typing import Any

if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose files would hide modules of the same name


def predict_npresnet(file: str, images: Any, precision: str, threads: int) -> Any:
    """Load, compile, predict: (1, C, H, W) -> logits (1, labels)."""
    import npresnet

    model = npresnet.load(file)
    return model.compile(precision=precision, num_threads=threads)(images).logits


def predict_torch(file: str, images: Any, precision: str, threads: int) -> Any:
    """Load with Transformers, predict."""
    import torch
    from transformers import ResNetForImageClassification

    torch.set_num_threads(threads)
    model = ResNetForImageClassification.from_pretrained(file, local_files_only=True).eval()
    with torch.inference_mode():
        return model(torch.from_numpy(images)).logits.numpy()


def predict_onnxruntime(file: str, images: Any, precision: str, threads: int) -> Any:
    """Load, predict."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"pixel_values": images})[0]


def peak_memory() -> int:
    """Bytes, or 0 if the system does not tell.

    NOTE: on Linux ``ru_maxrss`` of a new process starts with what its parent had used, ``VmHWM`` does not.
    """
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(engine: str, file: str, images: str, precision: str, threads: str) -> None:
    """Predict the first picture of a ``.npy`` file and tell."""
    import numpy as np

    logits = globals()[f"predict_{engine}"](file, np.load(images)[:1], precision, int(threads))
    if not np.isfinite(logits).all():
        sys.exit("the first prediction is not finite")
    print("done", flush=True)
    print(peak_memory(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
