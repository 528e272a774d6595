"""`srgan-upscale --ray`: a cluster of two nodes, which are real processes on this machine."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers import ROOT, run_command
from PIL import Image
from test_interrupts import ended, started
from upscaling import photograph

pytest.importorskip("ray", reason="ray is not installed: pip install '.[ray]'")
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals"),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.xdist_group("ray"),
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """Two nodes of one core each."""

    def __init__(self, folder, environment):
        port = next(port for port in iter(free_port, None) if port > 20000)  # below are those of the workers
        self.address, self.environment = f"127.0.0.1:{port}", environment
        self.start("--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false")
        self.second = self.start(f"--address={self.address}")

    def start(self, *options):
        """Start a node; return its raylet."""
        before = set(raylets())
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus=1"]
        subprocess.run(
            [*command, "--object-store-memory=100000000", "--disable-usage-stats", *options],
            env=self.environment, check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        return next(iter(set(raylets()) - before))

    def upscale(self, *arguments):
        return run_command("upscale", *arguments, "--ray", self.address)

    def workers(self):
        """The actors' processes."""
        return [
            process for process in self.processes() if (process.info["cmdline"] or [""])[0].startswith("ray::Worker")
        ]

    def processes(self):
        return [each for each in psutil.process_iter(["cmdline", "environ"]) if mine(each, self.environment["OURS"])]


def mine(process, mark):
    return (process.info["environ"] or {}).get("OURS") == mark


def raylets():
    return [
        process for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] and process.info["cmdline"][0].endswith("/raylet")
    ]  # fmt: skip


@pytest.fixture(scope="module")
def cluster():
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # the names of its sockets have to be short
        environment = os.environ | {"OURS": folder, "PYTHONPATH": f"{ROOT}", "RAY_USAGE_STATS_ENABLED": "0"}
        cluster = None
        try:
            cluster = Cluster(folder, environment)
            yield cluster
        finally:
            for process in psutil.process_iter(["cmdline", "environ"]):
                if mine(process, folder):
                    process.kill()


@pytest.fixture
def folder(tmp_path):
    """Pictures in two folders, two of one name among them, and one that is none."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for index in range(4):
        exif = Image.Exif()
        exif[270] = f"number {index}"
        Image.fromarray(photograph(32 + index, 40)).save(tmp_path / "in" / f"{index}.png", exif=exif)
    Image.fromarray(photograph(24, 24)).save(tmp_path / "in" / "deep" / "a.gif")
    Image.fromarray(photograph(24, 24)).save(tmp_path / "in" / "deep" / "a.png")
    (tmp_path / "in" / "bad.png").write_text("nothing")
    return tmp_path


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_does_what_one_machine_does(cluster, folder, model):
    common = ["--recursive", "-v", folder / "in"]
    alone = run_command("upscale", *common, folder / "alone", "--model", model, "--threads", 1)
    done = cluster.upscale(*common, folder / "out", "--model", model, "--json")
    assert contents(folder / "out") == contents(folder / "alone") and len(contents(folder / "out")) == 6
    lines = [each.stderr.replace(str(folder / "alone"), str(folder / "out")).splitlines() for each in (alone, done)]
    # The order is that in which they end, and how many there are is not known before the end.
    plain = [sorted(re.sub(r"srgan: (\d+/\d+ )?", "", line) for line in each) for each in lines]
    assert alone.returncode == done.returncode == 1
    assert lines[0][-1] == lines[1][-1] == "srgan: 6 done, 0 skipped, 1 failed"
    assert plain[0] == plain[1]
    facts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(facts) == 7 and sum(each["status"] == "done" for each in facts) == 6
    again = cluster.upscale(*common, folder / "out", "--model", model, "--skip-existing")
    assert again.stderr.splitlines()[-1] == "srgan: 0 done, 6 skipped, 1 failed"


@pytest.fixture
def long(tmp_path):
    """Pictures that take some seconds."""
    (tmp_path / "in").mkdir()
    for index in range(16):
        Image.fromarray(np.tile(photograph(), (5, 4, 1))).save(tmp_path / "in" / f"{index}.png")
    return tmp_path


def wait_for_files(folder, count, process):
    deadline = time.monotonic() + 90
    while len(list(folder.glob("[0-9]*.png"))) < count and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    assert process.poll() is None, process.stderr.read()


def test_a_signal_ends_it_and_the_workers(cluster, long, model):
    process = started("upscale", long / "in", long / "out", "--model", model, "--ray", cluster.address)
    wait_for_files(long / "out", 2, process)
    assert "interrupted: " in ended(process, signal.SIGINT)
    deadline = time.monotonic() + 10
    while cluster.workers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not cluster.workers()
    for path in (long / "out").iterdir():  # nothing hidden is left, and all is whole
        Image.open(path).load()
        assert not path.name.startswith(".")
    done = cluster.upscale("--skip-existing", long / "in", long / "out", "--model", model)
    assert done.returncode == 0 and len(list((long / "out").iterdir())) == 16


def test_work_of_a_worker_and_of_a_node_that_are_killed_is_done_again(cluster, long, model):
    """The last test of the module: one node is gone afterwards."""
    process = started("upscale", long / "in", long / "out", "--model", model, "--ray", cluster.address)
    wait_for_files(long / "out", 1, process)
    cluster.workers()[0].kill()
    wait_for_files(long / "out", 4, process)
    cluster.second.kill()
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0 and "it is done again" in said, said
    assert said.splitlines()[-1] == "srgan: 16 done, 0 skipped, 0 failed"
    for index in range(16):
        assert Image.open(long / "out" / f"{index}.png").size == (2048, 1920)


def test_a_cluster_that_is_not_there(folder, model):
    done = run_command("upscale", folder / "in", folder / "out", "--model", model, "--ray", "127.0.0.1:9")
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("srgan: --ray 127.0.0.1:9: no Ray cluster")


def test_what_makes_no_sense(folder, model):
    for arguments, said in (
        ((folder / "in" / "0.png", folder / "out"), "takes one folder"),
        ((folder / "in", folder / "in"), "holds the inputs"),
        ((folder / "in" / "deep", folder / "in"), "holds the inputs"),
    ):
        done = run_command("upscale", *arguments, "--model", model, "--ray", "auto")
        assert done.returncode == 2 and said in done.stderr


def test_a_long_list_starts_within_seconds(tmp_path):
    """Only what is not there yet is taken, one name at a time."""
    from collections import Counter

    from srgan.shared_folder import walk

    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for index in range(20_000):
        (tmp_path / "in" / f"{index:05}.png").touch()
        if index != 19_998:
            (tmp_path / "out" / f"{index:05}.png").touch()
    begun = time.process_time()
    found = walk(str(tmp_path / "in"), str(tmp_path / "out"), on_problem=print, others=Counter())
    task = next(task for task, there in found if not there)
    assert Path(task.source).name == "19998.png" and time.process_time() - begun < 5
