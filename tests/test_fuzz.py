"""A small share of what scripts/fuzz_pictures.py does."""

from helpers import ROOT, run_python


def test_300_damaged_files_are_read_right_or_refused():
    done = run_python(ROOT / "scripts" / "fuzz_pictures.py", "--count", 300, "--seed", 1, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("300 files: ") and ", 0 faults, " in done.stdout
