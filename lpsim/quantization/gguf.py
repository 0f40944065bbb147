"""The block types of GGUF files, as llama.cpp and ollama read them, byte for byte.

Quantisation is that of ggml's reference without an importance matrix. NaNs and infinities, for which ggml has no rule,
are refused. A block of zeros comes back as zeros; its bytes are all 0, save for Q4_0 and Q5_0, whose scale is -0 and
whose codes are those of zero, and IQ4_NL, whose codes are 8. Scales beyond binary16 are infinite, as ggml's are.

Types whose codes stand for points of lattices (IQ1 to IQ4_XS), and ternary ones, are read by the package ``gguf``
(extra ``quantization``), which has their tables.

Source: ggml d99724f2, ``ggml-common.h`` (layouts), ``ggml-quants.c`` (rules).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lpsim.checks import shown
from lpsim.core.operations import ROUND
from lpsim.cpu.elementwise import NONE
from lpsim.cpu.ggml import decode_kernel, encode_kernel
from lpsim.cpu.ggml_k import decode_k_kernel, encode_k_kernel
from lpsim.cpu.threads import map_ranges
from lpsim.formats import float16
from lpsim.parts import read_only
from lpsim.quantization.gguf_header import check_header
from lpsim.quantization.quantized import Quantized
from lpsim.quantization.scheme import Layout, Parts, RealMatrix, Scheme
from lpsim.rounding import Overflow, Rounding
from lpsim.shortcuts import decode_shortcut, shortcut

__all__ = ["GGUF", "GGUF_TYPES", "GGUFType", "gguf", "read_gguf"]


class GGUFType(NamedTuple):
    """How a type stores a block: numbers, bytes, whether arrays can be quantised to it, and whether it is read here."""

    block: int
    octets: int
    quantises: bool
    own: bool = True


#: Types by name.
GGUF_TYPES = {
    "Q8_0": GGUFType(32, 34, True),
    "Q4_0": GGUFType(32, 18, True),
    "Q4_1": GGUFType(32, 20, True),
    "Q5_0": GGUFType(32, 22, True),
    "Q5_1": GGUFType(32, 24, True),
    "Q2_K": GGUFType(256, 84, False),
    "Q3_K": GGUFType(256, 110, False),
    "Q4_K": GGUFType(256, 144, True),
    "Q5_K": GGUFType(256, 176, True),
    "Q6_K": GGUFType(256, 210, True),
    "IQ4_NL": GGUFType(32, 18, True),
    "MXFP4": GGUFType(32, 17, True),
    "NVFP4": GGUFType(64, 36, True),
    "TQ1_0": GGUFType(256, 54, False, own=False),
    "TQ2_0": GGUFType(256, 66, False, own=False),
    "IQ1_S": GGUFType(256, 50, False, own=False),
    "IQ1_M": GGUFType(256, 56, False, own=False),
    "IQ2_XXS": GGUFType(256, 66, False, own=False),
    "IQ2_XS": GGUFType(256, 74, False, own=False),
    "IQ2_S": GGUFType(256, 82, False, own=False),
    "IQ3_XXS": GGUFType(256, 98, False, own=False),
    "IQ3_S": GGUFType(256, 110, False, own=False),
    "IQ4_XS": GGUFType(256, 136, False, own=False),
    "BF16": GGUFType(1, 2, False, own=False),
}

#: Numbers that are worth a thread: types that search for a scale take some hundred times as long.
_GRAIN = {True: 1 << 12, False: 1 << 17}


@dataclass(frozen=True)
class GGUF(Scheme):
    """A block type of GGUF files; see `gguf` for the parameters."""

    type: str
    search: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.type, str) or self.type.upper() not in GGUF_TYPES:
            raise ValueError(f"type is {shown(self.type)}; allowed: {', '.join(GGUF_TYPES)}")
        object.__setattr__(self, "type", self.type.upper())
        if not isinstance(self.search, bool):
            raise TypeError(f"search is {shown(self.search)}; allowed: True or False")
        if not self.search and self.type != "IQ4_NL":
            raise ValueError(f"search is False for {self.type}; allowed: for IQ4_NL")

    def check_shape(self, rows: int, n: int) -> None:
        """Refuse rows that are no whole blocks."""
        block = GGUF_TYPES[self.type].block
        if n % block:
            raise ValueError(f"x has rows of {n} along axis; allowed: multiples of {block}, the block of {self.type}")

    def layout(self, rows: int, n: int) -> Layout:
        """Return dtypes and shapes: rows of blocks, each with its scales, as in a file."""
        one = GGUF_TYPES[self.type]
        return {"codes": (np.uint8, (rows, n // one.block * one.octets))}

    def quantize_matrix(self, x: RealMatrix, **given: Any) -> Parts:
        """Return the bytes of a matrix."""
        one = GGUF_TYPES[self.type]
        if not one.quantises:
            able = ", ".join(name for name, kind in GGUF_TYPES.items() if kind.quantises)
            raise ValueError(f"type is {self.type}, which can only be read; allowed: {able}")
        kind = self.type if self.search else f"{self.type}_REF"
        kernel = encode_k_kernel(kind) if self.type.endswith("_K") else encode_kernel(kind)
        out = np.empty((x.shape[0], x.shape[1] // one.block * one.octets), np.uint8)
        flat, flat_out = read_only(x.reshape(-1), np.dtype(np.float32)), out.reshape(-1)

        def run(start: int, stop: int) -> None:
            kernel(
                flat[start * one.block : stop * one.block], flat_out[start * one.octets : stop * one.octets], *_half()
            )

        map_ranges(run, flat.size // one.block, smallest=_GRAIN[self._searches] / one.block)
        return {"codes": out}

    @property
    def _searches(self) -> bool:
        return self.type.endswith("_K") or self.type == "IQ4_NL"

    def dequantize_matrix(self, parts: Parts, rows: int, n: int) -> RealMatrix:
        """Return the values, in float32."""
        one = GGUF_TYPES[self.type]
        if not one.own:
            package = _package(f"type {self.type} needs")
            with np.errstate(all="ignore"):
                values = package.quants.dequantize(parts["codes"], package.GGMLQuantizationType[self.type])
            return np.asarray(values, np.float32).reshape(rows, n)
        kernel: Callable[..., None] = (decode_k_kernel if self.type.endswith("_K") else decode_kernel)(self.type)
        out = np.empty((rows, n), np.float32)
        flat, flat_out = read_only(parts["codes"].reshape(-1), np.dtype(np.uint8)), out.reshape(-1)

        def run(start: int, stop: int) -> None:
            kernel(
                flat[start * one.octets : stop * one.octets], flat_out[start * one.block : stop * one.block], _half()[1]
            )

        map_ranges(run, flat_out.size // one.block, smallest=_GRAIN[False] / one.block)
        return out


@functools.cache
def _half() -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the records of binary16's short ways to codes and back."""
    mode = Rounding.TIES_TO_EVEN
    encoding, decoding = shortcut(ROUND, float16, mode, Overflow.IEEE, 32, True, NONE, True), decode_shortcut(float16)
    assert encoding is not None
    assert decoding is not None
    return encoding.record, decoding.record


def _package(what: str) -> Any:
    try:
        import gguf as package
    except ImportError as error:
        raise ImportError(
            f"{what} the extra 'quantization'; install it with: pip install 'lpsim[quantization]'"
        ) from error
    return package


def gguf(type: str = "Q4_0", search: bool = True) -> GGUF:
    """Return a block type of GGUF files.

    Parameters
    ----------
    type : str
        ``"Q8_0"``, ``"Q4_0"``, ``"Q4_1"``, ``"Q5_0"``, ``"Q5_1"``, ``"Q4_K"``, ``"Q5_K"``, ``"Q6_K"``, ``"IQ4_NL"``,
        ``"MXFP4"`` or ``"NVFP4"``, in any case; the others of `GGUF_TYPES` can be read.
    search : bool
        For IQ4_NL: whether 15 scales are tried, as llama.cpp's tool does, or none, as ggml's reference function.

    Returns
    -------
    GGUF

    Raises
    ------
    ValueError
        For another type.

    Notes
    -----
    Rows have to be whole blocks, of 32 numbers, of 64 (NVFP4) or of 256 (K types). The exponent of an MXFP4 block whose
    largest magnitude is below ``2**-125`` is 0, where ggml's conversion to a byte is undefined.

    Examples
    --------
    >>> import lpsim as lp
    >>> quantized = lp.quantize([1.0, -2.0, 0.5] + 29 * [0.0], lp.quantization.gguf("Q4_0"))
    >>> quantized.tobytes().hex()
    '00348c808a88888888888888888888888888'
    >>> quantized.dequantize()[:4].tolist(), quantized.bits_per_value
    ([1.0, -2.0, 0.5, 0.0], 4.5)
    """
    return GGUF(type, search)


def read_gguf(path: str | Path) -> dict[str, Quantized | npt.NDArray[Any]]:
    """Read the tensors of a ``.gguf`` file. Needs the extra ``quantization``.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    dict of Quantized or ndarray
        By name, with the axes in NumPy's order, the blocks along the last. Tensors of float16, float32, float64 and of
        integers come as arrays.

    Raises
    ------
    ValueError
        If the file is damaged, or a tensor has a type that is none of `GGUF_TYPES`.

    Examples
    --------
    >>> import lpsim as lp
    >>> tensors = lp.quantization.read_gguf("model.gguf")  # doctest: +SKIP
    """
    package = _package(".gguf files need")
    path = Path(path)
    with path.open("rb"):
        pass  # a file that can't be read is an OSError
    try:
        check_header(path)
        with np.errstate(all="ignore"):  # of sizes that lie
            tensors = package.GGUFReader(path).tensors
    except MemoryError:
        raise
    except Exception as error:  # what the package raises depends on where the damage is
        raise ValueError(f"{path} is no .gguf file, or a damaged one: {error}") from error
    result: dict[str, Quantized | npt.NDArray[Any]] = {}
    for tensor in tensors:
        name, kind = tensor.name, tensor.tensor_type.name
        shape = tuple(int(size) for size in reversed(tensor.shape))
        if kind in ("F16", "F32", "F64", "I8", "I16", "I32", "I64"):
            result[name] = np.asarray(tensor.data).reshape(shape)
        elif kind in GGUF_TYPES:
            scheme = GGUF(kind)
            rows = int(np.prod(shape[:-1], dtype=np.int64))
            if shape[-1] % GGUF_TYPES[kind].block:
                raise ValueError(f"{path} has tensor {name!r} of shape {shape}: rows are no whole blocks of {kind}")
            codes = np.asarray(tensor.data, np.uint8)
            octets = shape[-1] // GGUF_TYPES[kind].block * GGUF_TYPES[kind].octets
            result[name] = Quantized(scheme, shape, len(shape) - 1, {"codes": codes.reshape(rows, octets)})
        else:
            raise ValueError(f"{path} has tensor {name!r} of type {kind}; allowed: F16, F32, {', '.join(GGUF_TYPES)}")
    return result
