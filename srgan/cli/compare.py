"""srgan-compare"""

import logging
from pathlib import Path

from srgan.cli import _log_to_stderr, _parser, _run
from srgan.cli.measuring import add_measuring, add_models, put_tables, upscaler_options
from srgan.interrupts import end_on_signals


def main(argv: list[str] | None = None) -> int:
    """srgan-compare"""
    if argv is None:
        end_on_signals()
    parser = _parser(
        "srgan-compare",
        "Compare models with bicubic and with the original: a page with a before/after slider, sheets and scores.\n"
        "The pictures are made smaller by bicubic, enlarged by every model, and measured against what they were.",
        "examples:\n"
        "  srgan-compare photos/ --model srresnet mine=runs/mine/generator.keras --output comparison\n"
        "  srgan-compare photo.jpg --prediction-dir gigapixel.png --output comparison    # made by another program",
    )
    add = parser.add_argument
    add("pictures", nargs="+", metavar="PICTURE", help="pictures, or folders of them, or of a test set with HR below")
    add("-o", "--output", required=True, metavar="DIR", help="gets index.html, sheets/ and the scores")
    add_models(add, " (default: all shipped, or with --prediction-dir none)")
    add("--low", action="store_true", help="the pictures are small already: enlarge them as they are")
    add_measuring(add)
    arguments = parser.parse_args(argv)

    def work():
        _log_to_stderr(logging.WARNING)
        from srgan.compare.report import compare
        from srgan.compare.tables import Table

        options = {name: getattr(arguments, name) for name in ("recursive", "scale", "low", "blur", "noise", "jpeg")}
        options |= {"predictions": arguments.prediction_dir, **upscaler_options(arguments)}
        report = compare(arguments.pictures, arguments.output, arguments.model, **options)
        put_tables(arguments, [Table({"": report["means"]})])
        if "-" not in (arguments.csv, arguments.markdown, arguments.latex):
            skipped = f", {len(report['skipped'])} skipped" if report["skipped"] else ""
            print(f"{Path(arguments.output) / 'index.html'}: {len(report['pictures'])} compared{skipped}")
        return 1 if report["skipped"] else 0

    return _run(work, at_once=argv is None)
