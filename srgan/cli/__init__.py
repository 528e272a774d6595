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

# What other programs, such as Real-ESRGAN, call an option, and what it is here. A command suggests only those that it has.
_ELSEWHERE = {
    "-n": "--model",
    "-f": "--format",
    "--ext": "--format",
    "-t": "--tile",
    "-g": "--device",
    "--gpu-id": "--device",
    "-j": "--threads",
    "--outscale": "--scale",
    "--fp32": "--precision float32",
    "--half": "--precision bfloat16",
    "-dn": "--strength",
    "--denoise-strength": "--strength",
}


class _Parser(argparse.ArgumentParser):
    """Says a usage error in two lines, and completes what a shell asks for where argcomplete is installed."""

    _completing = False
    setting: Callable[[str], str | None] = staticmethod(lambda name: None)  # what an option may mean that is a setting

    def error(self, message, hint=None):
        unknown = message.partition("unrecognized arguments: ")[2].split()
        names = [word.split("=")[0] for word in unknown if word.startswith("-")]
        if found := [meant for meant in [*map(self.meant_by, names), hint] if meant]:
            message += f" (did you mean {', '.join(found)}?)"
        self.exit(2, f"srgan: {printable(message)}\nusage: {self.prog} --help shows what there is\n")

    def meant_by(self, name: str) -> str | None:
        """What an option that there is not may stand for, such as --scale for --outscale."""
        names = self._option_string_actions
        meant = _ELSEWHERE.get(name.replace("_", "-"), "")
        if meant.split(" ")[0] in names:
            return meant
        if not name.startswith("--"):
            return None
        if setting := self.setting(name[2:]):
            return setting
        words = [other[2:] for other in names if other.startswith("--")]
        similar = [word for word in words if word in name or name[2:] in word]
        found = difflib.get_close_matches(name[2:], words, 1) or similar
        return f"--{found[0]}" if found else None

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


def _auto_or_number(text):
    """auto as None, 0.7 as a number."""
    try:
        return None if text == "auto" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a number from 0 to 1") from None


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
        if isinstance(error, OSError) and isinstance(error.filename, str | bytes):  # a name that is too long, say
            print(f"srgan: {printable(os.fsdecode(error.filename))}: {error.strerror}", file=sys.stderr)
            return 1
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
