"""Random bits: those of the reference, by element index alone, and unbiased."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import lpsim as lp
from lpsim import reference


@pytest.mark.parametrize("rounding", ["stochastic", "stochastic_equal"])
@pytest.mark.parametrize("random_bits", [1, 8, 32, 53])
def test_bits_are_a_function_of_seed_and_index(rounding: str, random_bits: int) -> None:
    x = np.random.default_rng(1).standard_normal((5, 40))
    for seed in (0, 1, 2**64 - 1):
        got = lp.round(x, "e4m3fn", rounding, seed=seed, random_bits=random_bits)
        words = [reference.random_word(seed, i) >> (64 - random_bits) for i in range(x.size)]
        by_hand = lp.round(x, "e4m3fn", rounding, bits=np.reshape(words, x.shape), random_bits=random_bits)
        np.testing.assert_array_equal(got, by_hand)
        expected = [
            reference.round(float(v), "e4m3fn", rounding=rounding, random_bits=random_bits, bits=word)
            for v, word in zip(x.flat, words, strict=True)
        ]
        np.testing.assert_array_equal(got.ravel(), expected)


@pytest.mark.parametrize("x", [1.03, -1.1, 17.3, 0.0001, 2.0**-10])
def test_every_random_integer_once_gives_the_probability(x: float) -> None:
    """Over all integers of r bits, the share that rounds away from zero is the fraction cut to r bits."""
    r = 12
    values = lp.round(x, "e4m3fn", "stochastic", bits=np.arange(1 << r), random_bits=r)
    low, high = lp.round(x, "e4m3fn", "toward_zero"), lp.round(x, "e4m3fn", "away_from_zero")
    fraction = (Fraction(x) - Fraction(float(low))) / (Fraction(float(high)) - Fraction(float(low)))
    assert (values == high).sum() == fraction * (1 << r) // 1
    assert (values == low).sum() + (values == high).sum() == 1 << r


def test_mean_is_the_number() -> None:
    n = 1_000_000
    x = 1 + 0.3 / 8
    values = lp.round(np.full(n, x), "e4m3fn", "stochastic", seed=11)
    assert set(values.tolist()) == {1.0, 1.125}
    deviation = 0.125 * (0.3 * 0.7) ** 0.5 / n**0.5
    assert abs(values.mean(dtype=np.float64) - x) < 5 * deviation


def test_values_of_the_format_never_change() -> None:
    values = lp.values("e4m3fn")
    for rounding in ("stochastic", "stochastic_equal"):
        for bits in (0, 2**32 - 1):
            np.testing.assert_array_equal(lp.round(values, "e4m3fn", rounding, bits=bits), values)


def test_seeds_and_elements_are_independent() -> None:
    """Pairs of neighbouring elements and of seeds agree as often as independent coins do."""
    n = 200_000
    coins = [lp.round(np.full(n, 1.05), "e4m3fn", "stochastic_equal", seed=seed) > 1 for seed in (1, 2, 3)]
    for a, b in ((coins[0], coins[1]), (coins[1], coins[2]), (coins[0][:-1], coins[0][1:])):
        assert abs((a == b).mean() - 0.5) < 5 * 0.5 / n**0.5
