"""Every kind of compiled function by name.

A process that finds all its code in the cache never imports this, nor what it takes to generate code.
"""

from __future__ import annotations

from collections.abc import Callable

from .microkernel import microkernel
from .runner import run
from .sampling import fingerprint
from .tasks import convolve, deinterleave, global_pool, interleave, pool
from .training.gradients import gradient_kernel, unpack_gradient, weight_gradient
from .training.normalization import (
    batch_statistics,
    clear,
    clear_border,
    gradient_sums,
    normalize,
    normalize_again,
    normalize_gradient,
)
from .training.packing import pack_weights, pack_winograd
from .training.pooling import max_pool_gradient, max_pool_indexed, spread_gradient
from .winograd_tasks import winograd_input, winograd_output

GENERATORS: dict[str, Callable[..., str]] = {
    function.__name__: function
    for function in (
        run, microkernel, convolve, interleave, deinterleave, pool, global_pool, winograd_input, winograd_output,
        fingerprint, gradient_kernel, weight_gradient, unpack_gradient, batch_statistics, normalize, gradient_sums,
        normalize_again, normalize_gradient, clear, clear_border, pack_weights, pack_winograd, max_pool_indexed,
        max_pool_gradient, spread_gradient,
    )
}  # fmt: skip
