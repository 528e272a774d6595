"""In a control group of little memory, as a container is, nothing is killed by the system: real groups, real processes."""

import os
import shlex
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from test_upscale_cli import CODE, save
from upscaling import photograph

VERSION_1, VERSION_2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@pytest.fixture
def group():
    """A control group of this test, and the name of the file that limits its memory."""
    top, name = (VERSION_1, "memory.limit_in_bytes") if VERSION_1.is_dir() else (VERSION_2, "memory.max")
    folder = top / f"srgan-{uuid.uuid4().hex}"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("no control group may be made here")
    try:
        if not (folder / name).exists():
            pytest.skip("control groups have no limit of memory here")
        yield folder, name
    finally:
        folder.rmdir()


@pytest.mark.parametrize(("megabytes", "suffix"), [(140, ".png"), (200, ".png"), (300, ".jpg")])
def test_a_large_result_is_made_or_refused_in_one_line(megabytes, suffix, group, tmp_path):
    folder, name = group
    (folder / name).write_text(str(megabytes << 20))
    save(tmp_path / "a.jpg", np.tile(photograph(350, 350), (4, 4, 1)))
    program = shlex.join([sys.executable, "-c", CODE, "a.jpg", f"b{suffix}", "-q"])
    command = f"echo $$ > {folder / 'cgroup.procs'}; exec {program}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == (0 if (tmp_path / f"b{suffix}").exists() else 1), done
    assert done.returncode == 0 or done.stderr.startswith("srgan: a.jpg: not enough memory for ")
    assert done.stderr.count("\n") == done.returncode
    assert not list(tmp_path.glob(".*"))
