"""The rules of the checkout's layout: small files, and scripts that stand alone."""

import ast

import pytest
from helpers import ROOT

SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))


@pytest.mark.parametrize("folder", ["srgan", "scripts"])
def test_no_file_is_longer_than_400_lines(folder):
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert lengths and {path: length for path, length in lengths.items() if length > 400} == {}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_imports_another(script):
    names = set()
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    assert not names & {path.stem for path in SCRIPTS}


def test_every_room_says_what_it_is_for():
    for room in {path.parent for path in (ROOT / "srgan").rglob("*.py")}:
        assert (room / "__init__.py").read_text(encoding="utf-8").startswith('"""'), room
