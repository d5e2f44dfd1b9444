"""Every kind of compiled function by name.

A process that finds all its code in the cache never imports this, nor what it takes to generate code.
"""

from __future__ import annotations

from collections.abc import Callable

from .microkernel import microkernel
from .runner import run
from .sampling import fingerprint
from .tasks import convolve, deinterleave, global_pool, interleave, pool
from .winograd_tasks import winograd_input, winograd_output

GENERATORS: dict[str, Callable[..., str]] = {
    function.__name__: function
    for function in (
        run, microkernel, convolve, interleave, deinterleave, pool, global_pool, winograd_input, winograd_output,
        fingerprint,
    )
}  # fmt: skip
