"""Codes in 32-bit words, as AutoGPTQ packs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lpsim.arguments import as_array
from lpsim.checks import shown

__all__ = ["pack_words", "unpack_words", "words_for"]

Words = npt.NDArray[np.int32]


def words_for(count: int, bits: int) -> int:
    """Return how many words hold so many codes."""
    return -(-count * bits // 32)


def pack_words(codes: npt.ArrayLike, bits: int) -> Words:
    """Pack codes along the first axis into 32-bit words.

    Parameters
    ----------
    codes : array_like of int, shape (n, m)
        Codes, 0 to ``2**bits - 1``.
    bits : int
        Bits of a code, 1 to 32.

    Returns
    -------
    ndarray of int32, shape (ceil(n * bits / 32), m)
        Code j lies at bit ``bits * j`` of the string of words, lowest bits first: with 3 bits, codes 10 and 21 of each
        32 straddle words. Bits beyond the last code are 0.

    Raises
    ------
    ValueError
        If a code is out of range.

    Notes
    -----
    Source: AutoGPTQ (9f7d3707), nn_modules/qlinear/qlinear_cuda_old.py, pack.

    Examples
    --------
    >>> from lpsim.quantization import pack_words
    >>> [hex(word) for word in pack_words([[7]] * 8, 4)[:, 0]]
    ['0x77777777']
    """
    given = _checked_matrix(codes, "codes")
    _check_bits(bits)
    if given.size and not (given.min() >= 0 and int(given.max()) < 1 << bits):
        raise ValueError(f"codes holds {given.min()} to {given.max()}; allowed: 0 to {(1 << bits) - 1}")
    n, m = given.shape
    fields = np.zeros((-(-n // 32), 32, m), np.uint32)
    fields.reshape(32 * fields.shape[0], m)[:n] = given
    words = np.zeros((fields.shape[0], bits, m), np.uint32)
    for j in range(32):
        word, shift = divmod(bits * j, 32)
        words[:, word] |= fields[:, j] << np.uint32(shift)
        if shift + bits > 32:
            words[:, word + 1] |= fields[:, j] >> np.uint32(32 - shift)
    return words.reshape(words.shape[0] * bits, m)[: words_for(n, bits)].view(np.int32)


def unpack_words(words: npt.ArrayLike, bits: int, count: int) -> npt.NDArray[np.uint32]:
    """Return the codes, shape (count, m), in the words that `pack_words` made.

    Raises
    ------
    ValueError
        If there are too few or too many words.

    Examples
    --------
    >>> from lpsim.quantization import pack_words, unpack_words
    >>> unpack_words(pack_words([[1], [2], [7]], 3), 3, count=3)[:, 0].tolist()
    [1, 2, 7]
    """
    given = _checked_matrix(words, "words")
    _check_bits(bits)
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)):
        raise TypeError(f"count is {shown(count)}; allowed: an integer")
    if count < 0:
        raise ValueError(f"count is {shown(int(count))}; allowed: 0 or more")
    count = int(count)
    if given.shape[0] != words_for(count, bits):
        needed = shown(words_for(count, bits))
        raise ValueError(f"words has {given.shape[0]} rows; allowed for {shown(count)} codes: {needed}")
    m = given.shape[1]
    blocks = -(-count // 32)
    full = np.zeros((blocks * bits, m), np.uint32)
    full[: given.shape[0]] = given.astype(np.int64).astype(np.uint32)
    strings = full.reshape(blocks, bits, m)
    codes = np.empty((blocks, 32, m), np.uint32)
    mask = np.uint32((1 << bits) - 1)
    for j in range(32):
        word, shift = divmod(bits * j, 32)
        code = strings[:, word] >> np.uint32(shift)
        if shift + bits > 32:
            code |= strings[:, word + 1] << np.uint32(32 - shift)
        codes[:, j] = code & mask
    return codes.reshape(32 * blocks, m)[:count]


def _check_bits(bits: Any) -> None:
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 32:
        raise ValueError(f"bits is {shown(bits)}; allowed: 1 to 32")


def _checked_matrix(array: npt.ArrayLike, argument: str) -> npt.NDArray[Any]:
    given = as_array(array, argument).view(np.ndarray)
    if given.ndim != 2 or given.dtype.kind not in "iu":
        raise ValueError(f"{argument} is {given.dtype} of shape {given.shape}; allowed: integers of shape (n, m)")
    return given
