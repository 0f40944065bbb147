"""What importing costs and pulls in, which way dependencies point, and what the modules look like."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import lpsim

PACKAGE = Path(lpsim.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))


def in_a_fresh_process(code, *options):
    return subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )


# Dependencies point one way.


def dotted(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module):
    """Return the first component below ``lpsim``: a module or a subpackage; "" for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def imports(path):
    """Yield the absolute name of each lpsim module that a file imports, anywhere in it."""
    here = dotted(path).split(".")
    package = here if path.name == "__init__.py" else here[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" if module == "lpsim" else module for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "lpsim")


PARTS = {part_of(dotted(path)) for path in MODULES} - {""}
LOW = {"checks", "formats", "rounding", "reference", "core", "cpu"}
PUBLIC = PARTS - LOW - {"cli", "testing", "__main__"}

#: What each part may import besides itself.
ALLOWED = {
    "checks": set(),
    "formats": {"checks", "parameters", "p3109"},  # when Format.params or a name of one of those is asked for
    "rounding": {"checks"},
    "reference": {"checks", "formats", "rounding"},
    "core": set(),
    "cpu": {"core"},
    **dict.fromkeys(PUBLIC, PARTS - {"reference", "testing", "cli"}),
    "testing": PARTS - {"core", "cpu", "cli"},
    "": PARTS - {"cli", "testing"},
    "cli": PARTS - {"core", "cpu"},
    "__main__": {"cli"},
}


def test_the_parts_that_the_rules_name_exist():
    assert LOW | {"cli"} <= PARTS


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_dependencies_point_one_way(path):
    part = part_of(dotted(path))
    # `from lpsim import x` names a module or something that the package exports.
    targets = {part_of(name) for name in imports(path)}
    if part == "cli":
        targets &= PARTS
    assert targets - {part} <= ALLOWED[part]


@pytest.mark.parametrize("name", ["oracle", "operands"])
def test_what_kernels_are_compared_with_does_not_use_them(name):
    targets = {part_of(target) for target in imports(PACKAGE / "testing" / f"{name}.py")}
    assert "reference" in targets
    assert targets <= {"formats", "rounding", "reference"}


def test_the_reference_shares_no_code_with_the_kernels():
    # A bare package in place of lpsim, whose own __init__ imports everything.
    code = (
        "import sys, types; package = types.ModuleType('lpsim'); "
        f"package.__path__ = [{str(PACKAGE)!r}]; sys.modules['lpsim'] = package; "
        "import lpsim.reference; print('numba' in sys.modules)"
    )
    result = in_a_fresh_process(code)
    assert result.stdout.strip() == "False", result.stderr


# Importing is cheap.


def test_import_pulls_in_no_extra():
    code = (
        "import sys, numba, numpy; before = set(sys.modules); import lpsim; "
        "print(*sorted({'.'.join(name.split('.')[:2]) for name in set(sys.modules) - before}))"
    )
    result = in_a_fresh_process(code)
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.split())
    unwanted = {"typer", "rich", "click", "matplotlib", "ml_dtypes", "numba.cuda", "lpsim.cuda", "lpsim.cli"}
    unwanted |= {"dask", "distributed", "zarr", "pandas", "pyarrow", "lpsim.dask", "lpsim.sweeps"}
    assert "lpsim.formats" in loaded
    assert loaded & unwanted == set()


def test_import_compiles_nothing():
    code = (
        "import numba\n"
        "from numba.core import event\n"
        "recorder = event.RecordingListener()\n"
        "event.register('numba:compile', recorder)\n"
        "import lpsim\n"
        "at_import = len(recorder.buffer)\n"
        "numba.njit(lambda x: x)(1)\n"
        "print(at_import, len(recorder.buffer))"
    )
    result = in_a_fresh_process(code)
    at_import, later = map(int, result.stdout.split())
    assert at_import == 0
    assert later > 0  # the listener does listen


def test_import_costs_little_beyond_numba():
    code = "import time, numba, numpy; start = time.process_time(); import lpsim; print(time.process_time() - start)"
    best = min(float(in_a_fresh_process(code).stdout) for _ in range(3))
    assert best < 0.5


# Extras.


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_the_command_names_the_extra_it_needs(missing):
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        f"u.find_spec = lambda name, *rest: None if name == {missing!r} else find(name, *rest)\n"
        "from lpsim.cli import main; main()"
    )
    result = in_a_fresh_process(code)
    assert result.returncode == 2
    assert result.stderr == "lpsim: the command needs the extra 'cli': pip install 'lpsim[cli]'\n"


def test_figures_name_the_extra_they_need(tmp_path):
    code = (
        "import sys; sys.modules['matplotlib'] = None; "
        f"sys.argv = ['lpsim', 'demo', '--output', {str(tmp_path / 'x.png')!r}]; "
        "from lpsim.cli import main; main()"
    )
    result = in_a_fresh_process(code)
    assert result.returncode == 2
    assert result.stderr == ("lpsim: --output needs the extra 'plot'; install it with: pip install 'lpsim[plot]'\n")
    assert not result.stdout


def test_the_command_runs_as_a_module():
    result = subprocess.run(
        [sys.executable, "-m", "lpsim.cli", "describe", "-27.15625", "--format", "fp16"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert "1011001010" in result.stdout
    assert not result.stderr


# Shape of the modules.


def test_the_package_is_typed():
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_modules_are_short(path):
    assert len(path.read_text().splitlines()) < 500


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "__main__.py"], ids=dotted)
def test_everything_in_all_exists(path):
    if dotted(path).startswith(("lpsim.torch", "lpsim.examples.training")):
        pytest.importorskip("torch")
    module = importlib.import_module(dotted(path))
    names = getattr(module, "__all__", [])
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


def test_the_package_exports_by_name():
    assert lpsim.__all__
    for name in ("round", "encode", "decode", "describe", "matmul", "units", "format", "finfo", "Format"):
        assert name in lpsim.__all__


def test_every_public_function_and_class_has_an_example():
    without = [
        name
        for name in lpsim.__all__
        if callable(getattr(lpsim, name))
        and getattr(lpsim, name).__module__.startswith("lpsim")
        and ">>>" not in (getattr(lpsim, name).__doc__ or "")
    ]
    assert without == []
