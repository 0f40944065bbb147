"""A short share of `tools/fuzz.py`, and that it finds what there is to find."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lpsim as lp

pytest.importorskip("ml_dtypes")
pytest.importorskip("typer")

from fuzzing.call import Call
from fuzzing.judge import Judge

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("kind", "number"), [("calls", 3000), ("files", 2000)])
def test_no_findings(kind: str, number: int) -> None:
    command = [
        sys.executable,
        str(ROOT / "tools" / "fuzz.py"),
        f"--{kind}",
        str(number),
        "--seed",
        "7",
        "--workers",
        "1",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
    assert f"{kind}: {number} of seed 7 from 0, 0 findings" in result.stdout


def changing(x: Any) -> Any:
    x[0] = 2.0
    return x.copy()


def warning(x: Any) -> Any:
    return np.float32(1) / x


def refusing(x: Any) -> Any:
    raise KeyError("x")


def of_layout(x: Any) -> Any:
    return x * (1 if x.flags.c_contiguous else 2)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (changing, "an argument was changed"),
        (warning, "a warning"),
        (refusing, "KeyError"),
        (lambda x: lp.round(x, "half") * np.float32(x.flags.c_contiguous), "other bits"),
        (lambda x: x, "shares memory"),
        (of_layout, "other bits"),
    ],
)
def test_what_is_wrong_is_found(function: Any, said: str) -> None:
    x = np.float32([0.0, 1.0, 2.0, 3.0])[::2]
    with np.errstate(all="warn"):
        wrong = Judge()(Call("call", function, (x,), {}, again="plain"))
    assert wrong is not None
    assert said in wrong
