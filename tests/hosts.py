"""Two hosts on this machine: network namespaces with a cable between them, where the system allows them."""

import shutil
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path


class Host:
    """Where a command runs.

    Attributes:
        address: of this host, as the other one sees it.
        enter: what a command line begins with that is to run there.
    """

    def __init__(self, address, process=None):
        self.address = address
        enter = (
            ["nsenter", f"--target={process.pid}", "--user", "--net", "--uts", "--preserve-credentials"]
            if process
            else []
        )
        self.enter = enter

    def run(self, *command, **options):
        return subprocess.run([*self.enter, *map(str, command)], check=True, capture_output=True, text=True, **options)

    def disconnect(self):
        """Pull the cable out. Only where namespaces are allowed."""
        self.run("ip", "link", "set", "cable", "down")


@contextmanager
def two_hosts():
    """Yield two hosts; without namespaces of one's own, both are this machine."""
    if not _are_allowed():
        yield Host("127.0.0.1"), Host("127.0.0.1")
        return
    with ExitStack() as stack:
        first = Host("10.90.0.1", _namespace(stack, ["unshare", "--user", "--map-root-user", "--net", "--uts"]))
        process = _namespace(stack, [*first.enter, "unshare", "--net", "--uts"])
        second = Host("10.90.0.2", process)
        link = ["ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns"]
        first.run(*link, process.pid)
        for host in (first, second):
            host.run("hostname", host.address)  # which programs look up to tell others where they are
            host.run("ip", "link", "set", "lo", "up")
            host.run("ip", "addr", "add", f"{host.address}/24", "dev", "cable")
            host.run("ip", "link", "set", "cable", "up")
            host.run("ip", "route", "add", "default", "dev", "cable")  # by which programs find their own address
        yield first, second


def _are_allowed():
    command = "ip link add cable type veth peer name other"
    return (
        all(map(shutil.which, ("hostname", "ip", "nsenter", "unshare")))
        and not subprocess.run(
            ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", command], capture_output=True
        ).returncode
    )


def _namespace(stack, command):
    """A process that stays in a new namespace until the stack is closed."""
    process = stack.enter_context(subprocess.Popen([*command, "sleep", "3600"]))
    stack.callback(process.kill)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n" and time.monotonic() < deadline:
        time.sleep(0.02)
    return process
