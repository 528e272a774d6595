"""What several test modules need: the checkout's pictures, scripts as modules, and commands as real processes."""

import csv
import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "data" / "sample"
SHARED = ROOT.parent / "shared"


def load_script(name):
    """scripts/NAME.py as a module, run as far as an import goes; it finds what lies beside it, as when it is run."""
    if str(ROOT / "scripts") not in sys.path:
        sys.path.append(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_python(*arguments, **options):
    """Run Python in a process of its own and return it, finished, with its output as text."""
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment, cwd=ROOT, **options
    )


def import_main(name):
    """The line of Python that imports `main` of one of the package's commands: train, upscale, ..."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    module, function = scripts[f"srgan-{name}"].split(":")
    return f"from {module} import {function} as main"


def run_command(name, *arguments, before="", **options):
    """Run one of the package's commands in a process of its own, after the code `before`."""
    return run_python("-c", f"{before}\nimport sys; {import_main(name)}; sys.exit(main())", *arguments, **options)


# The light install: as a program sees it where no framework is installed.
WITHOUT_FRAMEWORK = """
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, *more):
        return None if name in ("tensorflow", "jax", "torch") else self.finder.find_spec(name, *more)
sys.meta_path[:] = map(Without, sys.meta_path)
"""


def rows(output):
    """The lines of a run's log, as dictionaries."""
    with open(output / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def saved_weights(output, name="generator.keras"):
    """The weights of the generator that a run has saved."""
    from srgan.networks.files import load_generator

    return [np.array(variable) for variable in load_generator(output / name).variables]


def equal(one, other):
    """Whether two lists of weights are the same to the bit."""
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other))
