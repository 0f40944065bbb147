"""Quantisation: the number systems of deep learning, to the bit.

A *scheme* says how real numbers become codes with scales. `lpsim.quantize` applies one and returns a `Quantized`, which
knows its codes as the tool packs them, its bytes and its values.
"""

from __future__ import annotations

import functools

from lpsim.quantization.affine import CONVENTIONS, Affine, affine
from lpsim.quantization.blocks import MX_SCHEMES, BlockFloat, bfp, block_float, mx
from lpsim.quantization.codebooks import (
    NF4_TABLE,
    Codebook,
    bnb_fp4,
    codebook,
    dynamic8,
    dynamic_map,
    nf,
    nf4,
    normal_map,
)
from lpsim.quantization.gguf import GGUF, GGUF_TYPES, gguf, read_gguf
from lpsim.quantization.gptq import GPTQ, gptq
from lpsim.quantization.hessian import Hessian
from lpsim.quantization.int8 import EETQ, Activations, LLMInt8, eetq, llm_int8
from lpsim.quantization.integer_products import integer_matmul
from lpsim.quantization.linear import linear
from lpsim.quantization.names import NAMED_SCHEMES, SchemeLike, get
from lpsim.quantization.nvfp4 import NVFP4, nvfp4
from lpsim.quantization.quantized import QuantizationError, Quantized, fake_quantize, quantize
from lpsim.quantization.scaled import ScaledFloat, scaled_float
from lpsim.quantization.scheme import Layout, Parts, Scheme, scheme_from_dict
from lpsim.quantization.storage import load_arrays, save_arrays
from lpsim.quantization.words import pack_words, unpack_words

NAMED_SCHEMES.update(
    {
        "affine": affine,
        "int8": affine,
        "int4": functools.partial(affine, 4),
        "fp8": scaled_float,
        "scaled_float": scaled_float,
        "llm_int8": llm_int8,
        "eetq": eetq,
        "nf4": nf4,
        "bnb_fp4": bnb_fp4,
        "dynamic8": dynamic8,
    }
)
NAMED_SCHEMES["mx"] = mx
NAMED_SCHEMES.update(MX_SCHEMES)
NAMED_SCHEMES["block_float"] = block_float
NAMED_SCHEMES["bfp"] = bfp
NAMED_SCHEMES["nvfp4"] = nvfp4
NAMED_SCHEMES["gptq"] = gptq
NAMED_SCHEMES["gguf"] = gguf
# Two types have the names of other schemes, from which they differ: "gguf(type='NVFP4')".
NAMED_SCHEMES.update(
    {name: functools.partial(gguf, name) for name, one in GGUF_TYPES.items() if one.quantises and "FP4" not in name}
)

__all__ = [
    "CONVENTIONS",
    "EETQ",
    "GGUF",
    "GGUF_TYPES",
    "GPTQ",
    "NAMED_SCHEMES",
    "NF4_TABLE",
    "NVFP4",
    "Activations",
    "Affine",
    "BlockFloat",
    "Codebook",
    "Hessian",
    "LLMInt8",
    "Layout",
    "Parts",
    "QuantizationError",
    "Quantized",
    "ScaledFloat",
    "Scheme",
    "SchemeLike",
    "affine",
    "bfp",
    "block_float",
    "bnb_fp4",
    "codebook",
    "dynamic8",
    "dynamic_map",
    "eetq",
    "fake_quantize",
    "get",
    "gguf",
    "gptq",
    "integer_matmul",
    "linear",
    "llm_int8",
    "load_arrays",
    "mx",
    "nf",
    "nf4",
    "normal_map",
    "nvfp4",
    "pack_words",
    "quantize",
    "read_gguf",
    "save_arrays",
    "scaled_float",
    "scheme_from_dict",
    "unpack_words",
]
