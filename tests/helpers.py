"""What several test modules need: the checkout's pictures, scripts as modules, and commands as real processes."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "data" / "sample"
SHARED = ROOT.parent / "shared"


def load_script(name):
    """scripts/NAME.py as a module, run as far as an import goes."""
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


def run_command(name, *arguments, **options):
    """Run one of the package's commands (train, upscale, compare) in a process of its own."""
    code = f"import sys; from srgan.cli import {name}; sys.exit({name}(sys.argv[1:]))"
    return run_python("-c", code, *arguments, **options)
