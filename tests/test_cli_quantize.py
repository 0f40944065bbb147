"""``lpsim quantize``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import lpsim as lp
from lpsim.quantization import NAMED_SCHEMES, load_arrays


def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lpsim", "quantize", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "layer.w": rng.normal(size=(6, 64)).astype(np.float32),
        "layer.odd": rng.normal(size=(6, 50)),
        "bias": rng.normal(size=64).astype(np.float16),
        "ids": np.arange(5),
        "one": np.float32(3),
    }


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("target", [".npz", ".safetensors"])
def test_files(suffix: str, target: str, arrays: dict[str, Any], tmp_path: Path) -> None:
    source, out = tmp_path / f"in{suffix}", tmp_path / f"out{target}"
    if suffix == ".npz":
        np.savez(source, **arrays)
    else:
        save_file({name: np.asarray(array) for name, array in arrays.items()}, source)
    done = run(source, "--scheme", "mxfp4", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    rows = {row["name"]: row for row in report["arrays"]}
    assert rows.keys() == arrays.keys()
    assert {name for name, row in rows.items() if row["kept"] is None} == {"layer.w", "bias"}
    assert "multiples of the block length, 32" in rows["layer.odd"]["kept"]
    assert rows["ids"]["kept"] == "dtype int64"
    loaded = load_arrays(out)
    for name, array in arrays.items():
        if rows[name]["kept"] is None:
            expected = lp.quantize(array, "mxfp4")
            assert loaded[name].tobytes() == expected.tobytes()
            assert rows[name]["relative_rms"] == expected.error(array).relative_rms
            assert rows[name]["bits_per_value"] == 4.25
        else:
            assert np.array_equal(loaded[name], array)  # type: ignore[arg-type]
    assert report["worst"] in ("layer.w", "bias")


def test_table(arrays: dict[str, Any], tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", arrays["layer.w"])
    done = run(tmp_path / "w.npy", "--scheme", "affine(bits=4, group=3)", "--axis", 0)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 arrays quantised" in done.stdout
    assert "6 × 64" in done.stdout


def test_list() -> None:
    done = run("--list")
    assert all(name in done.stdout for name in NAMED_SCHEMES)
    assert {row["name"] for row in json.loads(run("--list", "--json").stdout)} == set(NAMED_SCHEMES)


def test_bad_input(arrays: dict[str, Any], tmp_path: Path) -> None:
    good, pickled, damaged = tmp_path / "a.npy", tmp_path / "b.npy", tmp_path / "c.npz"
    np.save(good, arrays["layer.w"])
    np.save(pickled, np.array([{}]), allow_pickle=True)
    np.savez(damaged, **arrays)
    damaged.write_bytes(damaged.read_bytes()[:300])
    (tmp_path / "d.safetensors").write_bytes(b"\xff" * 20)
    np.save(tmp_path / "e.npy", arrays["ids"])
    np.save(tmp_path / "nan.npy", np.array([1, np.nan]))
    for line, message in (
        ((), "IN is missing; allowed: a file and --scheme, or --list"),
        ((good,), "--scheme is missing"),
        ((good, "--scheme", "nf5"), "--scheme: scheme is 'nf5'; allowed: "),
        ((good, "--scheme", "nf4(block=3)"), "--scheme: block is 3; allowed: an even integer"),
        ((good, "--scheme", "gptq"), "needs calibration inputs"),
        ((good, "--scheme", "nf4", "--out", tmp_path / "x.bin"), "allowed: a name that ends in .npz or .safetensors"),
        ((good, "--scheme", "nf4", "--out", tmp_path / "no" / "x.npz"), "in a folder that exists"),
        ((tmp_path / "a.bin", "--scheme", "nf4"), "allowed: names that end in .npy, .npz, .safetensors"),
        ((tmp_path / "no.npy", "--scheme", "nf4"), "No such file"),
        ((pickled, "--scheme", "nf4"), "cannot read"),
        ((damaged, "--scheme", "nf4"), "cannot read"),
        ((tmp_path / "d.safetensors", "--scheme", "nf4"), "cannot read"),
        ((tmp_path / "e.npy", "--scheme", "nf4"), "in which no array can be quantised: dtype int64"),
        ((tmp_path / "nan.npy", "--scheme", "nf4"), "array: x is nan at index (1,)"),
    ):
        done = run(*line)
        assert done.returncode == 2, (line, done.stdout, done.stderr)
        assert message in done.stderr, (line, done.stderr)
        assert "Traceback" not in done.stderr
