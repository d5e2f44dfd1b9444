"""``npresnet bench``: the same network, the same pictures and the same answers, in npresnet and in its peers.

How the figures come about, one file an idea:

* :mod:`.contestants`: who takes part, and why somebody does not;
* :mod:`.material`: a random network that depends on its input, the pictures, and the logits that are right;
* :mod:`.onnx_export`, :mod:`.quantized_onnx`: the same network as files for ONNX Runtime;
* :mod:`.worker`, :mod:`.process`: every contestant runs in a process of its own, which waits on a pipe for its turn;
* :mod:`.check`: whoever gives other logits is not timed;
* :mod:`.turns`: contestants take turns, so that whatever disturbs the machine disturbs all of them, and ratios are
  taken within a round;
* :mod:`.first_prediction`, :mod:`.starts`: what a new process takes in time and memory until its first prediction;
* :mod:`.timing`: workers in turns, and the figures that follow from their times;
* :mod:`.match` puts these together for a model, :mod:`.run` for all models;
* :mod:`.report`, :mod:`.chart`: the outcome for people;
* :mod:`.training`: the same for training steps.

Nothing but NumPy is imported by a process that times npresnet; PyTorch and ONNX Runtime are imported only where they
are the contestant.
"""

from __future__ import annotations


class BenchmarkError(ValueError):
    """A benchmark that cannot be run; the message says what to change."""
