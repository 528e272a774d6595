"""The documents name what there is, and the generated pages leave nothing out."""

import html
import re
import subprocess
import sys
import tomllib

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


def test_the_site_has_every_key_and_every_option(site):
    configuration, commands = (text_of(site / page / "index.html") for page in ("configuration", "commands"))
    keys = Config.load("srgan-video").flat()
    assert [key for key in keys if not key.startswith("gan.content_layers.") and key not in configuration] == []
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    for module, function in (entry.split(":") for entry in scripts.values()):
        program = f"from {module} import {function} as main; main(['--help'])"
        answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
        options = set(re.findall(r"(?<![\w-])--[a-z-]+", answer.stdout)) - {"--help", "--version"}
        assert options and {option for option in options if option not in commands} == set()


def test_the_documented_lines_load_a_generator_in_keras():
    lines = re.search(r"```python\n(.+?)```", (ROOT / "docs" / "keras.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    for name in ("srgan", "srgan-video"):
        code = lines.replace("runs/mine/generator.keras", str(WEIGHTS / f"{name}.keras"))
        if name == "srgan-video":  # takes a memory beside the picture
            code = code[: code.index("low =")] + "assert len(generator.inputs) == 2\nhigh = np.zeros((1, 192, 256, 3))"
        subprocess.run([sys.executable, "-c", f"{code}\nassert high.shape == (1, 192, 256, 3)"], check=True, cwd=ROOT)
