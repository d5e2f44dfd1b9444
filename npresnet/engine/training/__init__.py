"""The training step of the engine: the same layout, kernels and runner as for inference, and the way back.

What is different from inference, each in a file of its own:

1.  *BatchNorm is not folded* (:mod:`.normalization`). In training it depends on the batch. Its sums are taken right
    after the convolution, and the next pass over the map normalises, adds the residual and cuts off, all at once.
2.  *The gradient of the input is a convolution too* (:mod:`.writer`): of the output's gradient, with inputs and outputs
    exchanged and the kernel turned around. So the kernels of the way forward serve again, Winograd's too. Where the
    convolution has a stride, every other pixel meets another part of the kernel: four small convolutions.
3.  *The gradient of the weights sums over pixels* (:mod:`.gradients`), where a convolution sums over channels. It needs
    a kernel of its own, and is cut into parts that are added up in a fixed order.
4.  *Weights are packed in every step* (:mod:`.packing`), because every step changes them: just before they are used,
    so that they come from the cache, in one place for all layers.
5.  *Memory is laid out by lifetimes* (:mod:`.places`): maps are kept for the way back, gradients take the place of what
    is not needed any more, and with activation checkpointing most maps are computed twice instead of kept.
6.  *Pools remember* (:mod:`.pooling`) which pixel they chose.

:class:`.TrainingPlan` puts it together, from pixels to pooled features and back into ``parameter.grad``; the readable
twin of all this is ``forward`` and ``backward`` of the modules in ``blocks``.
"""

from .plan import TrainingPlan, not_covered

__all__ = ["TrainingPlan", "not_covered"]
