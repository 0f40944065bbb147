"""Damaged files for each reader."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import random
import struct
import tempfile
import traceback
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import lpsim as lp
from lpsim.cli.inputs import load_matrix
from lpsim.cli.quantize import read_input

__all__ = ["FileJudge"]

PACKAGE = str(Path(lp.__file__).parent)

#: What a pickle would make, were it loaded.
TRACE = "a-pickle-was-loaded"


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def _npy(array: Any, header: str | None = None, body: bytes | None = None) -> bytes:
    file = io.BytesIO()
    if header is None:
        np.save(file, array, allow_pickle=False)
        return file.getvalue()
    text = header.encode("latin1", "replace") + b"\n"
    return (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", len(text) & 0xFFFF)
        + text
        + (array.tobytes() if body is None else body)
    )


class FileJudge:
    """Makes damaged files, has them read, and says what is wrong with the outcome."""

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self._folder = tempfile.TemporaryDirectory()
        self._at = Path(self._folder.name)
        self._trace = self._at / TRACE
        self._good = self._good_files()
        self._warnings: list[str] = []
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, category, *rest: self._warnings.append(f"{category.__name__}: {message}")

    def _good_files(self) -> dict[str, list[bytes]]:
        rows = np.float32([[1.0, -2.0, 0.5, 3.0] * 16] * 2)
        good: dict[str, list[bytes]] = {".npy": [_npy(rows), _npy(rows.T), _npy(np.ones((3, 3), np.int8))]}
        for suffix in (".npz", ".safetensors"):
            good[suffix] = []
            for scheme in ("int8", "nf4", "mxfp4" if "mxfp4" in lp.quantization.NAMED_SCHEMES else "int4"):
                path = self._at / f"good{suffix}"
                lp.quantization.save_arrays({"w": lp.quantize(rows, scheme), "bias": rows[0]}, path)
                good[suffix].append(path.read_bytes())
                lp.quantize(rows, scheme).save(path)
                good[suffix].append(path.read_bytes())
        good[".gguf"] = [self._gguf()]
        return good

    def _gguf(self) -> bytes:
        import gguf

        path = self._at / "good.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_string("text", "some words")
        writer.add_array("numbers", [1, 2, 3])
        writer.add_tensor("plain", np.ones((2, 32), np.float32))
        codes = lp.quantize(np.ones((2, 32), np.float32), lp.quantization.gguf("Q4_0")).codes
        writer.add_tensor("blocks", codes, raw_dtype=gguf.GGMLQuantizationType.Q4_0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()

    def __call__(self, rng: random.Random) -> tuple[str | None, str]:
        """Return what is wrong, or None, and what the file was."""
        suffix = rng.choice([".npy", ".npz", ".safetensors", ".gguf"])
        data, how = self._damaged(rng, suffix)
        path = self._at / f"file{suffix}"
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        wrong = self._read(self._reader(rng, suffix), path)
        return wrong, f"{suffix}, {how}"

    @staticmethod
    def _reader(rng: random.Random, suffix: str) -> Callable[[Path], Any]:
        if suffix == ".npy":
            return rng.choice([lambda path: load_matrix(path, "A"), read_input])
        if suffix == ".gguf":
            return lp.quantization.read_gguf
        return rng.choice([lp.quantization.load_arrays, lp.Quantized.load, read_input])

    def _read(self, read: Callable[[Path], Any], path: Path) -> str | None:
        self._warnings.clear()
        said = io.StringIO()
        wrong = None
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                result = read(path)
                for one in result.values() if isinstance(result, dict) else [result]:
                    if isinstance(one, lp.Quantized) and one.rows * one.n < 1 << 16:
                        self._use(one)
            outcome = "read"
        except SystemExit as error:
            outcome = "refused"
            text = said.getvalue()
            if error.code in (0, None) or str(path) not in text.replace("\n", ""):
                wrong = f"exit {error.code}: {text!r}"
        except ValueError as error:
            outcome = "refused"
            frames = traceback.extract_tb(error.__traceback__)
            if str(path) not in str(error) or not frames[-1].filename.startswith(PACKAGE):
                wrong = f"ValueError: {error!s:.200} [{frames[-1].filename}:{frames[-1].lineno}]"
        except Exception as error:
            outcome = type(error).__name__
            frames = traceback.extract_tb(error.__traceback__)
            if type(error).__name__ != "Exit" or str(path) not in said.getvalue().replace("\n", ""):
                at = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames[-4:]))
                wrong = f"{type(error).__name__}: {error!s:.200} {said.getvalue()!r:.200} [{at}]"
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        if self._trace.exists():
            self._trace.rmdir()
            return "a pickle was loaded"
        if wrong is None and self._warnings:
            wrong = f"a warning: {self._warnings[0]}"
        if wrong is None and said.getvalue() and outcome == "read":
            wrong = f"output: {said.getvalue()!r:.200}"
        return wrong

    @staticmethod
    def _use(quantized: Any) -> None:
        """What is read can be used."""
        quantized.dequantize()

    # Damage.

    def _damaged(self, rng: random.Random, suffix: str) -> tuple[bytes, str]:
        own = {".npy": self._lying_npy, ".npz": self._lying_npz, ".safetensors": self._lying_safetensors}
        good = rng.choice(self._good[suffix])
        kind = rng.randrange(9)
        if kind == 0:
            return good[: rng.randrange(len(good) + 1)], "truncated"
        if kind == 1:
            return good + rng.randbytes(rng.randint(1, 64)), "longer"
        if kind == 2:
            other = rng.choice([name for name in self._good if name != suffix])
            return rng.choice(self._good[other]), f"a {other} file"
        if kind == 3:
            return rng.randbytes(rng.randint(0, 200)), "noise"
        if kind in (4, 5) and suffix in own:
            return own[suffix](rng)
        flipped = bytearray(good)
        head = len(flipped) if rng.random() < 0.5 else min(len(flipped), 160)
        for _ in range(rng.choice([1, 1, 2, 5, 20])):
            at = rng.randrange(head)
            if kind == 6:
                flipped[at] ^= 1 << rng.randrange(8)
            elif kind == 7:
                flipped[at] = rng.choice(b"\x00\xff\x7f\x80 09-{}[]\",'")
            else:
                width = rng.choice([1, 2, 4, 8])
                flipped[at : at + width] = rng.choice([0, 1, (1 << 8 * width) - 1, 1 << (8 * width - 1)]).to_bytes(
                    width, "little"
                )
        return bytes(flipped), "bytes changed"

    def _lying_npy(self, rng: random.Random) -> tuple[bytes, str]:
        shape = rng.choice(["(2, 2)", "(-1, 4)", "(1 << 60, 4)", f"({1 << 62}, {1 << 62})", f"({1 << 40}, 1)", "(0, 0)", "2",
                            "(2,)", "(True, 4)", "((2, 2), 1)", "(1e3, 4)", "None", "(" * 200 + ")" * 200, "(2, 2)" * 50,
                            f"(0, {1 << 63})", f"({10**400}, 1)", "(1,)*99"])  # fmt: skip
        dtype = rng.choice(["<f4", "<f8", "|O", "|S99999999", "<M8[s]", "<c8", "|V3", "nonsense", "[('a', '<f4')]", ">f4",
                            "<f16", "|b1", "<U3", "f4,O", "", "<f0", "|S0"])  # fmt: skip
        order = rng.choice(["True", "False", "3", "None"])
        header = f"{{'descr': {dtype!r}, 'fortran_order': {order}, 'shape': {shape}, }}"
        if rng.random() < 0.1:
            header = rng.choice(
                [
                    "",
                    "{}",
                    "[]",
                    header * 2,
                    "__import__('os').mkdir('x')",
                    "{" * 5000,
                    "9" * 9000,
                    "-" * 9000 + "1",
                    "[" * 9000,
                    f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'-' * 7000}1,)}}",
                    "1" * 60000,
                    "\x00" * 100,
                    "lambda: 0",
                    "{'descr': '<f4'}",
                ]
            )
        if dtype == "|O" or rng.random() < 0.1:
            return _npy(np.ones(4), header, pickle.dumps([Trap(str(self._trace))] * 4)), "a pickle"
        return _npy(np.ones(4), header), "a header that lies"

    def _lying_npz(self, rng: random.Random) -> tuple[bytes, str]:
        good = rng.choice(self._good[".npz"])
        with zipfile.ZipFile(io.BytesIO(good)) as archive:
            parts = [(name, archive.read(name)) for name in archive.namelist()]
        file = io.BytesIO()
        kind = rng.randrange(7)
        names = ["duplicated", "missing", "bomb", "a pickle", "json", "odd names", "a part that lies"]
        method = zipfile.ZIP_DEFLATED if kind == 2 or rng.random() < 0.3 else zipfile.ZIP_STORED
        with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            index = rng.randrange(len(parts))
            for i, (name, given) in enumerate(parts):
                data = given
                if kind == 1 and i == index:
                    continue
                if kind == 2 and i == index:
                    size = rng.choice([1 << 20, 1 << 22])
                    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rng.choice([size, 1 << 45])},), }}"
                    data = _npy(np.zeros(1), header, bytes(size))
                if kind == 3 and i == index:
                    data = rng.choice([pickle.dumps(Trap(str(self._trace))), self._lying_npy(rng)[0]])
                if kind == 4 and name == "lpsim.npy":
                    text = str(np.load(io.BytesIO(given)))
                    data = _npy(np.array(_lying_json(rng, text)))
                if kind == 6 and i == index:
                    data = self._lying_npy(rng)[0]
                label = (
                    rng.choice(["../x.npy", "/abs.npy", " ", "lpsim", "a/b/c.npy", "\u20ac.npy"]) if kind == 5 else name
                )
                archive.writestr(label if kind == 5 and i == index else name, data)
                if kind == 0 and i == index:
                    archive.writestr(name, data)
        return file.getvalue(), names[kind]

    def _lying_safetensors(self, rng: random.Random) -> tuple[bytes, str]:
        good = rng.choice(self._good[".safetensors"])
        size = struct.unpack("<Q", good[:8])[0]
        header, body = json.loads(good[8 : 8 + size]), good[8 + size :]
        kind = rng.randrange(4)
        if kind == 0:
            text = json.dumps(header).encode()
            return struct.pack(
                "<Q", rng.choice([0, 1, size + 1, 1 << 40, (1 << 64) - 1])
            ) + text + body, "a size that lies"
        if kind == 1:
            header["__metadata__"]["lpsim"] = _lying_json(rng, header["__metadata__"]["lpsim"])
        elif kind == 2:
            name = rng.choice([key for key in header if key != "__metadata__"])
            one = header[name]
            field = rng.choice(list(one))
            one[field] = rng.choice([
                [], [-1], [1 << 62, 4], [0, 1 << 40], "F32", "I64", "BF16", "F8_E4M3", None, [0, 0], [2, 1], [1e3], "X"
            ])  # fmt: skip
        text = json.dumps(header)
        if kind == 3:
            text = rng.choice([text.replace(":", ",", 1), text * 2, "[]", "null", "{}", '{"a": 1}', "{" * 3000])
        return struct.pack("<Q", len(text.encode())) + text.encode() + body, "a header that lies"


def _lying_json(rng: random.Random, text: str) -> str:
    """Return lpsim's header with something else in one place, or something else."""
    if rng.random() < 0.2:
        return rng.choice(
            ["", "[]", "{}", "null", "3", '{"w": 3}', '{"w": {}}', "{" * 3000, "[" * 100000, text[:-1], "NaN"]
        )
    described = json.loads(text)
    places: list[tuple[Any, Any]] = []

    def visit(one: Any) -> None:
        for key in list(one) if isinstance(one, dict) else range(len(one)):
            places.append((one, key))
            if isinstance(one[key], (dict, list)):
                visit(one[key])

    visit(described)
    for _ in range(rng.choice([1, 1, 2])):
        holder, key = rng.choice(places)
        holder[key] = rng.choice([
            None, -1, 0, 1, 1 << 31, 1 << 62, 1 << 64, 10**30, 1.5, float("nan"), float("inf"), "", "x", [], {}, [1], True,
            [1 << 40, 1 << 40], [2, -3], "nf4", [[1]], {"kind": "nf4"}, "float16", 64, 32, "1",
        ])  # fmt: skip
    return json.dumps(described)
