"""Counter-based random words: a function of (seed, stream, index) alone.

The generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014, doi:10.1145/2660193.2660195) with the index in the place of its state's step count, so
that element i has its random bits whatever the order, chunk or thread in which it is computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lpsim.core.jit import core_function

__all__ = ["OUTER_LEVEL", "mix", "random_integer", "stream_key", "word_at"]

#: Level of the additions of a matrix product's blocks to its accumulators, which selects their random words.
OUTER_LEVEL = 63

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_STREAM = np.uint64(0xD1342543DE82EF95)
_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)


@core_function
def mix(z: Any) -> Any:
    """Return SplitMix64's output function of a state (uint64)."""
    z = (z ^ (z >> np.uint64(30))) * _MULTIPLIER_1
    z = (z ^ (z >> np.uint64(27))) * _MULTIPLIER_2
    return z ^ (z >> np.uint64(31))


@core_function
def stream_key(seed: Any, stream: Any) -> Any:
    """Return the start state (uint64) of one of a seed's independent streams."""
    return mix(np.uint64(seed) + np.uint64(stream) * _STREAM)


@core_function
def word_at(key: Any, index: Any) -> Any:
    """Return the random word (uint64) at an index, counted from 0, of the stream with this key."""
    return mix(key + np.uint64(np.int64(index) + np.int64(1)) * _GOLDEN)


@core_function
def random_integer(word: Any, f: Any) -> Any:
    """Return the top ``f.random_bits`` bits of a random word, as int64."""
    return np.int64(word >> np.uint64(np.int64(64) - f.random_bits))
