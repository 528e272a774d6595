"""Errors of scripts, as the commands say them."""

import functools
import sys
from pathlib import Path

from srgan.errors import SRGANError


def errors_in_one_line(main):
    """Let the `main` of a script say what failed in one line behind the script's name, and return the exit status."""

    @functools.wraps(main)
    def run(argv=None):
        try:
            return main(argv) or 0
        except SRGANError as error:
            print(f"{Path(main.__code__.co_filename).stem}: {error}", file=sys.stderr)
            return error.exit_status
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else error
            print(f"{Path(main.__code__.co_filename).stem}: {what}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130

    return run
