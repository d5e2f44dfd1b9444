"""The engine: inference faster than the ordinary path, by code made for the model at hand.

The ordinary path of this package computes one operation after the other, each readable, each a pass over memory. The
engine computes the same numbers (to rounding) in a form that a processor likes. Its ideas, each in a file of its own:

1.  *Do nothing twice* (:mod:`.graph`, :mod:`.weights`). In evaluation mode BatchNorm only scales and shifts, so it is
    multiplied into the weights. ReLU and the sum with the shortcut are done while a convolution's result is still in
    registers.
2.  *Put 16 channels side by side* (:mod:`.layout`). Then one vector instruction works on 16 channels of a pixel,
    whatever the size of the image, and a 1x1 convolution is a matrix product as it stands. Borders of zeros lie
    around the maps.
3.  *Keep the sums in registers* (:mod:`.microkernel`). A tile of pixels times some output channels is summed from
    first to last term without touching memory; a table tells where each term's input lies, so that the same kernel
    serves every convolution. Kernels are written as LLVM code by Python (:mod:`.code`) for the registers of the
    processor at hand (:mod:`.target`), in float32, bfloat16 or 8-bit integers (:mod:`.arithmetic`, :mod:`.quantize`).
4.  *Multiply less* (:mod:`.winograd`). A 3x3 convolution needs a quarter of the multiplications if four by four
    outputs are computed together, or 81 of 144 where it moves by two pixels.
5.  *Decide everything beforehand* (:mod:`.program`, :mod:`.tiling`, :mod:`.store`). For a shape of input, a program
    is a table of steps: which kernel, which addresses, cut into which tasks. Memory is planned once, weights are
    packed once.
6.  *Keep all cores busy* (:mod:`.runner`). One compiled function walks through the table on every thread; threads
    take tasks from shared counters. No result depends on which thread did what.
7.  *Compile once* (:mod:`.machine`, :mod:`.codecache`). Machine code is kept on disk for the next process.

:class:`.Plan` puts it together; ``model.compile()`` returns one, and ``model.predict`` uses one. Training on the same
kernels is a room of its own, :mod:`.training`.
"""

from .peak import peak_gflops
from .plan import Plan
from .target import Target, find_target

__all__ = ["Plan", "Target", "find_target", "peak_gflops"]
