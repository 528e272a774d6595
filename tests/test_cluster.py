"""`srgan-upscale --ray`: a cluster of two nodes, which are real processes and have, if possible, a network of their own."""

import contextlib
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
from helpers import ROOT, import_main, run_command
from hosts import two_hosts
from PIL import Image
from test_interrupts import ended
from upscaling import photograph

pytest.importorskip("ray", reason="ray is not installed: pip install '.[ray]'")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

# A node that does not answer is given up after some seconds, not after a minute.
IMPATIENT = {"initial_delay_ms": 1000, "period_ms": 500, "timeout_ms": 2000, "failure_threshold": 4}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """Two nodes of one core each, and beside the first one a server of S3."""

    def __init__(self, folder, hosts):
        self.hosts, self.mark = hosts, folder
        ports = (port for port in iter(free_port, None) if port > 20000)  # below are those of the workers
        port, s3 = next(ports), next(ports)
        self.address = f"{hosts[0].address}:{port}"
        self.environment = os.environ | {
            "OURS": folder,
            "PYTHONPATH": str(ROOT),
            "RAY_USAGE_STATS_ENABLED": "0",
            "AWS_ENDPOINT_URL": f"http://{hosts[0].address}:{s3}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            **{f"RAY_health_check_{name}": str(value) for name, value in IMPATIENT.items()},
        }
        self.start(hosts[0], "--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false")
        self.second = self.start(hosts[1], f"--address={self.address}")
        self.s3 = [sys.executable, "-c", S3, str(s3)]

    def start(self, host, *options):
        """Start a node; return its raylet."""
        before = set(raylets())
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus=1", "--disable-usage-stats"]
        where = ["--object-store-memory=100000000", f"--node-ip-address={host.address}"]
        host.run(*command, *where, *options, env=self.environment, timeout=120)
        return next(iter(set(raylets()) - before))

    def started(self, *arguments, command="upscale"):
        code = f"import sys; {import_main(command)}; sys.exit(main())"
        return self.python(code, *arguments, "--ray", self.address)

    def python(self, code, *arguments):
        """A process of Python on the first node."""
        return subprocess.Popen(
            [*self.hosts[0].enter, sys.executable, "-c", code, *map(str, arguments)],
            env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def upscale(self, *arguments):
        return finished(self.started(*arguments))

    def workers(self):
        """The actors' processes."""
        return [
            process for process in self.processes() if (process.info["cmdline"] or [""])[0].startswith("ray::Worker")
        ]

    def processes(self):
        processes = psutil.process_iter(["cmdline", "environ"])
        return [each for each in processes if (each.info["environ"] or {}).get("OURS") == self.mark]


def finished(process):
    stdout, stderr = process.communicate(timeout=200)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def kill(process):
    """Kill a process and what it has started, of which Ray's agents would stay."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in [*process.children(recursive=True), process]:
            each.kill()


def raylets():
    return [
        process for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] and process.info["cmdline"][0].endswith("/raylet")
    ]  # fmt: skip


@pytest.fixture(scope="module")
def cluster():
    with tempfile.TemporaryDirectory(prefix="ray") as folder, two_hosts() as hosts:  # names of sockets have to be short
        cluster = Cluster.__new__(Cluster)
        try:
            cluster.__init__(folder, hosts)
            yield cluster
        finally:
            for process in cluster.processes():
                kill(process)


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
    process = cluster.started(long / "in", long / "out", "--model", model)
    wait_for_files(long / "out", 2, process)
    said = ended(process, signal.SIGINT)
    assert "interrupted: " in said and "was killed" not in said
    deadline = time.monotonic() + 10
    while cluster.workers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not cluster.workers()
    for path in (long / "out").iterdir():  # nothing hidden is left, and all is whole
        Image.open(path).load()
        assert not path.name.startswith(".")
    done = cluster.upscale("--skip-existing", long / "in", long / "out", "--model", model)
    assert done.returncode == 0 and len(list((long / "out").iterdir())) == 16


def test_objects_in_s3(cluster, folder, model):
    pytest.importorskip("moto", reason="moto is not installed: pip install 'moto[server]'")
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install '.[ray]'")
    with s3_server(cluster, folder / "in"):
        common = ["--recursive", "--model", model]
        alone = run_command("upscale", *common, folder / "in", folder / "alone", "--threads", 1)
        done = cluster.upscale(*common, "s3://bucket/in", "s3://bucket/out", "--json")
        assert done.stderr.splitlines()[-1] == alone.stderr.splitlines()[-1] == "srgan: 6 done, 0 skipped, 1 failed"
        assert "no effect" not in done.stderr
        errors = [line for line in done.stderr.splitlines() if "bad.png" in line]
        assert len(errors) == 1 and errors[0].startswith("srgan: s3://bucket/in/bad.png: ")
        facts = [json.loads(line) for line in done.stdout.splitlines()]
        assert {each["target"] for each in facts} >= {"s3://bucket/out/0.png", "s3://bucket/out/deep/a.gif.png"}
        assert finished(cluster.python(COPY, "get", folder / "copy")).returncode == 0
        assert contents(folder / "copy" / "out") == contents(folder / "alone")
        again = cluster.upscale(*common, "s3://bucket/in", "s3://bucket/out", "--skip-existing")
        assert again.stderr.splitlines()[-1] == "srgan: 0 done, 6 skipped, 1 failed"
        mixed = cluster.upscale(*common, folder / "in", "s3://bucket/mixed", "--dry-run")
        assert mixed.returncode == 0 and f"{folder}/in/0.png 40x32 -> s3://bucket/mixed/0.png" in mixed.stdout
        missing = cluster.upscale(*common, "s3://nowhere/in", "s3://bucket/out")
        assert missing.returncode == 1 and missing.stderr.splitlines()[-1] == "srgan: s3://nowhere/in: is not there"


def test_a_worker_or_the_command_killed_while_it_puts_an_object(cluster, tmp_path, model):
    (tmp_path / "in").mkdir()
    for index in range(5):
        Image.fromarray(photograph(300 + index, 320)).save(tmp_path / "in" / f"{index} %41é+#.jpg")
    with s3_server(cluster, tmp_path / "in", slow=tmp_path / "puts") as puts:
        for number, victim in enumerate(("worker", signal.SIGINT, signal.SIGKILL)):
            command = ["s3://bucket/in", f"s3://bucket/out{number}", "--model", model, "--skip-existing"]
            begun, process = len(puts()), cluster.started(*command)
            deadline = time.monotonic() + 90
            while len(puts()) < begun + 2 and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            if victim == "worker":
                cluster.workers()[0].kill()
                said = finished(process).stderr
                assert "it is done again" in said and said.splitlines()[-1] == "srgan: 5 done, 0 skipped, 0 failed"
            else:
                process.send_signal(victim)
                said = finished(process).stderr
                assert process.returncode == {signal.SIGINT: 130}.get(victim, -9) and "done again" not in said, said
            copy = tmp_path / f"copy{number}"
            if victim != "worker":  # what is there is whole, and the rest is done
                finished(cluster.python(COPY, "get", copy))
                whole = [Image.open(path).load() for path in (copy / f"out{number}").glob("*")]
                assert len(whole) < 5
                again = cluster.upscale(*command)
                kept = again.stderr.splitlines()[-1]
                assert again.returncode == 0 and re.fullmatch(r"srgan: [1-5] done, [0-4] skipped, 0 failed", kept), kept
            assert finished(cluster.python(COPY, "get", copy)).returncode == 0
            assert sorted(path.name for path in (copy / f"out{number}").glob("*")) == [
                f"{index} %41é+#.jpg" for index in range(5)
            ]
            for index in range(5):
                assert Image.open(copy / f"out{number}" / f"{index} %41é+#.jpg").size == (1280, 4 * (300 + index))


@contextlib.contextmanager
def s3_server(cluster, folder, slow=""):
    """Run it with a bucket that has the content of a folder. Yield the calls that put something else, if they are slow."""
    server = subprocess.Popen(
        [*cluster.hosts[0].enter, *cluster.s3, str(slow)], env=cluster.environment, stderr=subprocess.DEVNULL
    )
    try:
        copy = finished(cluster.python(COPY, "put", folder))
        assert copy.returncode == 0, copy.stderr
        yield lambda: Path(slow).read_text().splitlines() if os.path.exists(slow) else []
    finally:
        server.kill()
        server.wait()


S3 = """
import sys, time
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
application, (port, slow) = DomainDispatcherApplication(create_backend_app), sys.argv[1:]
def serve(environ, respond):
    if slow and environ["REQUEST_METHOD"] == "PUT" and "/out" in environ["PATH_INFO"]:
        with open(slow, "a") as file:
            print(environ["PATH_INFO"], file=file)
        time.sleep(1)
    return application(environ, respond)
run_simple("0.0.0.0", int(port), serve, threaded=True)
"""


COPY = """
import sys, time, fsspec
s3 = fsspec.filesystem("s3")
for attempt in range(100):
    try:
        s3.exists("bucket")
        s3.ls("")
        break
    except Exception:
        time.sleep(0.3)
way, folder = sys.argv[1:]
if way == "put":
    s3.mkdir("bucket")
    s3.put(folder, "bucket/in", recursive=True)
else:
    s3.get("bucket", folder, recursive=True)
"""


def test_a_picture_whose_worker_is_killed_again_and_again(cluster, tmp_path, model):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.tile(photograph(), (40, 40, 1))).save(tmp_path / "in" / "large.png")
    process = cluster.started(tmp_path / "in", tmp_path / "out", "--model", model, "--format", "jpg")
    killed = set()
    while process.poll() is None:
        for worker in cluster.workers():
            if worker.pid not in killed and worker.cpu_times().user > 3:
                killed.add(worker.pid)
                worker.kill()
        time.sleep(0.05)
    said = process.communicate()[1].splitlines()
    assert process.returncode == 1 and said[-1] == "srgan: 0 done, 0 skipped, 1 failed", said
    assert [line for line in said if "large.png: its worker was killed 3 times" in line], said


def disconnect_second(cluster):
    if cluster.hosts[1].enter:
        cluster.hosts[1].disconnect()
    else:
        kill(cluster.second)


def test_work_of_a_worker_and_of_a_node_that_are_killed_is_done_again(cluster, long, model):
    """The last test of the module: one node is gone afterwards."""
    process = cluster.started(long / "in", long / "out", "--model", model)
    wait_for_files(long / "out", 1, process)
    cluster.workers()[0].kill()
    wait_for_files(long / "out", 4, process)
    disconnect_second(cluster)
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
        ((folder / "in", f"file://{folder}/out"), "a path is named without file://"),
    ):
        done = run_command("upscale", *arguments, "--model", model, "--ray", "auto")
        assert done.returncode == 2 and said in done.stderr


def test_a_long_list_starts_within_seconds(tmp_path):
    """Only what is not there yet is taken, one name at a time."""
    from srgan.shared_folder import walk
    from srgan.upscale.picture_planning import LeftOut

    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for index in range(20_000):
        (tmp_path / "in" / f"{index:05}.png").touch()
        if index != 19_998:
            (tmp_path / "out" / f"{index:05}.png").touch()
    begun = time.process_time()
    found = walk(str(tmp_path / "in"), str(tmp_path / "out"), on_problem=print, left_out=LeftOut())
    task = next(task for task, there in found if not there)
    assert Path(task.source).name == "19998.png" and time.process_time() - begun < 5
