"""Sequences of operations on what earlier ones made: hostile arguments, overlapping outputs, shared memory."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

import lpsim as lp

pytest.importorskip("ml_dtypes")

from fuzzing import values as v
from fuzzing.array_calls import OPERATORS
from fuzzing.call import Call
from fuzzing.calls import OPERATIONS, make_call
from fuzzing.judge import Judge

#: From which generators of Python's arguments come, as in tools/fuzz.py.
RANDOMS = st.integers(0, (1 << 32) - 1).map(random.Random)
HOSTILITY = 0.1


class Kept:
    """An array that no operation may change, but by ``out=``, with its bytes; it has a text whatever it holds."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.keep()

    def keep(self) -> None:
        self.octets = self.array.tobytes() if self.array.size <= 1 << 12 else b""

    def is_unchanged(self) -> bool:
        return self.array.size > 1 << 12 or self.array.tobytes() == self.octets

    def __repr__(self) -> str:
        return f"<{type(self.array).__name__} of {self.array.dtype}, {self.array.shape}, {self.array.strides}>"


def same_bits(one: Any, other: Any) -> bool:
    """Whether two arrays of floats are the same, and all NaNs where there are any."""
    one, other = np.asarray(one), np.asarray(other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    nan = np.isnan(one)
    return bool((nan == np.isnan(other)).all() and one[~nan].tobytes() == other[~nan].tobytes())


def are_values(values: Any, fmt: lp.Format) -> bool:
    return same_bits(lp.round(values, fmt), values)


class Machine(RuleBasedStateMachine):
    arrays = Bundle("arrays")  # of anything
    floats = Bundle("floats")  # float32 and float64, in any layout
    formats = Bundle("formats")
    contexts = Bundle("contexts")
    units = Bundle("units")
    carried = Bundle("carried")  # lpsim.Array
    quantised = Bundle("quantised")

    def __init__(self) -> None:
        super().__init__()
        self.judge = Judge()
        self.kept: list[Kept] = []
        self.own: list[lp.Array] = []
        self.all_quantised: list[tuple[lp.Quantized, bytes]] = []

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what a call returns, or None if it is refused in a sentence that explains."""
        wrong = self.judge(Call(getattr(function, "__name__", "call"), function, args, kwargs))
        assert wrong is None, wrong
        return self.judge.result

    def keep(self, array: Any) -> Kept:
        self.kept.append(Kept(array))
        return self.kept[-1]

    def keep_own(self, array: Any) -> Any:
        if not isinstance(array, lp.Array):
            return multiple()
        self.own.append(array)
        return array

    @initialize(target=formats)
    def first_format(self) -> lp.Format:
        return lp.float16

    @initialize(target=contexts)
    def first_context(self) -> lp.Context:
        return lp.Context()

    @initialize(target=floats, rng=RANDOMS)
    def first_floats(self, rng: random.Random) -> Kept:
        return self.keep(v.good_array(rng, (7,)))

    # What operations work on.

    @rule(target=arrays, rng=RANDOMS)
    def make_array(self, rng: random.Random) -> Any:
        array = v.hostile_array(rng)
        return self.keep(array) if isinstance(array, np.ndarray) and array is not np.ma.masked else multiple()

    @rule(target=floats, rng=RANDOMS)
    def make_floats(self, rng: random.Random) -> Kept:
        return self.keep(self.twisted(rng, v.good_array(rng)))

    @rule(target=floats, x=floats, rng=RANDOMS)
    def view(self, x: Kept, rng: random.Random) -> Kept:
        return self.keep(self.twisted(rng, x.array.view()))

    @staticmethod
    def twisted(rng: random.Random, array: Any) -> Any:
        """Return the numbers in another layout, of a type that is computed with as arrays are."""
        twisted = v.twisted(rng, array)
        return array if isinstance(twisted, (np.ma.MaskedArray, np.matrix)) else twisted

    @rule(target=formats, rng=RANDOMS)
    def make_format(self, rng: random.Random) -> Any:
        made = self.call(lp.format, v.fmt(rng, HOSTILITY))
        return made if made is not None else multiple()

    @rule(target=contexts, rng=RANDOMS)
    def make_context(self, rng: random.Random) -> Any:
        rounding, overflow = v.rounding(rng, HOSTILITY), v.overflow(rng, HOSTILITY)
        unit = v.unit(rng, HOSTILITY) if rng.random() < 0.3 else None
        made = self.call(lp.Context, rounding, overflow, seed=rng.choice([1, v.number(rng)]), unit=unit)
        return made if made is not None else multiple()

    @rule(target=units, rng=RANDOMS, fmt=formats)
    def make_unit(self, rng: random.Random, fmt: lp.Format) -> Any:
        order, rounding = v.order(rng, HOSTILITY), v.rounding(rng, HOSTILITY)
        made = self.call(lp.MatrixUnit, fmt, accumulator_format=v.fmt(rng, HOSTILITY), order=order, rounding=rounding)
        return made if made is not None else multiple()

    # Operations.

    @rule(name=st.sampled_from(sorted(OPERATIONS)), x=arrays, y=arrays, fmt=formats, rng=RANDOMS)
    def operate(self, name: str, x: Kept, y: Kept, fmt: lp.Format, rng: random.Random) -> None:
        operands = [x.array, y.array, rng.choice([x.array, 1.5])][: OPERATIONS[name]]
        how = {"rounding": v.rounding(rng, HOSTILITY), "seed": rng.choice([None, 3, v.number(rng)])}
        result = self.call(getattr(lp, name), *operands, fmt, **how)
        if result is not None and name != "encode" and np.size(result) < 1 << 12:
            assert are_values(result, fmt)

    @rule(name=st.sampled_from(sorted(OPERATIONS)), x=floats, y=floats, fmt=formats, rng=RANDOMS)
    def write_over_operands(self, name: str, x: Kept, y: Kept, fmt: lp.Format, rng: random.Random) -> None:
        """``out`` in the memory of an operand, in part or the other way round, changes no result."""
        if name == "encode" or fmt.carrier == np.float64:
            return
        shape = x.array.shape
        length = 2 * max(x.array.size, 1)
        memory = np.zeros(length + 3, np.float32)
        first, second = rng.sample(range(4), 2)
        operands = [memory[start : start + length : 2][: x.array.size].reshape(shape) for start in (first, second)]
        with np.errstate(all="ignore"):
            operands[0][...] = x.array
            if y.array.shape == shape:
                operands[1][...] = y.array
        if rng.random() < 0.3 and operands[0].ndim:
            operands[0] = operands[0][::-1]
        given = [*operands, rng.choice(operands)][: OPERATIONS[name]]
        out = rng.choice([memory[second : second + x.array.size].reshape(shape), operands[0], operands[1]])
        how = {"rounding": rng.choice(list(lp.Rounding)), "seed": 5}
        expected = np.asarray(getattr(lp, name)(*[one.copy() for one in given], fmt, **how))
        assert getattr(lp, name)(*given, fmt, **how, out=out) is out
        assert same_bits(out, expected.astype(out.dtype))

    @rule(x=floats, fmt=formats)
    def encode_and_decode(self, x: Kept, fmt: lp.Format) -> None:
        codes, rounded = self.call(lp.encode, x.array, fmt), lp.round(x.array, fmt)
        if codes is None:
            assert not fmt.has_nan
            return
        assert same_bits(lp.decode(codes, fmt), rounded)
        if codes.ndim:
            packed = lp.pack(codes, fmt)
            assert np.array_equal(lp.unpack(packed, fmt, count=codes.shape[-1]), codes)

    @rule(a=arrays, b=arrays, unit=units, rng=RANDOMS)
    def multiply_matrices(self, a: Kept, b: Kept, unit: lp.MatrixUnit, rng: random.Random) -> None:
        result = self.call(rng.choice([lp.matmul, lp.dot]), a.array, b.array, unit, seed=rng.choice([None, 1]))
        if result is not None and np.size(result) < 1 << 12:
            assert are_values(result, unit.result_format)

    @rule(x=arrays, fmt=formats, rng=RANDOMS)
    def add_up(self, x: Kept, fmt: lp.Format, rng: random.Random) -> None:
        result = self.call(
            lp.sum, x.array, fmt, order=v.order(rng, HOSTILITY), axis=rng.choice([None, 0, -1, (), (0, 1)])
        )
        if result is not None and np.size(result) < 1 << 12:
            assert are_values(result, fmt)

    @rule(rng=RANDOMS)
    def call_anything(self, rng: random.Random) -> None:
        with np.errstate(all="ignore"):
            call = make_call(rng)
        wrong = self.judge(call)
        assert wrong is None, f"{call.name}: {wrong}"

    # Arrays that carry their format.

    @rule(target=carried, x=arrays, fmt=formats, context=contexts)
    def carry(self, x: Kept, fmt: lp.Format, context: lp.Context) -> Any:
        return self.keep_own(self.call(lp.Array, x.array, fmt, context)) if x.array.size < 1 << 12 else multiple()

    @rule(target=carried, x=floats, fmt=formats, context=contexts)
    def carry_floats(self, x: Kept, fmt: lp.Format, context: lp.Context) -> Any:
        return self.keep_own(lp.Array(x.array, fmt, context))

    @rule(target=carried, x=carried, y=st.one_of(carried, arrays), rng=RANDOMS)
    def compute(self, x: lp.Array, y: lp.Array | Kept, rng: random.Random) -> Any:
        if (operator := rng.choice(OPERATORS)).__name__.startswith("i"):
            return multiple()  # it changes its operand
        other = y if isinstance(y, lp.Array) else y.array
        plain = [one.values if isinstance(one, lp.Array) else one for one in (x, other)]
        wrong = self.judge(Call(f"Array.{operator.__name__}", operator, (x, other), {}, lambda: operator(*plain)))
        assert wrong is None, wrong
        return self.keep_own(self.judge.result)

    @rule(x=carried, y=carried)
    def compute_in_place(self, x: lp.Array, y: lp.Array) -> None:
        copy, other = x.copy(), y.copy() if y is not x else None
        expected = self.call(np.add, copy, copy if other is None else other)
        if expected is None or expected.shape != x.shape or x.context != lp.Context():
            return
        x += y
        assert same_bits(x.values, expected.values)

    # Quantised arrays.

    @rule(target=quantised, x=arrays, rng=RANDOMS)
    def quantise(self, x: Kept, rng: random.Random) -> Any:
        return self.keep_quantised(self.call(lp.quantize, x.array, v.scheme(rng, HOSTILITY)))

    @rule(target=quantised, rng=RANDOMS)
    def quantise_weights(self, rng: random.Random) -> Any:
        x = v.good_array(rng, rng.choice([(2, 256), (3, 64), (256,), (0, 32)]))
        return self.keep_quantised(self.call(lp.quantize, x, rng.choice(v.FREE_SCHEMES)))

    def keep_quantised(self, quantised: Any) -> Any:
        if not isinstance(quantised, lp.Quantized):
            return multiple()
        self.all_quantised.append((quantised, quantised.tobytes()))
        return quantised

    @rule(quantised=quantised, rng=RANDOMS)
    def use_quantised(self, quantised: lp.Quantized, rng: random.Random) -> None:
        values = quantised.dequantize()
        assert values.shape == quantised.shape
        assert values.dtype == np.float32
        described = quantised.scheme.asdict()
        assert lp.quantization.scheme_from_dict(described) == quantised.scheme
        self.call(lp.quantization.linear, v.good_array(rng, (2, quantised.n)), quantised)

    # What always holds.

    @invariant()
    def arguments_are_unchanged(self) -> None:
        assert all(one.is_unchanged() for one in self.kept)

    @invariant()
    def arrays_hold_values_of_their_formats(self) -> None:
        assert all(are_values(one.values, one.format) for one in self.own)

    @invariant()
    def quantised_arrays_are_unchanged(self) -> None:
        assert all(one.tobytes() == octets for one, octets in self.all_quantised)


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # seeds do not shrink
)
