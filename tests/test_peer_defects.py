"""Defects that other simulators of low precision have, or have had, as tests of this library.

Each test names the peer and the case. The commits at which a defect was seen: pychop 242e079, CPFloat
3583976, QPyTorch f58bba7, MPTorch b8e4dc8, gfloat b142762, ml_dtypes b793a6e. Issue numbers are
those of the peer's repository.
"""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import lpsim
from lpsim import reference

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's overflow

UNIT = {
    "a_format": "float16",
    "b_format": None,
    "input_rounding": "ties_to_even",
    "input_overflow": "ieee",
    "product_format": None,
    "accumulator_format": "float16",
    "rounding": "ties_to_even",
    "overflow": "ieee",
    "order": "sequential",
    "outer_format": None,
    "outer_rounding": None,
    "output_format": None,
    "dot": None,
    "scale_format": None,
    "scale_block": None,
    "flush_inputs": None,
    "flush_results": None,
    "random_bits": 32,
}


class Reference:
    """The scalar definition."""

    def call(self, name: str, *args: Any, **mode: Any) -> Any:
        """Call an operation by name on scalars."""
        return getattr(reference, name)(*args, **mode)

    def matmul(self, a: Any, b: Any, **unit: Any) -> Any:
        """Multiply matrices with a unit given by its fields."""
        return reference.matmul(a, b, SimpleNamespace(**UNIT | unit))


class Kernels:
    """The public functions, which run compiled kernels; asked for one element in an array of many."""

    def call(self, name: str, *args: Any, **mode: Any) -> Any:
        """Call an operation by name on scalars."""
        *operands, fmt = args
        # More than one vector of elements, so that the vectorised loop runs as well as its remainder.
        arrays = [np.full(37, x) for x in operands]
        results = getattr(lpsim, name)(*arrays, fmt, **mode).tolist()
        assert all(x == results[0] or x != x for x in results)
        return results[0]

    def matmul(self, a: Any, b: Any, **unit: Any) -> Any:
        """Multiply matrices with a unit given by its fields."""
        return lpsim.matmul(np.asarray(a), np.asarray(b), lpsim.MatrixUnit(**UNIT | unit))


@pytest.fixture(params=[pytest.param(Reference(), id="reference"), pytest.param(Kernels(), id="kernels")])
def impl(request: pytest.FixtureRequest) -> Any:
    return request.param


def assert_is(got: float, expected: float) -> None:
    same = (got != got and expected != expected) or got == expected
    assert same
    assert got != got or math.copysign(1, got) == math.copysign(1, expected)


# pychop.


@pytest.mark.parametrize("x", [65520.0, 65536.0, 98304.0, 131071.0, 131072.0])
def test_pychop_overflow_in_the_binade_above_the_largest_is_not_zero(impl: Any, x: float) -> None:
    """``Chop(5, 10)`` gives 0 from 65536 to 131072, and 65536 from 65520 on."""
    assert_is(impl.call("round", x, "float16"), math.inf)
    assert_is(impl.call("round", -x, "float16"), -math.inf)


def test_pychop_disagrees_with_float16_on_random_numbers(impl: Any) -> None:
    """1401 of 200000 random numbers differed from NumPy's float16."""
    rng = np.random.default_rng(11)
    x = np.ldexp(rng.uniform(-2, 2, 1000), rng.integers(-27, 18, 1000))
    for value, expected in zip(x.tolist(), x.astype(np.float16).tolist(), strict=True):
        assert_is(impl.call("round", value, "float16"), expected)


@pytest.mark.parametrize("x", [1.0, 1.5, 2.0, -3.0, 1.0009765625, 65504.0, 2.0**-24, 0.0, -0.0])
def test_pychop_round_to_odd_keeps_values_of_the_format(impl: Any, x: float) -> None:
    """Mode 9 turns 1.0 into 1.00098, 1.5 into 1.50098 and 2.0 into 2.00195."""
    assert_is(impl.call("round", x, "float16", rounding="to_odd"), x)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_pychop_ties_to_zero_and_away_are_not_swapped_for_negative_numbers(impl: Any, sign: float) -> None:
    """Modes 7 and 8 test the sign of a magnitude: -(1 + 2**-11) gives -1.00098 and -1.0."""
    tie = sign * (1 + 2.0**-11)
    assert_is(impl.call("round", tie, "float16", rounding="ties_to_zero"), sign * 1.0)
    assert_is(impl.call("round", tie, "float16", rounding="ties_to_away"), sign * (1 + 2.0**-10))


def test_pychop_near_ties_are_no_ties(impl: Any) -> None:
    """A number within 1e-6 of a tie is taken for one."""
    tie = 1 + 2.0**-11
    for rounding in ("ties_to_even", "ties_to_away", "ties_to_zero"):
        assert impl.call("round", math.nextafter(tie, 2), "float16", rounding=rounding) == 1 + 2.0**-10
        assert impl.call("round", math.nextafter(tie, 1), "float16", rounding=rounding) == 1.0


@pytest.mark.parametrize("rounding", ["ties_to_even", "toward_zero", "to_odd", "stochastic"])
def test_pychop_keeps_no_negative_zero(impl: Any, rounding: str) -> None:
    """The NumPy backend gives 0.0 for -0.0."""
    assert_is(impl.call("round", -0.0, "float16", rounding=rounding, bits=0), -0.0)


# CPFloat.


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("toward_positive", 1.0078125),
        ("to_odd", 1.0078125),
        ("away_from_zero", 1.0078125),
        ("toward_zero", 1.0),
    ],
)
def test_cpfloat_directed_modes_see_beyond_the_carrier(impl: Any, rounding: str, expected: float) -> None:
    """The sum 1 + 2**-100 in bfloat16 is rounded to binary64 first, which leaves 1."""
    assert_is(impl.call("add", 1.0, 2.0**-100, "bfloat16", rounding=rounding), expected)
    assert_is(impl.call("fma", 1.0, 1.0, 2.0**-100, "bfloat16", rounding=rounding), expected)


def test_cpfloat_directed_modes_see_the_tiny_loss(impl: Any) -> None:
    """The same below 1, and for products, quotients and roots whose binary64 result is a value of the format."""
    assert_is(impl.call("sub", 1.0, 2.0**-100, "bfloat16", rounding="toward_zero"), 1 - 2.0**-8)
    assert_is(impl.call("sub", 1.0, 2.0**-100, "bfloat16", rounding="toward_positive"), 1.0)
    above = math.nextafter(1.0, 2.0)
    assert_is(impl.call("sqrt", above, "bfloat16", rounding="toward_positive"), 1.0078125)
    # 3/2 plus and minus just under half a unit in the last place of binary64.
    assert_is(impl.call("div", 1.5 + 2.0**-51, above, "bfloat16", rounding="toward_positive"), 1.5078125)
    assert_is(impl.call("div", 1.5 + 2.0**-52, above, "bfloat16", rounding="toward_zero"), 1.4921875)
    assert_is(impl.call("mul", 1 + 2.0**-27, 1 - 2.0**-27, "bfloat16", rounding="toward_zero"), 1 - 2.0**-8)


def test_cpfloat_fma_is_not_rounded_twice(impl: Any) -> None:
    """``cpf_fma`` gives 33280 for 144 * 232 + 2**-100 in bfloat16, whose product 33408 is a tie."""
    assert_is(impl.call("fma", 144.0, 232.0, 2.0**-100, "bfloat16"), 33536.0)
    assert_is(impl.call("fma", 144.0, 232.0, 0.0, "bfloat16"), 33280.0)
    assert_is(impl.call("fma", 144.0, 232.0, -(2.0**-100), "bfloat16"), 33280.0)
    assert_is(impl.call("fma", -144.0, 232.0, -(2.0**-100), "bfloat16"), -33536.0)


@pytest.mark.parametrize(
    ("x", "expected"),
    [(448.0, 448.0), (464.0, 448.0), (465.0, math.nan), (480.0, math.nan), (-480.0, math.nan)],
)
def test_cpfloat_e4m3_ends_at_448(impl: Any, x: float, expected: float) -> None:
    """Format 'E4M3' gives 480 for 465 and 480, where OCP's E4M3 has its NaN."""
    assert_is(impl.call("round", x, "e4m3fn"), expected)
    assert_is(impl.call("round", x, "e4m3fn", overflow="saturate"), math.copysign(448.0, x))


@pytest.mark.parametrize(("x", "ups"), [(65504.0, 0), (65508.0, 1), (65512.0, 2), (65516.0, 3), (65520.0, 4)])
def test_cpfloat_stochastic_overflow_is_linear_in_distance(impl: Any, x: float, ups: int) -> None:
    """Near the largest half, infinity came with probability 0.247, 0.498, 0.743 and 1: twice too often."""
    for sign in (1.0, -1.0):
        rounded = [
            impl.call("round", sign * x, "float16", rounding="stochastic", random_bits=3, bits=bits)
            for bits in range(8)
        ]
        assert sorted(rounded) == sorted([sign * math.inf] * ups + [sign * 65504.0] * (8 - ups))


# QPyTorch and MPTorch.


def test_qpytorch_subnormals_are_rounded_once(impl: Any) -> None:
    """2**-25 + 2**-40 in half gives 0: adding 2**emin in binary32 rounds first."""
    assert_is(impl.call("round", 2.0**-25 + 2.0**-40, "float16"), 2.0**-24)
    assert_is(impl.call("round", 2.0**-25, "float16"), 0.0)
    assert_is(impl.call("round", -(2.0**-25) - 2.0**-40, "float16"), -(2.0**-24))


def test_mptorch_stochastic_subnormals_are_rounded_once(impl: Any) -> None:
    """``cast_fp_stochastic`` does the same; the probability here is 1/2 + 2**-16."""
    threshold = 2**16 - (2**15 + 1)
    mode = {"rounding": "stochastic", "random_bits": 16}
    assert_is(impl.call("round", 2.0**-25 + 2.0**-40, "float16", bits=threshold, **mode), 2.0**-24)
    assert_is(impl.call("round", 2.0**-25 + 2.0**-40, "float16", bits=threshold - 1, **mode), 0.0)


def test_qpytorch_binary32_keeps_three(impl: Any) -> None:
    """``float(8, 23)`` to nearest turns 3.0 into -3.0 (issue 48)."""
    assert_is(impl.call("round", 3.0, "E8M23"), 3.0)


# gfloat.


@pytest.mark.parametrize(("fmt", "largest"), [("e5m2", 57344.0), ("float16", 65504.0), ("e4m3fn", 448.0)])
def test_gfloat_round_to_odd_overflows_to_the_largest_value(impl: Any, fmt: str, largest: float) -> None:
    """``RoundMode.ToOdd`` gives an infinity for 1e9 in E5M2."""
    assert_is(impl.call("round", 1e9, fmt, rounding="to_odd"), largest)
    assert_is(impl.call("round", -1e9, fmt, rounding="to_odd"), -largest)


@pytest.mark.parametrize("x", [2.0**-130, 2.0**-128, 1.4 * 2.0**-127, 5e-324])
def test_gfloat_e8m0_underflow_is_in_the_format(impl: Any, x: float) -> None:
    """2**-130 in E8M0 gives 7.3e-40, which is not a value and whose code is NaN's (issue 62)."""
    for rounding in ("ties_to_even", "toward_zero", "toward_negative"):
        assert_is(impl.call("round", x, "e8m0", rounding=rounding), 2.0**-127)
        assert impl.call("encode", x, "e8m0", rounding=rounding) == 0


# Matrix products: chop, pychop, MPTorch and microxcaling round once, after a product in the carrier.


def test_chop_and_others_show_rounding_and_order_of_the_accumulation(impl: Any) -> None:
    """The rounding of each step and the order of the accumulation are lost."""
    ones = [[1.0]] * 5
    # In steps of the format each 1 is lost beside 2048; rounded once, the sum is 2052.
    assert impl.matmul([[2048.0, 1.0, 1.0, 1.0, 1.0]], ones).tolist() == [[2048.0]]
    assert impl.matmul([[1.0, 1.0, 1.0, 1.0, 2048.0]], ones).tolist() == [[2052.0]]
    wide = impl.matmul([[2048.0, 1.0, 1.0, 1.0, 1.0]], ones, accumulator_format="float32")
    assert wide.tolist() == [[2052.0]]
    # Products rounded to a format of their own, or kept exact in a fused multiply-add.
    a, b = [[1.0, 1 + 2.0**-10]], [[-1 - 2.0**-9], [1 + 2.0**-10]]
    assert impl.matmul(a, b, product_format="float16").tolist() == [[0.0]]
    assert impl.matmul(a, b).tolist() == [[2.0**-20]]


# Double roundings and lost bits in others.


def test_ml_dtypes_binary64_is_not_rounded_through_binary32(impl: Any) -> None:
    """-431.99999999999994 in E4M3FN gives -448 (pull request 401)."""
    assert_is(impl.call("round", -431.99999999999994, "e4m3fn"), -416.0)
    assert_is(impl.call("round", 16973823.0, "bfloat16"), 16908288.0)


def test_triton_binary32_fma_is_not_rounded_through_binary64(impl: Any) -> None:
    """4097**2 + 2**-30 loses its addend in binary64, and then goes the wrong way (pull request 11611)."""
    assert_is(impl.call("fma", 4097.0, 4097.0, 2.0**-30, "float32"), 16785410.0)
    assert_is(impl.call("fma", 4097.0, 4097.0, 0.0, "float32"), 16785408.0)


def test_apytypes_distant_operands_do_not_wrap(impl: Any) -> None:
    """Sums are wrong where exponents differ by 64 or more (pull request 666)."""
    for gap in (63, 64, 65, 127, 128, 129):
        assert_is(impl.call("add", 1.0, 2.0**-gap, "float32"), 1.0)
        assert_is(impl.call("sub", 1.0, 2.0**-gap, "float32", rounding="toward_zero"), 1 - 2.0**-24)


def test_apytypes_largest_subnormal_rounds_up_to_the_smallest_normal(impl: Any) -> None:
    """A cast between the two gives an impossible significand (issue 1023)."""
    between = (2.0**-14 - 2.0**-24) + 2.0**-25
    assert_is(impl.call("round", between, "float16"), 2.0**-14)
    assert impl.call("encode", between, "float16") == 0x0400


def test_stochasticrounding_jl_infinities_and_powers_of_two(impl: Any) -> None:
    """An infinity becomes NaN (issue 48); numbers just below a power of two go astray (issue 74)."""
    mode = {"rounding": "stochastic", "random_bits": 4}
    below = float(Fraction(2) - Fraction(1, 2**11) / 2)  # 3/4 of the way from 2 - 2**-10 to 2
    rounded = [impl.call("round", below, "float16", bits=bits, **mode) for bits in range(16)]
    assert rounded == [2 - 2.0**-10] * 4 + [2.0] * 12
    for bits in range(16):
        assert_is(impl.call("round", math.inf, "float16", bits=bits, **mode), math.inf)
