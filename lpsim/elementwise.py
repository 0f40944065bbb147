"""Elementwise operations on arrays as NumPy's ufuncs do them: broadcasting, ``out=``, strides, scalars."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim.arguments import (
    RealArray,
    as_array,
    as_integer_pair,
    as_random_bits,
    as_seed,
    broadcast_shape,
    check_out,
    check_value_out,
    has_wide_integers,
    working_dtype,
)
from lpsim.checks import check_choice
from lpsim.core.operations import ADD, ROUND
from lpsim.cpu.elementwise import COUNTER, GIVEN, NONE
from lpsim.cpu.threads import map_ranges
from lpsim.formats import Format, FormatLike
from lpsim.formats import format as as_format
from lpsim.memory import PIECE, check_size
from lpsim.parameters import parameters
from lpsim.rounding import TININESS, Rounding, as_overflow, as_rounding
from lpsim.shortcuts import Shortcut, general, quickest

__all__ = ["apply", "as_words", "in_pieces", "iterate", "round_real", "wrap_result"]

#: Fewest elements of a general kernel that are worth a thread, and elements of a buffer where arrays need one.
_GRAIN = 1 << 15

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)  # in native byte order, NumPy has one object each
_NO_SEED = np.uint64(0)
_NO_WORDS = np.empty(0, np.int64)
_NO_FLAGS = np.empty(0, np.uint8)


def apply(
    operation: int,
    operands: dict[str, RealArray],
    fmt: FormatLike,
    rounding: Any,
    overflow: Any,
    seed: Any,
    random_bits: Any,
    bits: Any,
    out: Any,
    flags: bool,
    tininess: str = "after",
    *,
    codes: bool = False,
    stream: int = 0,
    prepare: Callable[[RealArray], tuple[RealArray, ...]] | None = None,
) -> Any:
    """Return an operation's results, rounded to ``fmt``, for named operands of any real dtypes.

    They count as their casts to `lpsim.arguments.working_dtype`. With ``prepare`` there is one operand, and the
    operation is on what that function makes of pieces of it, in the working dtype of the operand.
    """
    if bits is None and not flags and prepare is None:
        how = (fmt, rounding, overflow, random_bits, tininess)
        plain = _apply_to_plain(operation, list(operands.values()), how, seed, out, codes, stream)
        if plain is not None:
            return plain
    fmt = as_format(fmt)
    mode = as_rounding(rounding)
    policy = as_overflow(overflow)
    check_choice("tininess", tininess, TININESS)  # before it is a key of a cache
    f = parameters(fmt, mode, policy, as_random_bits(random_bits), tininess)
    words, operands_and_words = None, operands
    if bits is not None:
        words = as_words(bits, f.random_bits)
        operands_and_words = {**operands, "bits": words}
    shape = broadcast_shape(operands_and_words)
    number = np.uint64(as_seed(seed, mode, alternative=" (or bits=, the random integers)") if bits is None else 0)
    randomness = NONE
    if mode.is_stochastic:
        randomness = COUNTER if words is None else GIVEN
        if words is not None and seed is not None:
            raise ValueError("seed and bits are both given; allowed: one of them")

    kernel_dtype = fmt.code_dtype if codes else fmt.carrier
    result = _output(out, shape, kernel_dtype, fmt, codes)
    raised = np.empty(shape, np.uint8) if flags else None
    inputs = [array.view(np.ndarray) for array in operands.values()]
    if out is not None:
        inputs = [_apart(array, result) for array in inputs]
        words = None if words is None else _apart(words, result)
    single = all(working_dtype(array.dtype) is _FLOAT32 for array in inputs)
    working = _FLOAT32 if single else _FLOAT64
    if flags:
        kernel, record, speed = general(operation, f, randomness, True, codes)
    else:
        kernel, record, speed = quickest(operation, fmt, mode, policy, f.random_bits, single, randomness, codes)

    def run(chunk: Sequence[RealArray], start: int) -> None:
        if prepare is not None and chunk[0].size > PIECE:
            for first in range(0, chunk[0].size, PIECE):
                run([array[first : first + PIECE] for array in chunk], start + first)
            return
        given, outputs = chunk[: len(inputs)], chunk[len(inputs) :]
        if prepare is not None:
            given = [_flat_read_only(array) for array in prepare(given[0])]
        x, y, z = (given[min(i, len(given) - 1)] for i in range(3))
        word_chunk = outputs[0] if words is not None else _NO_WORDS
        out_chunk = outputs[words is not None]
        raised_chunk = outputs[-1] if flags else _NO_FLAGS
        kernel(x, y, z, word_chunk, number, stream, start, out_chunk, raised_chunk, record)

    arrays: list[RealArray] = list(inputs)
    dtypes = [working if prepare is None else array.dtype.newbyteorder("=") for array in inputs]
    mixed = flags and not single and any(working_dtype(array.dtype) is _FLOAT32 for array in inputs)
    if mixed and prepare is None:
        dtypes = [working_dtype(array.dtype) for array in inputs]
    if words is not None:
        arrays, dtypes = [*arrays, words], [*dtypes, np.dtype(np.int64)]
    outputs = [result.view(np.ndarray)] + ([raised] if raised is not None else [])
    output_dtypes = [kernel_dtype, np.dtype(np.uint8)]
    by_chunk = _on_wide_inputs(run, len(inputs)) if mixed else run
    iterate(by_chunk, arrays, dtypes, outputs, output_dtypes, ordered=randomness == COUNTER, speed=speed)
    value = wrap_result(result, out, list(operands.values()))
    if raised is None:
        return value
    return value, raised if raised.ndim else raised[()]


def _apply_to_plain(
    operation: int,
    arrays: list[RealArray],
    how: tuple[Any, ...],
    seed: Any,
    out: Any,
    codes: bool,
    stream: int,
) -> Any:
    """Do what `apply` does for plain arrays of one shape and dtype, with little else to do; None: not for these.

    For arrays of a few elements, the general way to treat arrays takes many times as long as the work on them.
    """
    dtype, shape = arrays[0].dtype, arrays[0].shape
    if dtype is not _FLOAT32 and dtype is not _FLOAT64:
        return None
    for array in arrays:
        if array.dtype is not dtype or array.shape != shape or not _is_plain(array):
            return None
    try:
        plan = _plan(operation, *how, dtype is _FLOAT32, codes)
    except TypeError:
        return None  # a format or a mode that is no key of a cache, or is wrong, and then is named by `apply`
    if plan.stochastic == (seed is None):
        return None
    (kernel, record, speed), out_dtype, stochastic = plan
    number = np.uint64(as_seed(seed, Rounding.STOCHASTIC)) if stochastic else _NO_SEED
    if out is None:
        result = np.empty(shape, out_dtype)
    elif (
        isinstance(out, np.ndarray) and out.dtype is out_dtype and out.shape == shape and _is_plain(out, writeable=True)
    ):
        for array in arrays:
            if array is not out and np.may_share_memory(array, out):
                return None
        result = out
    else:
        return None
    x = y = z = _flat_read_only(arrays[0])
    if len(arrays) > 1:
        y, z = _flat_read_only(arrays[1]), _flat_read_only(arrays[-1])
    to = result.reshape(-1)
    if to.size < 2 * _GRAIN * speed:
        kernel(x, y, z, _NO_WORDS, number, stream, 0, to, _NO_FLAGS, record)
    else:

        def run(start: int, stop: int) -> None:
            part = slice(start, stop)
            kernel(x[part], y[part], z[part], _NO_WORDS, number, stream, start, to[part], _NO_FLAGS, record)

        map_ranges(run, to.size, smallest=_GRAIN * speed)
    return result if shape or out is not None else result[()]


def _is_plain(array: RealArray, writeable: bool = False) -> bool:
    flags = array.flags
    aligned = flags.carray or (not writeable and flags.c_contiguous and flags.aligned)
    return aligned and type(array) is np.ndarray


def _flat_read_only(array: RealArray) -> RealArray:
    view = array.reshape(-1) if array.ndim != 1 else array.view()
    # Kernels compile for read-only arrays alone. By keyword, this takes twice as long.
    view.setflags(False)  # type: ignore[call-arg]  # NumPy's stubs know keywords only
    return view


class _Plan(NamedTuple):
    shortcut: Shortcut
    dtype: np.dtype[Any]  # of results
    stochastic: bool


@functools.lru_cache(maxsize=1024, typed=True)
def _plan(
    operation: int, fmt: Any, rounding: Any, overflow: Any, random_bits: Any, tininess: str, single: bool, codes: bool
) -> _Plan:
    """Return what does an operation without flags, on float32 (``single``) or float64 operands."""
    fmt, mode, policy = as_format(fmt), as_rounding(rounding), as_overflow(overflow)
    f = parameters(fmt, mode, policy, as_random_bits(random_bits), tininess)
    randomness = COUNTER if mode.is_stochastic else NONE
    chosen = quickest(operation, fmt, mode, policy, f.random_bits, single, randomness, codes)
    return _Plan(chosen, fmt.code_dtype if codes else fmt.carrier, mode.is_stochastic)


def iterate(
    run: Callable[[Sequence[RealArray], int], None],
    inputs: list[RealArray],
    input_dtypes: list[np.dtype[Any]],
    outputs: list[RealArray],
    output_dtypes: list[np.dtype[Any]],
    *,
    ordered: bool,
    speed: int,
) -> None:
    """Call ``run(chunks, start)`` on contiguous 1-D chunks that cover the arrays, in parallel.

    Inputs broadcast to the shape of the outputs and arrive read-only, in native byte order, in the stated
    dtypes. ``start`` is the C-order index of a chunk's first element if ``ordered``.
    ``speed`` says how many times the elements of a general kernel are worth a thread.
    """
    shape = outputs[0].shape
    if outputs[0].size == 0:
        return
    dtypes = [*input_dtypes, *output_dtypes[: len(outputs)]]
    # np.broadcast_to takes microseconds.
    arrays = [array if array.shape == shape else np.broadcast_to(array, shape) for array in inputs] + outputs
    if all(map(_is_flat, arrays, dtypes)):
        flat = [_flat_read_only(array) for array in arrays[: len(inputs)]]
        flat += [array.reshape(-1) for array in outputs]
        map_ranges(
            lambda start, stop: run([array[start:stop] for array in flat], start),
            flat[0].size,
            smallest=_GRAIN * speed,
        )
        return
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
        arrays = [array[0] for array in arrays]
    if not shape:
        _iterate_buffered(run, arrays, dtypes, len(inputs), 0, ordered)
        return
    row = max(outputs[0].size // shape[0], 1)

    def run_rows(first: int, last: int) -> None:
        part = [array[first:last] for array in arrays]
        _iterate_buffered(run, part, dtypes, len(inputs), first * row, ordered)

    map_ranges(run_rows, shape[0], smallest=max(_GRAIN * speed // row, 1))


def _is_flat(array: RealArray, dtype: np.dtype[Any]) -> bool:
    flags = array.flags
    return flags.c_contiguous and flags.aligned and array.dtype == dtype and array.dtype.isnative


def _iterate_buffered(
    run: Callable[[Sequence[RealArray], int], None],
    arrays: list[RealArray],
    dtypes: list[np.dtype[Any]],
    inputs: int,
    start: int,
    ordered: bool,
) -> None:
    # NumPy's stubs lack "contig".
    common: list[Any] = ["contig", "aligned", "nbo"]
    directions = ["readonly"] * inputs + ["writeonly"] * (len(arrays) - inputs)
    with np.errstate(invalid="ignore"):  # casts of signalling NaNs warn, the first ones where the iterator is made
        iterator = np.nditer(
            arrays,
            flags=("external_loop", "buffered", "growinner"),
            op_flags=[[direction, *common] for direction in directions],
            op_dtypes=dtypes,
            order="C" if ordered else "K",
            casting="same_kind",
            buffersize=PIECE,
        )
        with iterator:
            for chunk in iterator:
                run(chunk, start)
                start += chunk[0].size


def _on_wide_inputs(run: Callable[[Sequence[RealArray], int], None], inputs: int) -> Callable[..., None]:
    """Return ``run`` for chunks with float32 inputs, whose signalling NaNs stay such as float64, unlike in casts."""

    def wide(array: RealArray) -> RealArray:
        with np.errstate(invalid="ignore"):
            result = array.astype(np.float64)
        if array.dtype == _FLOAT32:
            signalling = np.isnan(array) & (array.view(np.uint32) & np.uint32(1 << 22) == 0)
            result.view(np.uint64)[signalling] &= np.uint64(~(1 << 51) & ((1 << 64) - 1))
        result.setflags(write=False)
        return result

    def by_piece(chunk: Sequence[RealArray], start: int) -> None:
        for first in range(0, chunk[0].size, PIECE):
            piece = [array[first : first + PIECE] for array in chunk]
            run([*map(wide, piece[:inputs]), *piece[inputs:]], start + first)

    return by_piece


def _output(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], fmt: Format, codes: bool) -> RealArray:
    if out is None:
        return np.empty(shape, dtype)
    if codes:
        allowed = f"unsigned integers of at least {dtype.itemsize * 8} bits, for {fmt}"
        return check_out(out, shape, allowed, lambda d: d.kind == "u" and d.itemsize >= dtype.itemsize)
    return check_value_out(out, shape, fmt)


def _apart(array: RealArray, out: RealArray) -> RealArray:
    """Return the input, copied where writing ``out`` could change what is still to be read."""
    same = (
        array.__array_interface__["data"] == out.__array_interface__["data"]
        and array.strides == out.strides
        and array.shape == out.shape
        and array.dtype == out.dtype
    )
    if not same and np.may_share_memory(array, out):
        return np.array(array)
    return array


def wrap_result(result: RealArray, out: Any, inputs: list[RealArray]) -> Any:
    """Return a result as a ufunc does: ``out`` itself, a scalar for 0-d, the inputs' array subclass."""
    if out is not None:
        return out[0] if isinstance(out, tuple) else out
    subclasses = [array for array in inputs if type(array) is not np.ndarray]
    if subclasses:
        best = max(subclasses, key=lambda array: array.__array_priority__)
        try:
            return best.__array_wrap__(result)
        except ValueError as error:  # np.matrix has two axes
            raise ValueError(
                f"an operand is of {type(best).__name__}, which has no place for the result's shape, {result.shape} "
                f"({error}); allowed: numpy.asarray of it"
            ) from None
    return result if result.ndim else result[()]


def in_pieces(
    function: Callable[..., RealArray], inputs: list[RealArray], dtype: npt.DTypeLike, shape: tuple[int, ...]
) -> RealArray:
    """Return ``function(*inputs)`` for a function of NumPy's elementwise operations, with small temporary arrays.

    The inputs, of shapes that broadcast to ``shape``, come to the function as 1-D pieces in their working dtypes, which
    it must not change.
    """
    result: RealArray = np.empty(shape, dtype)

    def run(chunk: Sequence[RealArray], start: int) -> None:
        with np.errstate(all="ignore"):  # these are per thread
            for first in range(0, chunk[0].size, PIECE):
                piece = [array[first : first + PIECE] for array in chunk]
                piece[-1][...] = function(*piece[:-1])

    dtypes = [working_dtype(array.dtype) for array in inputs]
    iterate(run, inputs, dtypes, [result], [result.dtype], ordered=False, speed=1)
    return result


def as_words(bits: Any, random_bits: int) -> RealArray:
    """Return random integers, if they have so many bits."""
    words = as_array(bits, "bits").view(np.ndarray)
    check_size("bits", words.shape, 8)
    if words.dtype.kind not in "ui":
        raise TypeError(f"bits has dtype {words.dtype}; allowed: integers")
    if words.size and not (words.min() >= 0 and words.max() < 1 << random_bits):
        raise ValueError(
            f"bits holds {words.min()} to {words.max()}; allowed: 0 to 2**{random_bits} - 1 (random_bits={random_bits})"
        )
    return words


def round_real(
    array: RealArray, argument: str, fmt: FormatLike, *rounding: Any, codes: bool = False, stream: int = 0
) -> Any:
    """Round real numbers of any dtype to values or codes, each once; the rest is as for `apply`."""
    operation, prepare = (ADD, as_integer_pair) if has_wide_integers(array) else (ROUND, None)
    return apply(operation, {argument: array}, fmt, *rounding, codes=codes, stream=stream, prepare=prepare)
