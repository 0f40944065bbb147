"""What the fuzzer found: each call is refused in a sentence, and ends."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lpsim as lp
from lpsim import bounds, errors, memory
from lpsim.npy import read_npy

#: An integer of more digits than Python converts to text.
LONG = 1 << 20000

HUGE = np.broadcast_to(np.float32(1), (1 << 45,))
MOST_AXES = 64 if int(np.__version__.split(".", maxsplit=1)[0]) >= 2 else 32


class Unprintable:
    """What has no text."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "call",
    [
        lambda: lp.round(HUGE, "half"),
        lambda: lp.add(HUGE.astype("f4", copy=False), 1, "half"),
        lambda: lp.add(np.ones((1 << 22, 1)), np.ones((1, 1 << 22)), "half"),
        lambda: lp.decode(np.broadcast_to(np.int64(1), (1 << 50,)), "half"),
        lambda: lp.quantization.pack_words(np.broadcast_to(np.int64(1), (1 << 25, 1 << 25)), 4),
        lambda: lp.quantization.integer_matmul(np.ones((1 << 22, 1), np.int8), np.ones((1, 1 << 22), np.int8)),
        lambda: lp.quantization.Hessian(LONG),
        lambda: lp.round([1.0] * 3, "half", "stochastic", bits=np.broadcast_to(np.int16(0), (1 << 50, 3))),
        lambda: lp.matmul(np.ones((1 << 22, 1), np.float32), np.ones((1, 1 << 22), np.float32)),
    ],
)
def test_sizes_beyond_memory(call: Callable[[], Any]) -> None:
    with pytest.raises(MemoryError, match="allowed"):
        call()


def test_products_of_no_elements_end_whatever_their_depth() -> None:
    a, b = (np.broadcast_to(np.float32(1), shape) for shape in ((0, 1 << 50), (1 << 50, 0)))
    assert lp.matmul(a, b, "h100.e4m3").shape == (0, 0)


def test_arrays_of_as_many_axes_as_there_may_be() -> None:
    x = np.full((1,) * (MOST_AXES - 1) + (2,), 0.1)
    np.testing.assert_array_equal(lp.add(x, x[..., :1], "half"), lp.add([0.1, 0.1], 0.1, "half").reshape(x.shape))
    packed = lp.pack(lp.encode(x, "e4m3fn"), "e4m3fn")
    np.testing.assert_array_equal(lp.unpack(packed, "e4m3fn"), lp.encode(x, "e4m3fn"))


@pytest.mark.parametrize(
    "call",
    [
        lambda: lp.sum([1.0], "half", order="interleaved(100000000000)"),
        lambda: lp.sum([1.0], "half", order="blocked(" + "9" * 5000 + ")"),
        lambda: lp.finfo((1, 2)),
        lambda: lp.unpack(np.zeros(1, np.uint8), "half", np.uint64(3)),
        lambda: lp.Context(random_bits=(1, 2)),  # type: ignore[arg-type]
        lambda: lp.quantize([1.0], "int8").dequantize(()),
        lambda: lp.quantization.unpack_words([[1]], 4, "3"),  # type: ignore[arg-type]
        lambda: lp.quantization.scheme_from_dict([1]),  # type: ignore[arg-type]
        lambda: lp.jit.round(1.0, "half"),
        lambda: lp.jit.round("1", lp.float16.params()),
        lambda: lp.jit.decode(float("inf"), lp.float16.params()),
        lambda: lp.jit.round(np.longdouble(1), lp.float16.params()),
        lambda: np.cumsum(lp.array([1.0], "half"), axis=np.array([1, 2])),
        lambda: np.equal(lp.array([1.0, 2.0], "half"), 1.0, out=np.array(True)),
        lambda: np.clip(lp.array([1.0] * 3, "half"), np.empty((0,) * 5, np.float32), 1.0),
        lambda: np.sqrt(lp.array([1.0, 2.0], "half"), out=np.full(2, 5, "M8")),
        lambda: np.cumsum(lp.array([1.0], "half"), axis=()),
        lambda: np.linalg.norm(lp.array([1.0], "half"), ord=np.array([1, 2])),  # type: ignore[arg-type]
        lambda: lp.array([1.0], "half").take(np.float32("nan")),
        lambda: lp.round(np.full(2, 5, "M8"), "half"),
        lambda: lp.round(Unprintable(), "half"),
        lambda: lp.round(1.0, Unprintable()),
        lambda: lp.round(1.0, "half", Unprintable()),  # type: ignore[arg-type]
        lambda: lp.round(1.0, "E" + "9" * 5000 + "M1"),
        lambda: lp.round(1.0, "half", tininess=[]),  # type: ignore[arg-type]
        lambda: lp.round(1.0, "half", backend=np.array(["cpu", "cuda"])),  # type: ignore[call-arg]
        lambda: lp.round(1.0, "half", "stochastic", seed=LONG),
        lambda: lp.unpack(np.zeros(1, np.uint8), "half", LONG),
        lambda: lp.quantize([1.0], "int8", LONG),
        lambda: lp.quantize([1.0], "nf4(block=" + "-" * 9000 + "1)"),
        lambda: lp.p3109(LONG, 3),
        lambda: lp.float16.magnitude(LONG),
        lambda: lp.float16.magnitude(1.5),  # type: ignore[arg-type]
        lambda: lp.FusedDot(4, 23, alignment=np.array([1, 2])),  # type: ignore[arg-type]
        lambda: lp.FusedDot(LONG, LONG, zero_exponent=LONG),
        lambda: lp.dot(np.ones((1,) * MOST_AXES), np.ones((1,) * 9), "fp32"),
        lambda: lp.quantization.scheme_from_dict({"scheme": "Codebook", "table": ["\0", b"x"]}),
        lambda: lp.quantization.scheme_from_dict({"scheme": "Codebook", "table": b"x"}),
        lambda: lp.quantization.codebook([0, float("nan")]),
        lambda: lp.quantization.codebook(["1", "0"]),  # type: ignore[list-item]
        lambda: lp.quantization.affine(scale=np.array([1.0, 2.0])),  # type: ignore[arg-type]
        lambda: lp.quantization.affine(narrow_range="no"),  # type: ignore[arg-type]
        lambda: lp.quantization.affine(symmetric=True, convention="tensorflow_min_combined"),
        lambda: lp.quantization.llm_int8(LONG),
        lambda: lp.matmul_split([[1.0]], [[1.0]], "3xtf32", block=LONG + 1),
        lambda: lp.array([1.0], "half").dot(lp.array([[1.0], [2.0]], "half")),
        lambda: lp.quantization.affine(group=1 << 64),
        lambda: lp.quantization.bfp(block=LONG),
        lambda: lp.quantization.nf4(block=1 << 64),
        lambda: lp.quantization.unpack_words([[1], [2, 3]], 4, 3),
        lambda: lp.quantization.integer_matmul([[1], [2, 3]], [[1]]),
        lambda: errors.condition(np.ones((2, 3)), np.ones((2, 3))),
        lambda: bounds.matmul_bound([[1.0]], [[1.0]], "fp32", kind="probabilistic", confidence=b"6"),  # type: ignore[arg-type]
    ],
)
def test_the_argument_is_named(call: Callable[[], Any]) -> None:
    with pytest.raises((ValueError, TypeError), match="allowed"):
        call()


def test_a_gguf_header_that_counts_beyond_its_file(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    path = tmp_path / "x.gguf"
    for data in (struct.pack("<4sIQQ", b"GGUF", 3, 1 << 60, 1 << 60), b"", b"GGUF"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"x\.gguf"):
            lp.quantization.read_gguf(path)


def test_npz_files_that_lie(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    file = io.BytesIO()
    np.save(file, np.ones(3))
    for data in (file.getvalue(), b"PK\x03\x04" + bytes(50), b""):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"x\.npz"):
            lp.quantization.load_arrays(path)


def test_npz_files_larger_than_memory_are_no_damaged_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.npz"
    lp.quantize([1.0, 2.0], "int8").save(path)
    monkeypatch.setattr(memory, "_SMALL", 1)
    monkeypatch.setattr(memory, "_available", lambda: 2)
    with pytest.raises(MemoryError, match="allowed"):
        lp.quantization.load_arrays(path)


@pytest.mark.parametrize("shape", [f"({1 << 60}, 4)", "(-1, 4)", "(" + "-" * 7000 + "1,)", "(4, 1"])
def test_headers_are_held_against_the_file(shape: str, tmp_path: Path) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(16)
    with pytest.raises(ValueError, match="its header"):
        read_npy(io.BytesIO(content), len(content))
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("lpsim.npy", content)
    with pytest.raises(ValueError, match="its header"):
        lp.quantization.load_arrays(path)


def test_signalling_nans_do_not_warn_but_raise_flags() -> None:
    signalling = np.array([0x7F800001, 0xFF800001], np.uint32).view(np.float32)
    assert np.isnan(lp.sub(signalling, np.float64([1.0, 2.0]), "half")).all()
    assert np.isnan(lp.sub(signalling[0], np.float64(1), "half", rounding="toward_zero"))
    for other in (np.float32([1, 2]), np.float64([1, 2])):
        _, flags = lp.add(signalling, other, "half", flags=True)
        assert (flags == lp.Flag.INVALID).all()
    with pytest.raises(ValueError, match="allowed"):
        lp.matmul_split(signalling[:, np.newaxis], [[1.0]], "ozaki_int8")
    with pytest.raises(ValueError, match="allowed"):
        lp.ulp_distance(signalling, 1.0, "float64")
    assert np.isnan((lp.array([1.0, 2.0], "float64") / signalling).values).all()


def test_numbers_that_underflow_or_overflow_do_not_warn() -> None:
    with np.errstate(all="raise"):
        lp.fake_quantize([1e-45, 1e-40], "affine")
        lp.quantization.linear([[3e38] * 2], lp.quantize([[3e38] * 2], "int8"), "mi300.fp64")
        lp.quantization.codebook([1e-300, 1.0])
        lp.quantization.Hessian(1).add([[1e-30]])
        assert errors.ulp_error([1e308], [1e-308], "float64")[0] == np.inf
        with pytest.raises(ValueError, match="finite"):
            lp.quantization.Hessian(1).add([[1e300]])


def test_integers_of_arrays() -> None:
    with pytest.raises(OverflowError, match="finite"):
        int(lp.array([np.inf], "half"))
    with pytest.raises(ValueError, match="finite"):
        int(lp.array(np.nan, "half"))
    assert int(lp.array([3.0], "half")) == 3
    code = np.uint64((1 << 64) - 1)
    np.testing.assert_array_equal(lp.jit.decode(code, lp.float64.params()), lp.decode(code, "float64"))


def test_norms_of_nothing_are_zero() -> None:
    for shape, ord in (((0,), np.inf), ((0, 0), np.inf), ((0, 0), 1), ((3, 0), np.inf), ((0,), 2), ((0, 3), "fro")):
        got = np.linalg.norm(lp.array(np.zeros(shape), "half"), ord)
        assert float(got) == 0


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_cumulative_sums_of_nothing(axis: int | None) -> None:
    for shape in ((2, 0), (0, 3), (0, 0)):
        got = lp.array(np.zeros(shape), "half").cumsum(axis=axis)
        assert got.shape == np.zeros(shape).cumsum(axis=axis).shape


def test_blocks_longer_than_all_terms_take_no_longer() -> None:
    a, b = np.full((4, 3), 0.3, np.float32), np.full((3, 4), 0.7, np.float32)
    a[1, 1], b[0, 2] = np.nan, np.inf  # what vectors leave to the careful kernel
    for unit in ("l40s.tf32", "mi100.bf16", "h100.e4m3"):
        long, short = (lp.dot(a, b, unit, order=f"blocked({n})") for n in (1 << 24, 64))
        np.testing.assert_array_equal(long, short)


def test_nothing_takes_no_time_however_often() -> None:
    rows = lp.array(np.broadcast_to(np.float32(1), (1 << 55, 0)), "half")
    assert np.prod(rows, axis=0).shape == (0,)
    assert np.cumsum(rows, axis=0).shape == rows.shape
    integers = (np.broadcast_to(np.int8(1), shape) for shape in ((0, 1 << 50), (1 << 50, 0)))
    assert lp.quantization.integer_matmul(*integers).shape == (0, 0)
    words = (np.broadcast_to(np.float32(1), shape) for shape in ((0, 1 << 50), (1 << 50, 0)))
    assert lp.matmul_split(*words, "ootomo").shape == (0, 0)


def test_a_block_longer_than_all_terms_is_one_of_them() -> None:
    a, b = np.full((2, 9), 0.3, np.float32), np.full((9, 2), 0.7, np.float32)
    for scheme in ("3xtf32", "ootomo"):
        got, expected = (lp.matmul_split(a, b, scheme, block=block) for block in (LONG, 16))
        np.testing.assert_array_equal(got, expected)


def test_sums_of_signalling_nans_do_not_warn() -> None:
    x = np.full((3, 4), 0x7FA00000, np.uint32).view(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for order in ("sequential", "blocked(2)", "interleaved(3)"):
            assert np.isnan(lp.sum(x, "E11M20", order=order, axis=1)).all()


def test_a_matrix_has_no_three_axes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        matrix = np.matrix([1.0, 2.0])
    with pytest.raises(ValueError, match=r"an operand is of matrix, .* \(3, 4, 2\) .*allowed: numpy.asarray"):
        lp.add(matrix, np.ones((3, 4, 2)), "half")
