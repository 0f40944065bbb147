"""Digests of everything that is promised to be the same on every machine, one for each area.

    python tools/digest.py --check                # compare with tests/digest.json, name the areas that differ
    python tools/digest.py --write                # after a change of what is promised
    python tools/digest.py --check --areas round  # areas that start so
    python tools/digest.py --pythons venv1/bin/python venv2/bin/python   # the same for other interpreters

Inputs come from hashes of integers, not from NumPy's generators. NaNs count as NaNs: their signs and payloads are
promised for matrix units that have ``nan_bits`` alone, and there they count.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if "lpsim" not in sys.modules and not os.environ.get("LPSIM_DIGEST_INSTALLED"):
    sys.path.append(str(ROOT))

import numpy as np  # noqa: E402

import lpsim as lp  # noqa: E402
from lpsim.files import replacing  # noqa: E402

FILE = ROOT / "tests" / "digest.json"

Area = Callable[[], Iterable[Any]]


def bits(label: str, count: int) -> Any:
    """Return so many uint64, the same always."""
    text = b"".join(hashlib.sha256(f"{label}:{i}".encode()).digest() for i in range(-(-count // 4)))
    return np.frombuffer(text, "<u8")[:count].astype(np.uint64)


def numbers(label: str, count: int, spread: int = 20) -> Any:
    """Return float64 numbers of many magnitudes, with special ones among them."""
    words = bits(label, count)
    fraction = (words >> np.uint64(12)).astype(np.float64) * 2.0**-52 + 1.0
    exponent = (words % np.uint64(2 * spread + 1)).astype(np.int64) - spread
    sign = np.where(words & np.uint64(1 << 11), -1.0, 1.0)
    values = sign * np.ldexp(fraction, exponent)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1.5, 2.0**-149, 2.0**-1074, 3.5e38, 1e308, 448.0, 464.0,
               65504.0, 65520.0, 2.0**-24, 2.0**-25, 6.0, 7.0, 240.0, 57344.0, 61440.0]  # fmt: skip
    values[: min(len(special), count // 3)] = special[: min(len(special), count // 3)]
    return values


def canonical(value: Any, keep_nans: bool = False) -> bytes:
    """Return bytes of an array, the same for equal ones; little-endian, NaNs alike."""
    array = np.array(value)
    if array.dtype.kind == "f" and not keep_nans:
        array[np.isnan(array)] = np.nan
    array = array.astype(array.dtype.newbyteorder("<"))
    return f"{array.dtype.str}{array.shape}".encode() + array.tobytes()


def digest(parts: Iterable[Any], keep_nans: bool = False) -> str:
    """Return the digest of arrays."""
    whole = hashlib.sha256()
    for part in parts:
        for one in part if isinstance(part, tuple) else (part,):
            whole.update(canonical(one, keep_nans))
    return whole.hexdigest()


FORMATS = sorted(lp.formats.NAMED_FORMATS)
OTHERS = ["E3M2", "E5M3_unsigned", "E6M9_nosubnormals", "E8M20", "E0M7_finite", "binary8p3se", "E11M30"]
MODES = [mode.name.lower() for mode in lp.Rounding]
POLICIES = [policy.name.lower() for policy in lp.Overflow]
SMALL_FORMATS = ["bfloat16", "float16", "float8_e4m3fn", "float32"]
OPERATIONS = {"round": 1, "encode": 1, "sqrt": 1, "abs": 1, "neg": 1, "add": 2, "sub": 2, "mul": 2, "div": 2, "fma": 3}


def _seed(mode: str) -> dict[str, int]:
    return {"seed": 12345} if "stochastic" in mode else {}


def _operation(name: str) -> Area:
    def area() -> Iterator[Any]:
        function, arguments = getattr(lp, name), OPERATIONS[name]
        for fmt in [*FORMATS, *OTHERS]:
            spread = 40 if lp.format(fmt).carrier == np.float32 else 600
            operands = [numbers(f"{name}{i}", 200, spread) for i in range(arguments)]
            if name == "encode" and not lp.format(fmt).has_nan:
                operands = [np.where(np.isnan(x), 1, x) for x in operands]
            for mode in MODES:
                yield function(*operands, fmt, mode, **_seed(mode))
            for policy in POLICIES if name in ("round", "add") else ():
                if name == "encode" or (policy == "to_nan" and not lp.format(fmt).has_nan):
                    continue
                try:
                    yield function(*operands, fmt, "toward_zero", policy, flags=True)
                except ValueError:
                    yield np.array(0)  # a policy that the format does not have
            with np.errstate(all="ignore"):
                narrow = [x.astype(np.float32) for x in operands]
            yield function(*narrow, fmt)

    return area


def _codes() -> Iterator[Any]:
    for fmt in [*FORMATS, *OTHERS]:
        f = lp.format(fmt)
        codes = (bits(fmt, 300) & np.uint64((1 << f.bits) - 1)).astype(f.code_dtype)
        yield lp.decode(codes, fmt)
        yield lp.pack(codes, fmt)
        yield lp.unpack(lp.pack(codes, fmt), fmt, codes.size)
        yield lp.ulp(numbers("ulp", 100), fmt)
        yield lp.nextafter(numbers("a", 100), numbers("b", 100), fmt)


def _random() -> Iterator[Any]:
    x = np.full(500, 1.0 + 2.0**-9 + 2.0**-12)
    for seed in (0, 1, 2**32, 2**64 - 1):
        for random_bits in (1, 8, 32, 53):
            yield lp.round(x, "bf16", "stochastic", seed=seed, random_bits=random_bits)
        yield lp.round(x, "bf16", "stochastic_equal", seed=seed)


def _unit(name: str) -> Area:
    def area() -> Iterator[Any]:
        unit = lp.units.NAMED_UNITS[name]
        a, b = numbers("A", 9 * 70, 5).reshape(9, 70), numbers("B", 70 * 11, 5).reshape(70, 11)
        wide = numbers("C", 6 * 64, 130).reshape(6, 64), numbers("D", 64 * 6, 130).reshape(64, 6)
        finite = [np.where(np.isfinite(x), x, 0.75) for x in (a[:, :64], b[:64], *wide)]
        for left, right in ((a, b), (finite[0], finite[1]), wide, (finite[2], finite[3])):
            given: dict[str, Any] = {"seed": 5} if unit.is_stochastic else {}
            if unit.scale_format is not None:
                assert unit.scale_block is not None
                blocks = -(-left.shape[1] // unit.scale_block)
                scales = np.ldexp(1.0, (bits("s", left.shape[0] * blocks) % np.uint64(5)).astype(np.int64) - 2)
                given["a_scale"] = scales.reshape(left.shape[0], blocks)
                given["b_scale"] = np.ones((blocks, right.shape[1]))
            yield lp.matmul(left, right, unit, c=1.5, **given)

    return area


def _sums() -> Iterator[Any]:
    x = np.where(np.isfinite(numbers("sum", 1000, 8)), numbers("sum", 1000, 8), 0.5)
    orders = ["sequential", "reverse", "pairwise", "kahan", "interleaved(7)", "blocked(33)", "blocked(32, pairwise)"]
    for order in orders:
        for fmt in SMALL_FORMATS:
            for mode in ("ties_to_even", "toward_zero", "stochastic"):
                yield lp.sum(x.reshape(4, 250), fmt, order=order, axis=1, rounding=mode, **_seed(mode))
                yield lp.dot(
                    x, x[::-1], lp.MatrixUnit("half", accumulator_format=fmt, rounding=mode), order=order, **_seed(mode)
                )


def _scheme(name: str) -> Area:
    def area() -> Iterator[Any]:
        x = np.where(np.isfinite(numbers("Q", 1024, 3)), numbers("Q", 1024, 3), 0.25)
        quantized = lp.quantize(np.clip(x, -50, 50).astype(np.float32).reshape(4, 256), name)
        yield from (quantized.parts[key] for key in sorted(quantized.parts))
        yield quantized.dequantize()

    return area


def _plain() -> Iterator[Any]:
    """The scalar functions, one number at a time."""
    x, y, z = (numbers(f"plain{i}", 60, 30) for i in range(3))
    for fmt in SMALL_FORMATS:
        for mode in MODES:
            f = lp.format(fmt).params(mode)
            for i in range(0, 60, 3):
                word = {"word": 12345 + i} if "stochastic" in mode else {}
                one, two, three = float(x[i]), float(y[59 - i]), float(z[(i * 7) % 60])
                yield np.float64([
                    lp.jit.round(one, f, **word), lp.jit.add(one, two, f, **word), lp.jit.sub(one, two, f, **word),
                    lp.jit.mul(one, two, f, **word), lp.jit.fma(one, two, three, f, **word),
                    lp.jit.div(one, two, f, **word), lp.jit.sqrt(abs(one), f, **word),
                ])  # fmt: skip


def areas() -> dict[str, Area]:
    """Return what is digested, by name."""
    schemes = [name for name in sorted(lp.quantization.NAMED_SCHEMES) if not lp.quantization.get(name).needs]
    return {
        "plain": _plain,
        **{name: _operation(name) for name in OPERATIONS},
        "codes": _codes,
        "random": _random,
        "sums": _sums,
        **{f"unit {name}": _unit(name) for name, unit in lp.units.NAMED_UNITS.items() if name == unit.name},
        **{f"scheme {name}": _scheme(name) for name in schemes},
    }


def digests(chosen: Iterable[str] = ("",)) -> dict[str, str]:
    """Return the digests of the areas whose names start with one of the texts."""
    result = {}
    for name, area in areas().items():
        if name.startswith(tuple(chosen)):
            keep = name.startswith("unit ") and lp.units.NAMED_UNITS[name[5:]].nan_bits is not None
            with np.errstate(all="ignore"):
                result[name] = digest(area(), keep)
    return result


def main() -> int:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--areas", nargs="*", default=[""])
    parser.add_argument("--pythons", nargs="*", default=[], help="interpreters that check as well")
    given = parser.parse_args()
    failed = 0
    for python in given.pythons:
        failed |= subprocess.run([python, __file__, "--check", "--areas", *given.areas], check=False).returncode
    if given.pythons:
        return failed
    found = digests(given.areas)
    if given.write:
        with replacing(FILE, "w") as file:
            file.write(json.dumps(found, indent=1, sort_keys=True) + "\n")
        return 0
    if not given.check:
        print(json.dumps(found, indent=1, sort_keys=True))
        return 0
    known = json.loads(FILE.read_text())
    wrong = [name for name, one in found.items() if known.get(name) != one]
    versions = f"Python {sys.version.split()[0]}, NumPy {np.__version__}, Numba {__import__('numba').__version__}"
    print(
        f"{len(found) - len(wrong)} of {len(found)} areas are the same ({versions})"
        + "".join(f"\n  {name} differs" for name in wrong)
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
