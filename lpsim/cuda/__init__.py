"""lpsim on NVIDIA GPUs: the same scalar core, the same bits.

lpsim's functions take arrays on a GPU as they take NumPy's: those of Numba, CuPy and PyTorch, and all others with
``__cuda_array_interface__``. Results stay there. With ``backend="cuda"`` they copy NumPy's arrays to the GPU and back.
"""

from __future__ import annotations

import importlib

__all__ = ["is_available"]


def is_available() -> bool:
    """Return whether lpsim can compute on a GPU: there is one, and Numba for it is installed.

    Returns
    -------
    bool

    Examples
    --------
    >>> import lpsim.cuda
    >>> lpsim.cuda.is_available() in (True, False)
    True
    """
    try:
        return bool(importlib.import_module("numba.cuda").is_available())
    except Exception:  # whatever keeps a driver from being loaded
        return False
