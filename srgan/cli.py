"""The commands: each parses its arguments, calls one library function and reports.

The library is imported inside the functions, so that `--help` answers at once.
"""

import argparse
import sys
from pathlib import Path

from srgan import __version__
from srgan.errors import SRGANError
from srgan.runtime import load_keras


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
    from srgan.config import Config, bundled

    parser = _parser(
        "srgan-train",
        "Train a generator: by pixels first, then as a GAN. The same command again continues a stopped run.",
        "example:\n  srgan-train --config coco.yaml --set data.count=100 --output runs/coco-100",
    )
    parser.add_argument(
        "--config", required=True, metavar="FILE", help=f"a YAML file, or a bundled one: {', '.join(bundled())}"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes", help="override a key, dotted"
    )
    parser.add_argument("--output", metavar="DIR", help="the run folder (default: runs/ and the configuration's name)")
    arguments = parser.parse_args(argv)

    def work():
        config = Config.load(arguments.config, arguments.changes)
        output = arguments.output or f"runs/{Path(arguments.config).stem}"
        load_keras()
        from srgan import training

        try:
            generator = training.train(config, output)
        except KeyboardInterrupt:
            print(f"\nsrgan: stopped; the same command goes on after the last finished epoch of {output}", file=sys.stderr)
            return 130
        print(f"done: {generator}")

    return _run(work)


def upscale(argv=None):
    """srgan-upscale"""
    parser = _parser("srgan-upscale", "Upscale pictures x4.")
    parser.parse_args(argv)
    return _run(lambda: 0)


def compare(argv=None):
    """srgan-compare"""
    parser = _parser(
        "srgan-compare",
        "Compare models with bicubic and with the original: a page with a before/after slider, sheets and scores.\n"
        "The pictures are made smaller by bicubic, enlarged by every model, and measured against what they were.",
        "example:\n  srgan-compare photos/ --model srgan --model runs/mine/generator.keras --output comparison",
    )
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="a picture, or a folder of them")
    parser.add_argument("--output", required=True, metavar="DIR", help="gets index.html, sheets/ and the scores")
    parser.add_argument(
        "--model", action="append", help="a shipped model's name or a .keras file; repeatable (default: all shipped)"
    )
    parser.add_argument("--low", action="store_true", help="the pictures are small already: enlarge them as they are")
    parser.add_argument("--engine", default="auto", help="auto, openvino or keras (default: auto)")
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16 (default: auto)")
    arguments = parser.parse_args(argv)

    def work():
        from srgan.compare import compare
        from srgan.scores import table

        options = {"engine": arguments.engine, "precision": arguments.precision}
        report = compare(arguments.pictures, arguments.output, arguments.model, low=arguments.low, **options)
        print(table(report["means"]))
        print(f"{Path(arguments.output) / 'index.html'}: {len(report['pictures'])} compared", end="")
        print(f", {len(report['skipped'])} skipped" if report["skipped"] else "")
        return 1 if report["skipped"] else 0

    return _run(work)
