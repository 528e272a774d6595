"""The commands: each parses its arguments, calls one library function and reports. Here is what they share.

The library is imported inside the functions, so that `--help` answers at once.
"""

import argparse
import contextlib
import difflib
import logging
import os
import sys
from collections.abc import Callable

from srgan import __version__
from srgan.errors import SRGANError, is_out_of_memory, printable


class _Parser(argparse.ArgumentParser):
    """Says a usage error in two lines, and completes what a shell asks for where argcomplete is installed."""

    _completing = False

    def error(self, message):
        names, found = self._option_string_actions, []
        unknown = message.partition("unrecognized arguments: ")[2].split()
        for name in (word.split("=")[0] for word in unknown if word.startswith("--")):
            similar = [other for other in names if other.startswith("--") and (other[2:] in name or name[2:] in other)]
            found += difflib.get_close_matches(name, names, 1) or similar[:1]
        if found:
            message += f" (did you mean {', '.join(found)}?)"
        self.exit(2, f"srgan: {printable(message)}\nusage: {self.prog} --help shows what there is\n")

    def parse_known_args(self, args=None, namespace=None):
        if "_ARGCOMPLETE" in os.environ and not self._completing:
            self._completing = True  # argcomplete parses what was typed so far
            with contextlib.suppress(ImportError):
                import argcomplete

                argcomplete.autocomplete(self)
        return super().parse_known_args(args, namespace)


def _parser(name, description, epilog=None):
    parser = _Parser(
        prog=name, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"{name} {__version__}")
    return parser


def _run(work: Callable[[], int | None], at_once: bool = False) -> int:
    """Run `work()` and return the exit status: its own or 0, or that of the error it raised, said in one line.

    Args:
        at_once: end the process with that status instead, which skips the interpreter's shutdown: 0.1 s or more.
    """
    status = _status_of(work)
    if at_once:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(OSError, ValueError):  # closed, by us or by who was to read it
                stream.flush()
        os._exit(status)
    return status


def _status_of(work):
    if sys.stderr is None:  # closed, and nobody to hear
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        return work() or 0
    except SRGANError as error:
        print(f"srgan: {printable(str(error))}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("srgan: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        print("srgan: not enough memory; close other programs, or raise the limit of this one", file=sys.stderr)
        return 1


def _log_to_stderr(level=logging.INFO):
    """Show what the library logs, one line each, above a progress bar where there is one."""

    class Handler(logging.Handler):
        def emit(self, record):
            # Only what shows a bar imports it: that takes as long as a small picture's tile. Another thread may be at it.
            shown = getattr(sys.modules.get("tqdm"), "tqdm", None)
            write = shown.write if shown else print
            write(f"srgan: {printable(record.getMessage())}", file=sys.stderr)

    logging.getLogger("srgan").handlers = [Handler()]
    logging.getLogger("srgan").setLevel(level)
