"""Quantisation: the number systems of deep learning, to the bit.

A *scheme* says how real numbers become codes with scales. `lpsim.quantize` applies one and returns a `Quantized`, which
knows its codes as the tool packs them, its bytes and its values.
"""

from __future__ import annotations

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
from lpsim.quantization.names import NAMED_SCHEMES, SchemeLike, get
from lpsim.quantization.quantized import QuantizationError, Quantized, fake_quantize, quantize
from lpsim.quantization.scheme import Layout, Parts, Scheme, scheme_from_dict

NAMED_SCHEMES.update({"nf4": nf4, "bnb_fp4": bnb_fp4, "dynamic8": dynamic8})

__all__ = [
    "NAMED_SCHEMES",
    "NF4_TABLE",
    "Codebook",
    "Layout",
    "Parts",
    "QuantizationError",
    "Quantized",
    "Scheme",
    "SchemeLike",
    "bnb_fp4",
    "codebook",
    "dynamic8",
    "dynamic_map",
    "fake_quantize",
    "get",
    "nf",
    "nf4",
    "normal_map",
    "quantize",
    "scheme_from_dict",
]
