"""The innermost part of a matrix product: a tile of accumulators that stays in the processor's registers.

Numba's language has no vectors, so that this is written in LLVM's. One step of k is one fused multiply-add for each
vector of the tile; each accumulator takes its steps one after the other, k ascending, as the scalar loop does.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import config
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

__all__ = ["Tile", "best_tile", "multiply_tile", "pointer", "read", "tile_for", "transpose"]


class Tile(NamedTuple):
    """The shape of the accumulators: they fill the vector registers, but for those of one step's operands."""

    rows: int
    columns: int
    lanes: int  # numbers in a vector


def tile_for(features: dict[str, bool]) -> Tile:
    """Return the tile for a processor with these features (LLVM's names)."""
    if features.get("avx512f"):
        return Tile(12, 32, 16)
    if features.get("avx2") and features.get("fma"):
        return Tile(6, 16, 8)
    if features.get("neon") or features.get("fp-armv8"):
        return Tile(8, 12, 4)
    return Tile(4, 8, 4)


@functools.cache
def best_tile() -> Tile:
    """Return the tile for the processor that Numba compiles for."""
    chosen = config.CPU_FEATURES  # an empty string for NUMBA_CPU_NAME=generic
    names = (get_host_cpu_features() if chosen is None else chosen).split(",")
    return tile_for({name[1:]: name.startswith("+") for name in names})


@intrinsic  # type: ignore[untyped-decorator]
def pointer(typing_context: Any, address: Any) -> Any:
    """Return a float32 pointer to an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.float32)(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def read(typing_context: Any, base: Any, i: Any) -> Any:
    """Return ``base[i]`` of memory that nothing writes meanwhile, so that loops which write elsewhere vectorise."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        load = builder.load(builder.gep(arguments[0], [arguments[1]]))
        load.set_metadata("invariant.load", builder.module.add_metadata([]))
        return load

    return types.float32(base, types.int64), generate


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def multiply_tile(
    typing_context: Any,
    rows: Any,
    columns: Any,
    lanes: Any,
    a: Any,
    b: Any,
    steps: Any,
    start: Any,
    start_stride: Any,
    result: Any,
    result_stride: Any,
) -> Any:
    """Add the products of two packed panels to a tile: ``result[i, j] = start[i, j] + sum_k a[k, i] * b[k, j]``.

    ``rows``, ``columns`` and ``lanes`` are constants, ``a``, ``b``, ``start`` and ``result`` float32 pointers, all
    else int64. Rows of ``start`` and ``result`` are contiguous, strides count elements. NaNs come out as the
    positive quiet one, as processors differ in the sign and payload of the NaNs that they make.
    """
    tile = Tile(rows.literal_value, columns.literal_value, lanes.literal_value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _generate(builder, tile, *arguments[3:])
        return context.get_dummy_value()

    signature = types.void(rows, columns, lanes, a, b, types.int64, start, types.int64, result, types.int64)
    return signature, generate


def _generate(
    builder: Any,
    tile: Tile,
    a: Any,
    b: Any,
    steps: Any,
    start: Any,
    start_stride: Any,
    result: Any,
    result_stride: Any,
) -> None:
    index, number = ir.IntType(64), ir.FloatType()
    vector = ir.VectorType(number, tile.lanes)
    places = [(i, j) for i in range(tile.rows) for j in range(tile.columns // tile.lanes)]
    fma = _vector_fma(builder.module, vector)

    def element(base: Any, offset: Any) -> Any:
        return builder.gep(base, [offset])

    def vector_at(base: Any, stride: Any, i: int, j: int) -> Any:
        offset = builder.add(builder.mul(stride, index(i)), index(j * tile.lanes))
        return builder.bitcast(element(base, offset), vector.as_pointer())

    body, done = builder.append_basic_block("tile.step"), builder.append_basic_block("tile.done")
    initial = [builder.load(vector_at(start, start_stride, i, j), align=4) for i, j in places]
    begun = builder.block
    # The tile below is likely to be the next one.
    _prefetch(builder, [vector_at(result, result_stride, i + tile.rows, j) for i, j in places])
    builder.cbranch(builder.icmp_signed(">", steps, index(0)), body, done)

    builder.position_at_end(body)
    step = builder.phi(index)
    sums = [builder.phi(vector) for _ in places]
    row_of_a = element(a, builder.mul(step, index(tile.rows)))
    row_of_b = element(b, builder.mul(step, index(tile.columns)))
    terms = [
        builder.load(vector_at(row_of_b, index(0), 0, j), align=4 * tile.lanes)
        for j in range(tile.columns // tile.lanes)
    ]
    factors = [_broadcast(builder, builder.load(element(row_of_a, index(i))), vector) for i in range(tile.rows)]
    added = [builder.call(fma, [factors[i], terms[j], total]) for (i, j), total in zip(places, sums, strict=True)]
    following = builder.add(step, index(1))
    step.add_incoming(index(0), begun)
    step.add_incoming(following, body)
    for total, first, then in zip(sums, initial, added, strict=True):
        total.add_incoming(first, begun)
        total.add_incoming(then, body)
    builder.cbranch(builder.icmp_signed("<", following, steps), body, done)

    builder.position_at_end(done)
    nan = ir.Constant(vector, [ir.Constant(number, float("nan"))] * tile.lanes)
    totals = [builder.phi(vector) for _ in places]
    for total, first, then in zip(totals, initial, added, strict=True):
        total.add_incoming(first, begun)
        total.add_incoming(then, body)
    for (i, j), total in zip(places, totals, strict=True):
        plain = builder.select(builder.fcmp_unordered("uno", total, total), nan, total)
        builder.store(plain, vector_at(result, result_stride, i, j), align=4)


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def transpose(typing_context: Any, width: Any, lanes: Any, source: Any, source_stride: Any, target: Any) -> Any:
    """Copy ``target[step * width + line] = source[line * source_stride + step]`` for as many steps as lanes.

    ``width`` and ``lanes`` are constants, and lanes a multiple of 4.
    """
    sizes = width.literal_value, lanes.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _generate_transpose(builder, *sizes, *arguments[2:])
        return context.get_dummy_value()

    return types.void(width, lanes, source, types.int64, target), generate


def _generate_transpose(builder: Any, width: int, lanes: int, source: Any, stride: Any, target: Any) -> None:
    # Squares of 4 x 4, as many as vectors hold side by side, are what processors transpose well.
    index, number = ir.IntType(64), ir.FloatType()
    vector = ir.VectorType(number, lanes)
    squares = range(0, lanes, 4)

    def shuffled(x: Any, y: Any, order: list[int]) -> Any:
        """Shuffle within each four lanes; 4 to 7 are those of y."""
        places = [first + i % 4 + (lanes if i >= 4 else 0) for first in squares for i in order]
        return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), lanes), places))

    for top in range(0, width, 4):
        count = min(4, width - top)
        lines = []
        for line in range(top, top + count):
            place = builder.gep(source, [builder.mul(stride, index(line))])
            lines.append(builder.load(builder.bitcast(place, vector.as_pointer()), align=4))
        lines += [ir.Constant(vector, ir.Undefined)] * (4 - count)
        low = [shuffled(lines[i], lines[i + 1], [0, 4, 1, 5]) for i in (0, 2)]
        high = [shuffled(lines[i], lines[i + 1], [2, 6, 3, 7]) for i in (0, 2)]
        part = ir.VectorType(number, count)
        for step in range(4):
            pairs = low if step < 2 else high
            columns = shuffled(pairs[0], pairs[1], [2, 3, 6, 7] if step % 2 else [0, 1, 4, 5])
            for first in squares:
                places = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(first, first + count)))
                column = builder.shuffle_vector(columns, ir.Constant(vector, ir.Undefined), places)
                place = builder.gep(target, [index((first + step) * width + top)])
                builder.store(column, builder.bitcast(place, part.as_pointer()), align=4)


def _broadcast(builder: Any, number: Any, vector: Any) -> Any:
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    undefined = ir.Constant(vector, ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(undefined, number, ir.IntType(32)(0)), undefined, lanes)


def _prefetch(builder: Any, places: list[Any]) -> None:
    byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
    prefetch = builder.module.declare_intrinsic(
        "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
    )
    for place in places:
        builder.call(prefetch, [builder.bitcast(place, byte), flag(1), flag(3), flag(1)])


def _vector_fma(module: Any, vector: Any) -> Any:
    # The builder's own fma knows scalars only.
    name = f"llvm.fma.v{vector.count}f32"
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(vector, [vector] * 3), name=name)
