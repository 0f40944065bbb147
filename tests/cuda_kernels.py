"""Every kernel of lpsim.cuda, compiled to PTX without a GPU, as a program: it prints what is in each as JSON."""

import collections
import json
import re
import sys
import types as python_types

import numba.cuda.dispatcher
from numba import cuda, typeof, types

import lpsim as lp
from lpsim.core.short import FmaParams
from lpsim.cuda import arrays, elementwise, functions, gemm, matmul, orders, steps
from lpsim.dots import dot_parameters
from lpsim.parameters import parameters
from lpsim.rounding import Overflow, Rounding
from lpsim.shortcuts import decode_way, short_way
from lpsim.steps import step_passes

COMPUTE_CAPABILITY = (9, 0)

FLOATS, DOUBLES = types.float32[::1], types.float64[::1]
INTEGERS, BYTES, CODES = types.int64[::1], types.uint8[::1], types.uint16[::1]
FLOAT_STACK, DOUBLE_STACK, BYTE_STACK = types.float32[:, :, ::1], types.float64[:, :, ::1], types.uint8[:, :, ::1]
ANY = types.Array(types.float32, 4, "A")
SEED, INTEGER = types.uint64, types.int64


def elementwise_kernels():
    general = typeof(parameters(lp.float16))
    for operation in range(7):
        for single in (True, False):
            numbers = FLOATS if single else DOUBLES
            for randomness, codes in ((0, False), (1, False), (2, True)):
                kernel = elementwise.operation_kernel(
                    operation, single=single, sign=0, randomness=randomness, flags=not codes, codes=codes
                )
                out = CODES if codes else FLOATS
                yield (
                    f"operation {operation} single={single} randomness={randomness}",
                    kernel,
                    (numbers, numbers, numbers, INTEGERS, SEED, INTEGER, out, BYTES, general),
                )
        for mode in (Rounding.TIES_TO_EVEN, Rounding.TOWARD_ZERO, Rounding.STOCHASTIC):
            for fmt in (lp.float16, lp.bfloat16, lp.tf32, lp.float64):
                way = short_way(operation, fmt, mode, Overflow.IEEE, 32, True)
                if way is None:
                    continue
                if isinstance(way.params, FmaParams):
                    kernel = elementwise.narrow_fma_kernel()
                else:
                    kernel = elementwise.short_kernel(
                        operation, wide=way.wide, kind=way.kind, sticky=way.sticky, sign=0,
                        randomness=int(mode.is_stochastic), codes=False,
                    )  # fmt: skip
                out = DOUBLES if fmt == lp.float64 else FLOATS
                numbers = (FLOATS, FLOATS, FLOATS, INTEGERS, SEED, INTEGER, out, BYTES, typeof(way.params))
                yield f"short {operation} {mode.name} {fmt}", kernel, numbers
    for sign in (elementwise.NEGATED, elementwise.ABSOLUTE):
        kernel = elementwise.operation_kernel(0, single=True, sign=sign, randomness=0, flags=True, codes=False)
        yield f"sign {sign}", kernel, (FLOATS,) * 3 + (INTEGERS, SEED, INTEGER, FLOATS, BYTES, general)
    yield "decode", elementwise.decode_kernel(), (CODES, FLOATS, general)
    for fmt in (lp.float16, lp.float64):
        wide, params = decode_way(fmt)
        signature = (CODES, DOUBLES if wide else FLOATS, typeof(params))
        yield f"short decode {fmt}", elementwise.short_decode_kernel(wide=wide), signature


def product_kernels():
    general = typeof(parameters(lp.float16))
    yield "gemm", gemm.gemm_kernel(gemm.best_tiling(), zero=False), (FLOAT_STACK,) * 3 + (INTEGER,)
    yield "native", gemm.native_kernel(), (DOUBLE_STACK,) * 3
    unit = lp.MatrixUnit
    for number, one in enumerate(
        (
            lp.units.fp16_fp16acc,
            lp.units.bf16_bf16acc,
            unit("fp16", accumulator_format="fp16", rounding="toward_zero"),
            unit("fp16", accumulator_format="fp16", product_format="fp16", rounding="stochastic", random_bits=13),
            unit("bf16", accumulator_format="bf16"),
        )
    ):
        for wide in (False, True):
            for found in step_passes(one, wide) or ():
                stack = DOUBLE_STACK if found.options["wide"] else FLOAT_STACK
                signature = (stack,) * 4 + (BYTE_STACK, SEED, INTEGER, types.float64)
                signature += (typeof(found.arguments[1]), typeof(found.arguments[2]), INTEGER)
                kernel = steps.step_kernel(steps.best_tiling(), **found.options)
                yield f"steps {number} wide={wide} clamped={found.options['clamped']}", kernel, signature
    for wide in (False, True):
        stack = DOUBLE_STACK if wide else FLOAT_STACK
        for stochastic in (False, True):
            for has_product in (False, True):
                kernel = orders.order_kernel(
                    wide=wide, stochastic=stochastic, outer_stochastic=stochastic, has_product=has_product, flushes=wide
                )
                signature = (stack,) * 3 + (SEED,) + (general,) * 3 + (INTEGER,) * 4
                yield f"order wide={wide} stochastic={stochastic} product={has_product}", kernel, signature
    dot = typeof(dot_parameters(lp.units.h100.fp16))
    for stochastic in (False, True):
        kernel = orders.dot_kernel(16, stochastic=stochastic, outer_stochastic=stochastic)
        yield f"dot stochastic={stochastic}", kernel, (DOUBLE_STACK,) * 5 + (SEED, general, general, dot)


def other_kernels():
    yield "copy", arrays._copy_kernel, (FLOATS, DOUBLES)
    yield "copy halves", arrays._copy_kernel, (types.float16[::1], FLOATS)
    yield "fill", arrays._fill_kernel, (FLOATS, types.float32)
    yield "strided copy", arrays._strided_copy_kernel, (ANY, ANY)
    yield "NaN", functions._nan_kernel, (FLOATS, BYTES)
    yield "outside", functions._outside_kernel, (types.int32[::1], INTEGER, BYTES)
    yield "result NaN", matmul._nan_kernel, (types.int32[::1], types.int32)
    yield "flush", matmul._flush_kernel, (FLOATS, INTEGER, INTEGER)
    yield "differs", matmul._differs_kernel, (FLOATS, DOUBLES, BYTES)


INSTRUCTION = re.compile(r"^\s+(?:@!?%p\d+\s+)?([a-z][a-z0-9_.]*)\s+([^;]*);", re.MULTILINE)


def fusible(instructions):
    """Return the sums that an assembler may fuse with a product before them: neither says how it is rounded."""
    products, found = set(), 0
    for name, operands in instructions:
        base, *rest = name.split(".")
        if not rest or rest[-1] not in ("f32", "f64"):
            continue
        registers = re.findall(r"%fd?\d+", operands)
        if base == "mul" and "rn" not in rest:
            products.add(registers[0])
        elif base in ("add", "sub") and "rn" not in rest:
            found += any(register in products for register in registers[1:])
    return found


def compiled(kernel, signature):
    """Return a kernel in PTX, and as a compiler makes it that is told to fuse nothing."""
    nvvm = numba.cuda.dispatcher.nvvm
    compile_ir, unfused = nvvm.compile_ir, []

    def both(ir, **options):
        unfused.append(compile_ir(ir, **options, fma=False).decode())
        return compile_ir(ir, **options)

    nvvm.compile_ir = both
    try:
        ptx, _ = cuda.compile_ptx(kernel.py_func, types.void(*signature), cc=COMPUTE_CAPABILITY)
    finally:
        nvvm.compile_ir = compile_ir
    return ptx, unfused[0]


def main(only):
    numba.cuda.dispatcher.get_current_device = lambda: python_types.SimpleNamespace(
        compute_capability=COMPUTE_CAPABILITY
    )
    fused = {}

    def count(instructions):
        return collections.Counter(name.split(".")[0] for name, _ in instructions if re.search(r"\.f(32|64)$", name))

    for generator in (elementwise_kernels, product_kernels, other_kernels):
        for name, kernel, signature in generator():
            if only and not name.startswith(only):
                continue
            ptx, plain = compiled(kernel, signature)
            instructions, unfused = INSTRUCTION.findall(ptx), INSTRUCTION.findall(plain)
            fused[name] = {
                "fma": count(instructions)["fma"],
                "fma where nothing is fused": count(unfused)["fma"],
                "fusible": fusible(instructions),
                "local memory": bool(re.search(r"\b(?:ld|st)\.local", ptx)),
                "calls": sum(one.startswith("call") for one, _ in instructions),
                "vectors": len(re.findall(r"ld\.shared\.v4\.f32", ptx)),
                "approximate": [one for one, _ in instructions if re.search(r"\.(approx|ftz|full)", one)],
            }
    print(json.dumps(fused))


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
