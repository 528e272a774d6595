"""srgan-train"""

import os
import sys
from pathlib import Path

from srgan.cli import _log_to_stderr, _parser, _run
from srgan.errors import printable
from srgan.interrupts import cleaned_up, end_on_signals
from srgan.runtime import load_keras


def main(argv: list[str] | None = None) -> int:
    """srgan-train"""
    from srgan.config.bundled import bundled, find_config

    parser = _parser(
        "srgan-train",
        "Train a generator: by pixels first, then as a GAN. The same command again continues a stopped run.",
        "examples:\n"
        "  srgan-train --config coco.yaml --set data.count=100 --output runs/coco-100\n"
        "  srgan-train --config coco-cpu --pictures photos/ --output runs/mine\n"
        "  srgan-train --config coco --print > mine.yaml",
    )
    parser.add_argument(
        "-c", "--config", metavar="FILE",
        help=f"a YAML file, a run folder, or a bundled configuration: {', '.join(bundled())}",
    )  # fmt: skip
    parser.add_argument(
        "-p", "--pictures", metavar="DIR",
        help="train on all pictures of this folder, except some that are held back for validation, not squashed and in "
        "squares that fit most of them",
    )  # fmt: skip
    parser.add_argument("--print", action="store_true", help="print the configuration and end")
    parser.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE", dest="changes",
        help="override keys, dotted; a value is YAML, or plain text where the key takes text",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="the run folder (default: runs/ and the configuration's name)"
    )
    parser.setting = _setting
    arguments, others = parser.parse_known_args(argv)
    if others:
        name = others[0]
        meant = "--pictures" if Path(name).is_dir() else "--set" if "=" in name else "--config"
        hint = None if name.startswith("-") else f"{meant} {name}"
        parser.error(f"unrecognized arguments: {' '.join(others)}", hint)
    if arguments.config is None:
        parser.error(f"give a configuration by -c, such as coco-cpu for two cores (there are {', '.join(bundled())})")

    def work():
        from srgan.config.schema import Config
        from srgan.train.initial import network_of

        _log_to_stderr()
        changes = arguments.changes
        if arguments.print and not (changes or arguments.pictures):
            print(find_config(arguments.config).read_text(encoding="utf-8"), end="")  # with its comments
            return 0
        if arguments.pictures:
            from srgan.train.data.own_pictures import for_folder

            changes = for_folder(arguments.config, arguments.pictures, changes) + changes
        config = Config.load(arguments.config, changes, network_of)
        if arguments.print:
            print(config.to_yaml(), end="")
            return 0
        source = Path(arguments.config)
        output = arguments.output or (source if source.is_dir() else f"runs/{source.stem}")
        if argv is None and (os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES") or "1") == "1":
            end_on_signals()  # several machines stop together, see `srgan.train.callbacks.StopAtInterrupt`
        load_keras()
        from srgan.train.distribution import LostMachine, is_first_machine
        from srgan.train.run import train
        from srgan.train.run_folder import what_goes_on

        try:
            with cleaned_up(lambda: what_goes_on(output)):
                generator = train(config, output)
        except KeyboardInterrupt:
            print(f"\nsrgan: stopped; {what_goes_on(output)}", file=sys.stderr)
            return 130
        except LostMachine as error:
            print(f"srgan: {printable(str(error))}", file=sys.stderr, flush=True)
            sys.stdout.flush()
            os._exit(error.exit_status)
        if is_first_machine():
            print(f"done: {generator}")

    return _run(work)


def _setting(name):
    """How a key of the configuration that was given as an option is set, or what takes the option's place."""
    if name == "resume":
        return "the same command without it, which resumes"
    from srgan.config.reading import similar_keys
    from srgan.config.schema import Config

    keys = similar_keys({"lr": "learning_rate"}.get(name, name.replace("-", "_")), Config)
    return f"--set {' or '.join(f'{key}=...' for key in keys)}" if keys else None
