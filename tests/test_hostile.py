"""What the fuzzer found: each call is refused in a sentence, and ends."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lpsim as lp

HUGE = np.broadcast_to(np.float32(1), (1 << 45,))
MOST_AXES = 64 if int(np.__version__.split(".", maxsplit=1)[0]) >= 2 else 32


@pytest.mark.parametrize(
    "call",
    [
        lambda: lp.round(HUGE, "half"),
        lambda: lp.add(HUGE.astype("f4", copy=False), 1, "half"),
        lambda: lp.add(np.ones((1 << 22, 1)), np.ones((1, 1 << 22)), "half"),
        lambda: lp.decode(np.broadcast_to(np.int64(1), (1 << 50,)), "half"),
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
        lambda: np.cumsum(lp.array([1.0], "half"), axis=np.array([1, 2])),
        lambda: np.equal(lp.array([1.0, 2.0], "half"), 1.0, out=np.array(True)),
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
