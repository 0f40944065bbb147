"""What the README says runs, and the check script runs what the README says."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import run

import lpsim as lp

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.M | re.S)


def test_the_first_two_bash_blocks_are_one_line_each():
    main_job, tests = blocks("bash")[:2]
    for command in (main_job, tests):
        assert command.count("\n") == 1
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q ")
    assert main_job.endswith("/lpsim demo\n")
    assert tests.endswith("/python -m pytest\n")


def test_the_commands_install_extras_that_exist():
    pyproject = (ROOT / "pyproject.toml").read_text()
    for command in blocks("bash")[:2]:
        (extras,) = re.findall(r"\.\[([\w,]+)\]", command)
        for extra in extras.split(","):
            assert re.search(rf"^{extra} = \[", pyproject, flags=re.M)


def test_the_check_script_runs_the_readme_command():
    result = subprocess.run([ROOT / ".ci" / "run", "--print"], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == blocks("bash")[1]


def test_the_tour_runs():
    tour, *others = blocks("python")
    assert len(others) == 5
    code = [line for line in tour.splitlines() if line and not line.startswith("import ")]
    assert len(code) == 10
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", "".join([tour, *others])],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=Path(lp.__file__).parents[1],
    )
    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()[:3]] == [
        "tf32",
        "fp8_e4m3",
        "bf16_bf16acc",
    ]
    assert "1011001010" in result.stdout
    assert "\nevery 128 promoted " in result.stdout
    half, refined = map(float, result.stdout.splitlines()[-1].split())
    assert refined < 1e-5
    assert half > 1e-3
    assert "overflow 0" not in result.stdout.partition("steps:")[2].partition("\n")[0]


def test_the_commands_on_units_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("A.npy", rng.normal(size=(8, 32)))
    np.save("B.npy", rng.normal(size=(32, 8)))
    listed, compared, pareto = (run(*line.split()[1:]).stdout for line in blocks("bash")[2].splitlines())
    assert "h100.e4m3" in listed
    assert "mi300.xf32" in listed
    assert "arXiv:2512.07004" in listed
    assert "a100.fp16" not in listed
    assert re.search(r"^h100.tf32 +\d+ ", compared, re.MULTILINE)
    assert "plot: pareto.png" in pareto
    assert Path("pareto.png").stat().st_size > 10_000


def test_the_command_that_measures_speed_runs():
    assert "`lpsim bench --quick`" in README
    text = run("bench", "--quick", "--shrink", "1000").stdout  # smaller matrices and arrays than the README's
    for peer in ("memcpy", "np.add, float32", "sgemm", "NumPy's float16 product"):
        assert peer in text


@pytest.mark.parametrize("target", re.findall(r"\]\(((?!https?:)[^)]+)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()


def test_the_picture_is_small():
    assert (ROOT / "docs" / "demo.png").stat().st_size < 200_000


def test_ten_rounding_modes_are_promised():
    assert "ten rounding modes" in README.replace("\n", " ")
    assert len(lp.Rounding) == 10


def test_conventions_name_every_test_of_a_peers_defect():
    tests = re.findall(r"^def (test_\w+)", (ROOT / "tests" / "test_peer_defects.py").read_text(), re.MULTILINE)
    table = (ROOT / "docs" / "conventions.md").read_text()
    assert len(tests) > 15
    assert re.findall(r"`(test_\w+)` \|$", table, re.MULTILINE) == tests
