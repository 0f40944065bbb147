"""What all schemes share: arguments, axes, errors, files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lpsim as lp
from lpsim.quantization import NAMED_SCHEMES, Layout, Parts, Scheme, scheme_from_dict
from lpsim.quantization.scheme import RealMatrix


@dataclasses.dataclass(frozen=True)
class Halves(Scheme):
    """A scheme for these tests: row maxima, and halves of them in whole steps."""

    steps: int = 2
    block: int = 1

    def check_shape(self, rows: int, n: int) -> None:
        if n % self.block:
            raise ValueError(f"x has rows of {n}; allowed: multiples of {self.block}")

    def layout(self, rows: int, n: int) -> Layout:
        return {"codes": (np.int8, (rows, n)), "scales": (np.float32, (rows, 1))}

    def quantize_matrix(self, x: RealMatrix, **given: Any) -> Parts:
        scales = np.abs(x).max(axis=1, keepdims=True, initial=0)
        codes = np.rint(np.divide(x * self.steps, scales, out=np.zeros_like(x), where=scales > 0))
        return {"codes": codes.astype(np.int8), "scales": scales}

    def dequantize_matrix(self, parts: Parts, rows: int, n: int) -> RealMatrix:
        values: RealMatrix = parts["codes"] * parts["scales"] / np.float32(self.steps)
        return values


def test_axes() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    for axis in (-3, -2, -1, 0, 1, 2):
        quantized = lp.quantize(x, Halves(), axis)
        expected = np.moveaxis(lp.quantize(np.moveaxis(x, axis, -1), Halves()).dequantize(), -1, axis)
        assert quantized.axis == axis % 3
        assert quantized.dequantize().shape == x.shape
        assert np.array_equal(quantized.dequantize(), expected)
        assert np.array_equal(lp.fake_quantize(x, Halves(), axis), expected)
    assert quantized.nbytes == 60 + 4 * 12
    assert quantized.bits_per_value == 8 * quantized.nbytes / 60
    assert quantized.dequantize(np.float16).dtype == np.float16


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0), (2, 0, 3)])
def test_empty(shape: tuple[int, ...]) -> None:
    quantized = lp.quantize(np.empty(shape), Halves())
    assert quantized.dequantize().shape == shape
    assert quantized.error(np.empty(shape)) == lp.quantization.QuantizationError(0.0, 0.0, 0.0, ())


def test_error() -> None:
    x = np.array([[4, 1, -3], [0, 0, 0]])
    error = lp.quantize(x, Halves()).error(x)
    assert error.index == (0, 1)
    assert error.max_abs == 1
    assert error.relative_rms == pytest.approx(np.sqrt(2 / 26))
    assert error.rms == pytest.approx(np.sqrt(2 / 6))
    with pytest.raises(ValueError, match=r"x has shape \(3,\); allowed: \(2, 3\)"):
        lp.quantize(x, Halves()).error(x[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, Halves()), "x is 0-d; allowed: at least one axis"),
        (([1.0], Halves(), 1), "axis is 1; allowed for 1 axes: -1 to 0"),
        (([1.0, 2.0], Halves(block=3)), "x has rows of 2; allowed: multiples of 3"),
        (([[1.0], [np.nan]], Halves()), r"x is nan at index \(1, 0\), for which Halves has no rule"),
        (([1.0, 1e39], Halves()), r"x is 1e\+39 at index \(1,\), for which Halves has no rule"),
        (([1.0], "nothing"), "scheme is 'nothing'; allowed: "),
    ],
)
def test_bad_values(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lp.quantize(*arguments)


def test_bad_types() -> None:
    with pytest.raises(TypeError, match="scheme is 4; allowed: a scheme"):
        lp.quantize([1.0], 4)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="calibration= is given, which Halves does not take"):
        lp.quantize([1.0], Halves(), calibration=3)
    with pytest.raises(TypeError, match=r"axis is 0\.5; allowed: an integer"):
        lp.quantize([1.0], Halves(), 0.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="dtype is int32; allowed: floating-point dtypes"):
        lp.quantize([1.0], Halves()).dequantize(np.int32)


def test_large_sums_are_no_infinities() -> None:
    x = np.full(100, 3e38, np.float32)
    assert np.array_equal(lp.fake_quantize(x, Halves(steps=1)), x)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_files(suffix: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    quantized = lp.quantize(x, Halves(steps=5), axis=1)
    path = tmp_path / f"x{suffix}"
    quantized.save(path)
    loaded = lp.Quantized.load(path)
    assert (loaded.scheme, loaded.shape, loaded.axis) == (quantized.scheme, (3, 4, 5), 1)
    assert loaded.tobytes() == quantized.tobytes()
    assert np.array_equal(loaded.dequantize(), quantized.dequantize())
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    damaged = path.read_bytes()
    for cut in (0, 10, len(damaged) // 2, len(damaged) - 1):
        path.write_bytes(damaged[:cut])
        with pytest.raises(ValueError, match="holds no quantised array that lpsim wrote"):
            lp.Quantized.load(path)


def test_files_that_lie(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    good = {"codes": np.zeros((2, 4), np.int8), "scales": np.ones((2, 1), np.float32)}
    header = {"scheme": Halves().asdict(), "shape": [2, 4], "axis": 1}

    def write(parts: dict[str, Any] = good, **changes: Any) -> None:
        np.savez(path, lpsim=np.array(json.dumps({"": {**header, **changes}})), **parts)

    write()
    assert lp.Quantized.load(path).shape == (2, 4)
    for changes in (
        {"shape": [2, -4]},
        {"shape": [4, 2]},
        {"shape": "ab"},
        {"axis": 2},
        {"axis": -1},
        {"scheme": {"scheme": "Other"}},
        {"scheme": {"scheme": "Halves", "size": 3}},
        {"parts": {"codes": good["codes"]}},
        {"parts": {**good, "scales": np.ones((2, 1))}},
        {"parts": {**good, "zeros": np.ones((2, 1))}},
        {"parts": {**good, "scales": np.array([None, None], object)}},
    ):
        write(**changes)
        with pytest.raises(ValueError, match="holds no quantised array that lpsim wrote"):
            lp.Quantized.load(path)
    with pytest.raises(ValueError, match=r"allowed: names that end with \.npz or \.safetensors"):
        lp.quantize([1.0], Halves()).save(tmp_path / "x.bin")


@pytest.mark.parametrize("name", NAMED_SCHEMES)
def test_named_schemes_survive_json(name: str) -> None:
    scheme = lp.quantization.get(name)
    assert scheme_from_dict(json.loads(json.dumps(scheme.asdict()))) == scheme
    assert lp.quantization.get(name.upper()) == scheme
    if not scheme.needs:
        x = np.random.default_rng(0).normal(size=(4, 512)).astype(np.float32)
        quantized = lp.quantize(x, scheme)
        layout = scheme.layout(4, 512)
        assert {key: (np.dtype(d), s) for key, (d, s) in layout.items()} == {
            key: (part.dtype, part.shape) for key, part in quantized.parts.items()
        }
        assert quantized.error(x).relative_rms < 0.5


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_several_arrays(suffix: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, bias = rng.normal(size=(4, 64)), rng.normal(size=4).astype(np.float32)
    arrays = {"layer.0.w": lp.quantize(x, "nf4"), "layer.1.w": lp.quantize(x, "mxfp4", axis=-1), "bias": bias}
    path = tmp_path / f"model{suffix}"
    lp.quantization.save_arrays(arrays, path)
    loaded = lp.quantization.load_arrays(path)
    assert loaded.keys() == arrays.keys()
    assert np.array_equal(loaded["bias"], bias)
    for name in ("layer.0.w", "layer.1.w"):
        assert np.array_equal(loaded[name].dequantize(), arrays[name].dequantize())  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="holds several arrays; allowed: files of one"):
        lp.Quantized.load(path)
    with pytest.raises(ValueError, match="a name is 'a/b'; allowed: names without a slash"):
        lp.quantization.save_arrays({"a/b": bias}, path)


def test_nothing_is_left_of_a_file_that_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **parts: Any) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "x.npz"
    lp.quantize([1.0], Halves()).save(path)
    before = path.read_bytes()
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        lp.quantize([2.0], Halves()).save(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["x.npz"]
