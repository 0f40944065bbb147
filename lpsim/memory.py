"""Sizes that no memory holds are refused before they are asked for.

Where a system promises memory that it does not have, a size beyond it would end the process instead of the call.
Arrays of any size exist as views of one element, so that inputs need not be as large as what is made of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.checks import shown

__all__ = ["PIECE", "check_size", "pieces"]

#: Elements that temporary arrays are made for at a time: they stay in the second-level cache.
PIECE = 1 << 14

#: Fewer bytes than this are asked for without a look at how many there are, which takes long.
_SMALL = 1 << 28


def check_size(argument: str, shape: tuple[int, ...], itemsize: int = 4) -> None:
    """Refuse what needs more memory than there is.

    Raises
    ------
    MemoryError
        If an array of that shape, with elements of so many bytes, is larger than the memory that is available.
    """
    size = math.prod(shape) * itemsize
    if size > _SMALL and size > (available := _available()):
        text = shown(shape) if len(shape) < 6 else f"{len(shape)} axes"
        raise MemoryError(
            f"{argument} has shape {text}, of which one copy takes {shown(size)} bytes; allowed: {available}, the "
            "memory that is available"
        )


def pieces(array: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Yield all elements of an array as 1-D arrays of few elements, in any order: what is made of each is small."""
    with np.nditer(array, ["external_loop", "buffered", "zerosize_ok"], ["readonly"], buffersize=PIECE) as iterator:
        yield from iterator


def _available() -> int:
    """Return how many bytes can be had without ending other processes; all, where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return (1 << 63) - 1
