"""The documentation: it builds without a warning and without the network, and has what the package has."""

import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import lpsim as lp
from lpsim import explorer
from lpsim.formats import NAMED_FORMATS, SOURCES
from lpsim.units import NAMED_UNITS

ROOT = Path(__file__).resolve().parents[1]

# MkDocs, with whoever asks for the network refused.
BUILD = """
import socket, sys
def refuse(*arguments, **options):
    raise OSError(f"the build asks for the network: {arguments}")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from mkdocs.__main__ import cli
cli(["build", "--strict", "--config-file", sys.argv[1], "--site-dir", sys.argv[2]])
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the site; return its folder and what the build said."""
    for package in ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers.python"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("site")
    result = subprocess.run(
        [sys.executable, "-c", BUILD, str(ROOT / "mkdocs.yml"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=folder,
        # Material's notice of what becomes of MkDocs is no warning of the build.
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(Path(lp.__file__).parents[1])},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return folder, result.stdout + result.stderr


@pytest.fixture(scope="module")
def site(built):
    return built[0]


class Tags(HTMLParser):
    """The start tags of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    @property
    def ids(self):
        return {attributes["id"] for _, attributes in self.tags if "id" in attributes}


class Rows(HTMLParser):
    """The texts of the cells of all tables, by rows."""

    def __init__(self, path):
        super().__init__()
        self.rows, self.inside = [], False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
        self.inside = tag == "td" or (self.inside and tag not in ("tr", "table"))
        if tag == "br" and self.inside:
            self.rows[-1][-1] += "\n"

    def handle_endtag(self, tag):
        if tag == "td":
            self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def test_the_build_has_no_warning(built):
    _, said = built
    assert "Documentation built" in said
    assert not re.search(r"warning|error", said, re.IGNORECASE), said


def test_all_pages_are_built(site):
    pages = [path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")]
    assert len(pages) > 12
    for page in [*pages, "formats.html", "units.html", "cli.html", "changelog.html", "security.html", "explorer.html"]:
        assert (site / page).exists(), page


@pytest.mark.parametrize("name", lp.__all__)
def test_every_public_name_has_an_entry(site, name):
    assert f"lpsim.{name}" in Tags(site / "api" / "lpsim.html").ids


def test_functions_have_their_parameters(site):
    text = (site / "api" / "lpsim.html").read_text(encoding="utf-8")
    for name in ("round", "describe", "p3109", "matmul"):  # two of them have the names of their modules
        value = getattr(lp, name)
        (entry,) = re.findall(rf'<h3 id="lpsim.[\w.]*{name}".*?(?=<h3 |<h2 |\Z)', text, re.DOTALL)
        assert f"lpsim.{name}" in re.sub(r"<[^>]+>", "", entry.partition("</h3>")[0])
        for parameter in inspect.signature(value).parameters:
            assert f"<code>{parameter}</code>" in entry, (name, parameter)


@pytest.mark.parametrize("name", ["units", "jit", "quantization", "errors", "testing", "reference", "explorer"])
def test_modules_have_entries_for_what_they_export(site, name):
    module = __import__(f"lpsim.{name}", fromlist=["__all__"])
    path = site / "api" / f"{name}.html"
    ids, text = Tags(path).ids, path.read_text(encoding="utf-8")
    for one in module.__all__:
        value = getattr(module, one)
        if inspect.isroutine(value) or inspect.isclass(value):
            assert f"lpsim.{name}.{one}" in ids
        else:
            assert f"<code>{one}</code>" in text


def test_the_units_are_in_the_table_with_their_sources(site):
    rows = [row for row in Rows(site / "units.html").rows if len(row) == 7]
    units = {str(unit.name): unit for unit in NAMED_UNITS.values()}
    assert {row[0] for row in rows} == set(units)
    assert len(rows) == len(units)
    for row in rows:
        unit = units[row[0]]
        assert row[6] == unit.source
        assert row[5] == (unit.verified or "a definition")
        assert str(unit.a_format) in row[1]


def test_the_formats_are_in_the_table_with_their_sources(site):
    rows = {row[0].partition("\n")[0]: row for row in Rows(site / "formats.html").rows if len(row) == 8}
    assert list(rows) == list(NAMED_FORMATS)
    assert set(SOURCES) == set(NAMED_FORMATS)
    for name, fmt in NAMED_FORMATS.items():
        row = rows[name]
        # Straight quotation marks stay as they are.
        assert row[7] == SOURCES[name]
        assert row[1] == str(fmt.bits)
        assert row[2].replace("\n", "") == fmt.spec
        assert float(row[4]) == pytest.approx(fmt.max, rel=1e-5)


def test_the_commands_are_in_the_reference(site):
    from lpsim.cli.app import app

    text = re.sub(r"<[^>]+>", "", (site / "cli.html").read_text(encoding="utf-8"))
    names = [f"lpsim {command.name}" for command in app.registered_commands]
    for name in [*names, "lpsim units compare", "lpsim units pareto"]:
        assert f"{name} [OPTIONS]" in text
    assert "--calibration" in text or "--scheme" in text


def test_the_explorer_is_part_of_the_site(site):
    assert (site / "explorer_page.html").read_text(encoding="utf-8") == explorer.page()
    links = [attributes.get("href") for tag, attributes in Tags(site / "explorer.html").tags if tag == "a"]
    assert links.count("explorer_page.html") == 2


#: What a browser loads of itself, and by which attribute. Links that are followed are no such thing.
LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
    "link": "href",
}


def test_the_site_loads_nothing_from_other_hosts(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    loaded = [
        (page.name, address)
        for page in pages
        for tag, attributes in Tags(page).tags
        if tag in LOADED and (address := attributes.get(LOADED[tag])) and re.match(r"(?:\w+:)?//", address)
    ]
    assert loaded == []
    for style in [*site.rglob("*.css"), *pages]:
        outside = re.findall(
            r"(?:url\(\s*[\"']?|@import\s+[\"'])(?:https?:)?//[^)\"']*", style.read_text(encoding="utf-8")
        )
        assert outside == [], style


def test_examples_in_the_documentation_are_doctests():
    # Code in blocks of another kind would not be run.
    for path in (ROOT / "docs").rglob("*.md"):
        assert not re.search(r"^```(?:python|py)\b", path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_grouped_parameters_get_entries_of_their_own(monkeypatch):
    pytest.importorskip("griffe")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    from docs_docstrings import one_by_one

    text = "Add.\n\nParameters\n----------\nx, y : int\n    Terms.\n\n    Any.\nz : str\n    A word.\n"
    text += "n, m\n    As for f.\n\nReturns\n-------\na, b : int\n    Two.\n"
    assert one_by_one(text) == (
        "Add.\n\nParameters\n----------\nx : int\n    Terms.\n\n    Any.\ny : int\n    Terms.\n\n    Any.\n"
        "z : str\n    A word.\nn\n    As for f.\nm\n    As for f.\n\nReturns\n-------\na, b : int\n    Two.\n"
    )
