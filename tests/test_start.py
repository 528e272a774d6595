"""What is imported before it is needed: nothing heavy. Imports are counted, not seconds, which depend on the machine."""

import json
import tomllib

import pytest
from helpers import ROOT, import_main, run_command, run_python

HEAVY = {"keras", "tensorflow", "jax", "torch", "openvino", "pydantic", "numpy", "PIL", "pycocotools", "av"}


def imported_by(code):
    run = run_python("-c", f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))")
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_import_srgan_loads_no_framework():
    assert not HEAVY & imported_by("import srgan; assert 'Upscaler' in dir(srgan)")


SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
COMMANDS = [name.removeprefix("srgan-") for name in SCRIPTS]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_loads_no_framework(name):
    code = f"{import_main(name)}\ntry: main(['--help'])\nexcept SystemExit as end: assert end.code == 0"
    assert not HEAVY & imported_by(code)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_option_is_a_usage_error(name):
    run = run_command(name, "--colour")
    assert run.returncode == 2 and "Traceback" not in run.stderr


def test_public_names():
    import srgan

    for name in srgan.__all__:
        assert getattr(srgan, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Enlarger'"):
        srgan.Enlarger  # noqa: B018


def test_a_failed_import_shows_what_was_held_back():
    code = (
        "import sys, types\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'keras':\n"
        "            print('the reason', file=sys.stderr)\n"
        "            raise ImportError('keras is broken')\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from srgan.runtime import load_keras\n"
        "load_keras()"
    )
    run = run_python("-c", code)
    assert run.returncode == 1 and "the reason" in run.stderr and "keras is broken" in run.stderr
