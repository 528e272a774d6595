"""The commands: each parses its arguments, calls one library function and reports.

The library is imported inside the functions, so that `--help` answers at once.
"""

import argparse
import sys

from srgan import __version__
from srgan.errors import SRGANError


def _parser(name, description, epilog=None):
    parser = argparse.ArgumentParser(
        prog=name, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"{name} {__version__}")
    return parser


def _run(work):
    """Run `work()` and return the exit status: its own or 0, or that of the error it raised, said in one line."""
    try:
        return work() or 0
    except SRGANError as error:
        print(f"srgan: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("srgan: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141


def train(argv=None):
    """srgan-train"""
    parser = _parser("srgan-train", "Train a generator: by pixels first, then as a GAN.")
    parser.add_argument("--config", required=True, help="a YAML file, or the name of a bundled one (coco, sample)")
    arguments = parser.parse_args(argv)
    return _run(lambda: None)


def upscale(argv=None):
    """srgan-upscale"""
    parser = _parser("srgan-upscale", "Upscale pictures x4.")
    parser.parse_args(argv)
    return _run(lambda: 0)


def compare(argv=None):
    """srgan-compare"""
    parser = _parser("srgan-compare", "Compare upscaled pictures with bicubic and with the original.")
    parser.parse_args(argv)
    return _run(lambda: 0)
