"""Measure `srgan-upscale --ray` on a cluster of two nodes of one core each, which are processes on this machine.

    pip install '.[ray]' && python scripts/benchmark_cluster.py

Prints the pictures per second of two single-core workers over those of one process on two cores, measured in turns; how the cost
per picture grows with the number of files; and how long a folder takes to start of which almost all is done already. A rate
counts from the fifth picture that is done: neither starting a process nor loading the model belongs to it.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager

from common.measuring import UPSCALE, line, photograph, scratch_folder
from PIL import Image

PORT = 26379
LOADING = 5  # pictures that are done before the rate is measured


@contextmanager
def cluster(folder):
    """Yield the address of a cluster of two nodes, each with one core."""
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
    start += ["--node-ip-address=127.0.0.1", "--object-store-memory=100000000", "--disable-usage-stats"]
    head = ["--head", f"--port={PORT}", f"--temp-dir={folder}", "--include-dashboard=false"]
    # Ray gives its workers a low priority: with that of this process, other programs slow both sides down alike.
    environment = {**os.environ, "RAY_worker_niceness": "0"}
    nodes = []
    try:
        for options in (head, [f"--address=127.0.0.1:{PORT}"]):
            nodes.append(
                subprocess.Popen([*start, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
            )
            while b"--block" not in (said := nodes[-1].stdout.readline()):
                if not said:
                    sys.exit("ray start failed")
        yield f"127.0.0.1:{PORT}"
    finally:
        for node in reversed(nodes):
            node.terminate()  # which ends all that it has started
            node.wait()


def upscale(*arguments):
    """Run the command; return its seconds to the first picture, those per picture after the first ones, and its MB at most."""
    start, done = time.perf_counter(), []
    command = [sys.executable, "-c", UPSCALE, *map(str, arguments), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for text in process.stdout:
            if json.loads(text)["status"] == "done":
                done.append(time.perf_counter())
        problem = process.stderr.read()
        _, process.returncode, usage = os.wait4(process.pid, 0)
        if process.returncode:
            sys.exit(problem)
    each = (done[-1] - done[LOADING - 1]) / (len(done) - LOADING) if len(done) > LOADING else 0
    return done[0] - start, each, usage.ru_maxrss / 1000


def pictures(folder, count, side):
    """A new folder of so many JPEGs."""
    folder.mkdir()
    Image.fromarray(photograph()).crop((100, 50, 292, 242)).resize((side, side)).save(folder / "0.jpg")
    for index in range(1, count):
        shutil.copyfile(folder / "0.jpg", folder / f"{index}.jpg")
    return folder


def efficiency(folder, address, arguments):
    for side in (192, 384):
        source = pictures(folder / f"in-{side}", LOADING + arguments.pictures * 192**2 // side**2, side)
        model, ways = ["--model", arguments.model], {"alone": ["--threads", 2], "workers": ["--ray", address]}
        seconds = {way: [] for way in ways}
        for _ in range(arguments.rounds):
            for way, more in ways.items():
                seconds[way].append(upscale(source, folder / "out", *model, *more)[1])
        medians = {way: statistics.median(each) for way, each in seconds.items()}
        line(f"{side} x {side}: pictures/s, one process on two cores", f"{1 / medians['alone']:.2f}")
        line(f"{side} x {side}: pictures/s, two workers of one core", f"{1 / medians['workers']:.2f}")
        line("   the second over the first", f"{medians['alone'] / medians['workers']:.2f}", "at least 0.9")


def growth(folder, address, arguments):
    costs, memory = {}, {}
    for count in sorted({100, 1000, arguments.files}):
        source = pictures(folder / f"many-{count}", count, 16)
        command = source, folder / "many-x4", "--model", arguments.model, "--ray", address
        _, costs[count], memory[count] = upscale(*command)
        growth, more = f"{costs[count] / costs[100]:.2f} times", f"{memory[count] - memory[100]:+.0f} to"
        line(f"16 x 16, {count} files: milliseconds per picture", f"{1000 * costs[count]:.1f}", f"{growth} that of 100")
        line("   MB of the command at most", f"{memory[count]:.0f}", f"{more} that of 100")


def start(folder, address, arguments):
    count = 10 * arguments.files
    source, target = pictures(folder / "long", count, 16), folder / "long-x4"
    target.mkdir()
    for index in range(1, count):
        (target / f"{index}.jpg").touch()
    few = upscale(pictures(folder / "one", 1, 16), folder / "one-x4", "--model", arguments.model, "--ray", address)
    long = upscale(source, target, "--model", arguments.model, "--ray", address, "--skip-existing")
    line(f"1 of {count} files is not there yet: seconds until it is done", f"{long[0]:.1f}", f"alone {few[0]:.1f}")
    line("   MB of the command at most", f"{long[2]:.0f}", f"alone {few[2]:.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--model", default="srgan-photo", help="a file or a name (default: srgan-photo)")
    parser.add_argument("--pictures", type=int, default=40, help="of 192 x 192 in each run (default: 40)")
    parser.add_argument("--rounds", type=int, default=3, help="of the comparison; the median is taken (default: 3)")
    parser.add_argument("--files", type=int, default=10_000, help="the most that are upscaled (default: 10000)")
    arguments = parser.parse_args()
    folder = scratch_folder()
    with cluster(folder / "ray") as address:
        for part in arguments.parts or PARTS:
            PARTS[part](folder, address, arguments)


PARTS = {"efficiency": efficiency, "growth": growth, "start": start}

if __name__ == "__main__":
    main()
