"""Make the files of a shipped model from a trained generator: NAME.keras, and OpenVINO's NAME.xml and NAME.bin.

    python scripts/ship.py runs/srgan srgan

Weights are rounded to float16, in all of the files alike, which halves them. The card, NAME.md beside them,
is written by hand from what scripts/evaluate.py then says.
"""

import argparse
import os
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from srgan.engines import WEIGHTS, Inconvertible, convert, find_model, save_openvino
from srgan.errors import SRGANError
from srgan.runtime import load_keras


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a .keras file or a run folder")
    parser.add_argument("name", help="what `--model` will call it")
    parser.add_argument("--folder", type=Path, default=WEIGHTS, help="where the files go (srgan/weights)")
    arguments = parser.parse_args(argv)
    try:
        ship(find_model(arguments.model), arguments.folder / f"{arguments.name}.keras")
    except SRGANError as error:
        print(f"ship: {error}", file=sys.stderr)
        return error.exit_status
    except Inconvertible as error:
        print(f"ship: {arguments.model}: OpenVINO cannot run it ({error})", file=sys.stderr)
        return 1
    return 0


def ship(model, target):
    load_keras()
    from srgan.networks.generator import load_generator, save_generator

    generator = load_generator(model)
    generator.set_weights([weights.astype(np.float16).astype(np.float32) for weights in generator.get_weights()])
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.stem}-", dir=target.parent) as folder:
        temporary = Path(folder, target.name)
        save_generator(generator, temporary)
        _compress(temporary)
        save_openvino(convert(temporary), temporary.with_suffix(".xml"), half=True)
        # Only now that all three are there: else one of them would be of another model than the others.
        for file in (temporary.with_suffix(".bin"), temporary.with_suffix(".xml"), temporary):
            with open(file, "r+b") as whole:
                os.fsync(whole.fileno())
            os.replace(file, target.with_name(file.name))


def _compress(path):
    """Deflate the members of a zip archive: float32 that was rounded to float16 is half zeros."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


if __name__ == "__main__":
    sys.exit(main())
