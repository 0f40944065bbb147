"""Random words that are a function of a seed and a position alone."""

from __future__ import annotations

__all__ = ["GOLDEN", "mix", "random_word"]

_WORD = (1 << 64) - 1
#: 2**64 divided by the golden ratio, made odd: the increment of SplitMix64.
GOLDEN = 0x9E3779B97F4A7C15
_STREAM = 0xD1342543DE82EF95


def mix(z: int) -> int:
    """Return the output function of SplitMix64 at ``z``, taken modulo 2**64.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014,
    doi:10.1145/2660193.2660195, with the constants of Vigna's ``splitmix64.c``.
    """
    z &= _WORD
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _WORD
    return z ^ (z >> 31)


def random_word(seed: int, index: int, stream: int = 0) -> int:
    """Return the 64-bit random word at a position.

    Parameters
    ----------
    seed : int
        Any integer; taken modulo 2**64.
    index : int
        Position in the stream: for an array, the flat index in C order.
    stream : int
        Which of the independent streams of the seed.

    Returns
    -------
    int
        From 0 to 2**64 - 1. A random integer of ``r`` bits is its top ``r`` bits.

    Examples
    --------
    >>> from lpsim import reference
    >>> hex(reference.random_word(0, 0))
    '0xe220a8397b1dcdaf'
    """
    key = mix(seed + stream * _STREAM)
    return mix(key + (index + 1) * GOLDEN)
