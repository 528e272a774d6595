"""What several test modules need."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]


def load_script(name):
    """scripts/NAME.py as a module, run as far as an import goes."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
