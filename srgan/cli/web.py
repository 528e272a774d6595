"""srgan-web"""

import os
import socket
import sys
from importlib.util import find_spec

from srgan.cli import _log_to_stderr, _parser, _run
from srgan.errors import SRGANError, UsageError
from srgan.interrupts import end_on_signals

_FIRST_PORT, _PORTS = 8765, 20


def main(argv: list[str] | None = None) -> int:
    """srgan-web"""
    if argv is None:
        end_on_signals()
    parser = _parser(
        "srgan-web",
        "Open a page in the browser, on which pictures and clips are dropped that come back larger.\n"
        "Only this machine reaches it, and nothing leaves this machine. Ctrl-C ends it and removes what was dropped.",
        "examples:\n  srgan-web\n  srgan-web --models ~/models --port 8000 --no-browser",
    )
    add = parser.add_argument
    add("--port", type=int, metavar="N", help=f"of the page (default: the first that is free from {_FIRST_PORT} on)")
    add(
        "--host", default="127.0.0.1", metavar="ADDRESS",
        help="to serve on (default: 127.0.0.1, which only this machine reaches)",
    )  # fmt: skip
    add("--password", metavar="TEXT", help="what a browser has to give, under any user name")
    add("--models", metavar="DIR", help="a folder of models of your own, which the page offers, too")
    add("--no-browser", action="store_true", help="only print the address of the page")
    arguments = parser.parse_args(argv)
    return _run(lambda: _web(arguments), at_once=argv is None)


def _web(arguments):
    if not find_spec("nicegui"):
        raise SRGANError("the page needs NiceGUI: pip install 'srgan[web]', or '.[web]' in a checkout")
    if arguments.password == "":
        raise UsageError("--password: is empty")
    if arguments.models is not None:
        if not (os.path.isdir(arguments.models) and os.access(arguments.models, os.R_OK | os.X_OK)):
            raise UsageError(f"--models: {arguments.models} is no folder that can be read")
        os.environ["SRGAN_MODELS"] = os.path.abspath(arguments.models)
    port = _free_port(arguments.host, arguments.port)
    from srgan.files import temporary_folder
    from srgan.web.guard import is_loopback
    from srgan.web.server import serve

    _log_to_stderr()
    if not is_loopback(arguments.host):
        print(f"srgan: warning: everyone who reaches {arguments.host} can use this page", file=sys.stderr)
        if arguments.password is None:
            print("srgan: warning: it has no password; --password asks for one", file=sys.stderr)
        else:
            print(
                "srgan: warning: plain HTTP shows the password and the pictures to the network between", file=sys.stderr
            )
    shown = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    print(f"srgan: http://{shown}:{port}/ (Ctrl-C ends it)", file=sys.stderr, flush=True)
    with temporary_folder(prefix="srgan-web-") as folder:
        serve(folder, arguments.host, port, password=arguments.password, browser=not arguments.no_browser)


def _free_port(host, port):
    if port is not None and not 1 <= port <= 65535:
        raise UsageError(f"--port: {port} is not from 1 to 65535")
    for each in [port] if port else range(_FIRST_PORT, _FIRST_PORT + _PORTS):
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, each, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as trial:
                if os.name != "nt":
                    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind(address)
            return each
        except OSError as error:
            failure = error
    raise SRGANError(f"{host} port {port or _FIRST_PORT}: cannot be served on ({failure.strerror or failure})")
