"""What the core's functions are on a GPU, and how kernels are made for it.

Compilers for CUDA fuse a product and a sum that follows it unless the product is one that says how it is rounded, and
CUDA knows few of NumPy's functions. Everything else of the core compiles for GPUs as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numba import config, cuda, types

from lpsim.core.bits import copy_sign, floor, rounded_product, square_root, truncate

__all__ = ["device_kernel", "is_simulated"]

#: Whether Numba's simulator of CUDA, in plain Python, takes the place of a GPU.
is_simulated = bool(config.ENABLE_CUDASIM)


def _define(function: Callable[..., Any], single: Callable[..., Any], double: Callable[..., Any]) -> None:
    """Let a core function be another one on GPUs, of float32 or of float64 numbers."""
    try:
        from numba.cuda.extending import overload
    except ImportError:  # Numba's own part for GPUs, which numba-cuda replaces
        from numba.extending import overload

    @overload(function, target="cuda")  # type: ignore[untyped-decorator]
    def _overload(*arguments: Any) -> Any:
        chosen = single if arguments[0] == types.float32 else double

        def implementation(*arguments: Any) -> Any:
            return chosen(*arguments)

        return implementation


if not is_simulated:
    from numba.cuda import libdevice

    _define(rounded_product, libdevice.fmul_rn, libdevice.dmul_rn)
    _define(copy_sign, libdevice.copysignf, libdevice.copysign)
    _define(floor, libdevice.floorf, libdevice.floor)
    _define(truncate, libdevice.truncf, libdevice.trunc)
    _define(square_root, math.sqrt, math.sqrt)


def device_kernel(function: Callable[..., None]) -> Any:
    """Return a kernel that compiles at its first launch, for the types of its arguments.

    To be used on functions that name `numba.cuda` as a global of their module: the simulator replaces it there.
    """
    return cuda.jit(function)
