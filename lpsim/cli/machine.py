"""What run times depend on: the machine and versions. Needs no extra."""

from __future__ import annotations

import datetime
import os
import platform
from typing import Any

import llvmlite.binding
import numba
import numpy as np

import lpsim
from lpsim.cli import peers

__all__ = ["facts", "is_busy", "sentence"]


def facts() -> dict[str, Any]:
    """Return the date, the processor, the load and versions."""
    return {
        "date": datetime.date.today().isoformat(),
        "processor": f"{_processor()} ({llvmlite.binding.get_host_cpu_name()})",
        "threads": numba.config.NUMBA_NUM_THREADS,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "versions": {
            "lpsim": lpsim.__version__,
            "Python": platform.python_version(),
            "NumPy": np.__version__,
            "BLAS": _blas(),
            "Numba": numba.__version__,
        },
        "peers": {peer.name: peer.version for peer in peers.installed() if peer.name != "NumPy"},
    }


def sentence(found: dict[str, Any]) -> str:
    """Return facts as one line."""
    versions = ", ".join(f"{name} {version}" for name, version in {**found["versions"], **found["peers"]}.items())
    threads = f"{found['threads']} thread{'s' * (found['threads'] > 1)}"
    load = "" if found["load"] is None else f", load {found['load']}"
    return f"{found['date']}, {found['processor']}, {threads}{load}; {versions}"


def is_busy(found: dict[str, Any]) -> bool:
    """Return whether other work takes so many processors that threads, above all those of a BLAS, wait for it."""
    return found["load"] is not None and found["load"] > found["threads"] / 2


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _blas() -> str:
    """Return the library whose sgemm NumPy calls, as far as NumPy was told."""
    config: Any = np.show_config(mode="dicts")
    found = config.get("Build Dependencies", {}).get("blas", {})
    return f"{found.get('name', 'unknown')} {found.get('version', '')}".strip()
