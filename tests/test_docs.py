"""The documents name what there is, and the generated pages leave nothing out."""

import html
import re
import subprocess
import sys
import tomllib
from importlib import import_module

import pytest
import yaml
from helpers import ROOT

from srgan.config.bundled import find_config
from srgan.config.schema import Config
from srgan.models import WEIGHTS

DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("srgan/weights/*.md"))]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def text_of(page):
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_files_that_exist(document):
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"(?<![\w/])((?:srgan|scripts|configs|tests|docs)/[\w/.-]*\w)", text)
    named += [f"configs/{name}" for name in re.findall(r"--config ((?!mine)[\w-]+\.yaml)", text)]
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_sets_keys_that_exist(document):
    keys = set(re.findall(r"\b((?:data|network|batches|pixel|gan)\.[a-z_0-9]+)=", document.read_text(encoding="utf-8")))
    known = Config.load(find_config("srgan-video")).flat()
    assert {key for key in keys if key not in known} == set()


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 120


def test_what_to_cite_is_in_the_readme_and_for_programs():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what the format requires
    assert citation["version"] == project["version"]
    paper = citation["preferred-citation"]
    assert (paper["type"], len(paper["authors"]), paper["year"]) == ("conference-paper", 11, 2017)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert paper["title"] in readme and paper["url"] in readme and "(CITATION.cff)" in readme


def parser_of(entry):
    """The argument parser of a command, from where pyproject.toml says that it is."""
    module, function = entry.split(":")
    parsers = []

    def take(parser, file=None):
        parsers.append(parser)
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("argparse.ArgumentParser.print_help", take)
        getattr(import_module(module), function)(["--help"])
    return parsers[0]


def test_the_site_has_every_key_and_every_option(site):
    configuration, commands = (text_of(site / page / "index.html") for page in ("configuration", "commands"))
    keys = Config.load("srgan-video").flat()
    assert [key for key in keys if not key.startswith("gan.content_layers.") and key not in configuration] == []
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert len(scripts) == 7
    sections = re.split(rf"^({'|'.join(scripts)})\W*$", commands, flags=re.MULTILINE)
    sections = dict(zip(sections[1::2], sections[2::2], strict=True))  # each command's own part of the page
    for name, entry in scripts.items():
        for action in parser_of(entry)._actions:
            names = set(action.option_strings or [str(action.metavar)]) - {"-h", "--help", "--version"}
            documented = {each for each in names if re.search(rf"(?<![\w-]){re.escape(each)}(?![\w-])", sections[name])}
            assert documented == names, name


def test_the_documented_lines_load_a_generator_in_keras():
    lines = re.search(r"```python\n(.+?)```", (ROOT / "docs" / "keras.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    for name in ("srgan", "srgan-video"):
        code = lines.replace("runs/mine/generator.keras", str(WEIGHTS / f"{name}.keras"))
        if name == "srgan-video":  # takes a memory beside the picture
            code = code[: code.index("low =")] + "assert len(generator.inputs) == 2\nhigh = np.zeros((1, 192, 256, 3))"
        subprocess.run([sys.executable, "-c", f"{code}\nassert high.shape == (1, 192, 256, 3)"], check=True, cwd=ROOT)
