"""srgan-export"""

import os
from pathlib import Path

from srgan.cli import _parser, _run
from srgan.errors import SRGANError
from srgan.interrupts import end_on_signals

FORMATS = ("onnx", "openvino", "saved_model", "litert")


def main(argv: list[str] | None = None) -> int:
    """srgan-export"""
    if argv is None:
        end_on_signals()
    parser = _parser(
        "srgan-export",
        "Write a generator for other programs: as ONNX, OpenVINO, TensorFlow SavedModel or LiteRT. It takes float32\n"
        "pictures (batch, height, width, 3) in [0, 1] of any size. What was written is compared with Keras.",
        "examples:\n"
        "  srgan-export srgan.onnx                         # the default model; the ending tells the format\n"
        "  srgan-export --model runs/mine mine.xml         # OpenVINO; the weights go to mine.bin beside it\n"
        "  srgan-export --model srresnet srresnet.tflite   # LiteRT\n"
        "  srgan-export --model srresnet srresnet          # a folder: SavedModel",
    )
    parser.add_argument(
        "output", type=Path, metavar="OUTPUT", help="the file, or for a SavedModel the folder, to write"
    )
    parser.add_argument(
        "-m", "--model", metavar="MODEL",
        help="a shipped model's name, a .keras file or a run folder (default: the default model)",
    )  # fmt: skip
    parser.add_argument("--format", choices=FORMATS, help="default: told by the ending of OUTPUT")
    arguments = parser.parse_args(argv)

    def work():
        from srgan.upscale.engines.export import export

        try:
            print(export(arguments.model, arguments.output, arguments.format))
        except OSError as error:
            raise SRGANError(f"{error.filename or arguments.output}: {error.strerror or error}") from error

    if argv is None:  # GPUs compute float32 convolutions in TF32, no ruler for the others
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    return _run(work)
