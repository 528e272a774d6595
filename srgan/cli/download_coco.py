"""srgan-download-coco"""

import sys
from pathlib import Path

from srgan.cli import _parser, _run
from srgan.errors import SRGANError


def main(argv: list[str] | None = None) -> int:
    """srgan-download-coco"""
    from srgan.train.data.download import BASE_URL, SPLITS, fetch

    parser = _parser(
        "srgan-download-coco",
        "Download COCO 2017, pictures and annotations. The same command again continues a stopped download.",
        "example:\n"
        "  srgan-download-coco val2017              # 5,000 pictures, 1 GB\n"
        "  srgan-download-coco train2017 val2017    # 118,287 more, 19 GB more",
    )
    parser.add_argument(
        "splits", nargs="+", choices=SPLITS, metavar="SPLIT", help="train2017 (19 GB) or val2017 (1 GB)"
    )
    parser.add_argument("--output", type=Path, default=Path("data/coco"), metavar="DIR", help="default: data/coco")
    parser.add_argument("--base-url", default=BASE_URL, metavar="URL", help=f"a mirror of {BASE_URL}")
    parser.add_argument("--keep", action="store_true", help="keep the archives after unpacking")
    arguments = parser.parse_args(argv)

    def work():
        try:
            fetch(dict.fromkeys(arguments.splits), arguments.output, arguments.base_url, arguments.keep)
        except OSError as error:
            raise SRGANError(f"{error.filename or arguments.output}: {error.strerror or error}") from error
        except KeyboardInterrupt:
            print("srgan: interrupted; the same command goes on from here", file=sys.stderr)
            return 130

    return _run(work)
