"""Matrix units: the dataclass, and a table of named ones.

``fp32``, ``tf32``, ``bf16``, ``fp16``, ``fp8_e4m3`` and ``fp8_e5m2`` round their inputs and accumulate in FP32 by fused
multiply-adds, k ascending; ``fp16_fp16acc`` and ``bf16_bf16acc`` round every product and sum. The units of real
hardware are grouped by it: ``a100.tf32``, ``h100.e4m3``, ``mi300.xf32``, ``amx.bf16``, ...
"""

from __future__ import annotations

from lpsim.checks import shown
from lpsim.units.amd import mi100, mi200, mi300
from lpsim.units.dot import ALIGNMENTS, FusedDot
from lpsim.units.hardware import Hardware
from lpsim.units.nvidia import a100, ada, b200, h100, rtx50, t4, v100
from lpsim.units.order import ORDERS
from lpsim.units.processors import amx, arm
from lpsim.units.sequential import bf16, bf16_bf16acc, fp8_e4m3, fp8_e5m2, fp16, fp16_fp16acc, fp32, tf32
from lpsim.units.unit import MatrixUnit

__all__ = [
    "ALIGNMENTS", "HARDWARE", "NAMED_UNITS", "ORDERS", "FusedDot", "Hardware", "MatrixUnit", "a2", "a30", "a100", "ada",
    "amx", "arm", "b200", "bf16", "bf16_bf16acc", "fp8_e4m3", "fp8_e5m2", "fp16", "fp16_fp16acc", "fp32", "get", "h100",
    "h200", "l40s", "mi100", "mi200", "mi300", "rtx30", "rtx50", "t4", "tf32", "v100",
]  # fmt: skip

a2 = a30 = rtx30 = a100
h200 = h100
l40s = ada

#: Hardware by name; some of it has the units of another one.
HARDWARE: dict[str, Hardware] = {
    **{one.name: one for one in (v100, t4, a100, ada, h100, b200, rtx50, mi100, mi200, mi300, amx, arm)},
    "a2": a2,
    "a30": a30,
    "rtx30": rtx30,
    "l40s": l40s,
    "h200": h200,
}

_SEQUENTIAL = (fp32, tf32, bf16, fp16, fp8_e4m3, fp8_e5m2, fp16_fp16acc, bf16_bf16acc)

#: The named units by name.
NAMED_UNITS: dict[str, MatrixUnit] = {
    **{str(unit.name): unit for unit in _SEQUENTIAL},
    **{f"{name}.{key}": unit for name, hardware in HARDWARE.items() for key, unit in hardware.items()},
}


def get(unit: MatrixUnit | str) -> MatrixUnit:
    """Return the matrix unit that ``unit`` names.

    Parameters
    ----------
    unit : MatrixUnit or str
        A unit (returned as it is) or a name of `NAMED_UNITS`, in any case.

    Returns
    -------
    MatrixUnit

    Raises
    ------
    ValueError
        If there is no unit of that name.
    TypeError
        If ``unit`` is neither a unit nor a string.

    Examples
    --------
    >>> import lpsim as lp
    >>> lp.units.get("TF32") is lp.units.tf32, lp.units.get("h200.e4m3") is lp.units.h100.e4m3
    (True, True)
    """
    if isinstance(unit, MatrixUnit):
        return unit
    names = f"{', '.join(repr(str(one.name)) for one in _SEQUENTIAL)} or of {', '.join(HARDWARE)}, such as 'a100.tf32'"
    if not isinstance(unit, str):
        raise TypeError(f"unit is {shown(unit)}; allowed: a lpsim.MatrixUnit or one of {names}")
    text = unit.strip().lower()
    found = NAMED_UNITS.get(text)
    if found is None:
        hardware = HARDWARE.get(text.partition(".")[0])
        if hardware is not None:
            names = ", ".join(f"'{text.partition('.')[0]}.{key}'" for key in hardware)
        raise ValueError(f"unit is {shown(unit)}; allowed: a lpsim.MatrixUnit or one of {names}")
    return found
