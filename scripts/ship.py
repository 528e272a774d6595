"""Make the files of a shipped model from a trained generator: NAME.keras, and OpenVINO's NAME.xml and NAME.bin.

    python scripts/ship.py runs/srgan srgan

Weights are rounded to float16, in all of the files alike, which halves them. A generator that runs away on dither, noise
or single pixels is refused: without normalisation a training that went too fast leaves such. The card, NAME.md beside them,
is written by hand from what srgan-evaluate then says.
"""

import argparse
import os
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from common.merging import merge_branches
from common.one_line import errors_in_one_line

from srgan.errors import SRGANError
from srgan.models import WEIGHTS, find_model
from srgan.runtime import load_keras
from srgan.upscale.engines.backend_errors import Inconvertible
from srgan.upscale.engines.conversion import convert, save_openvino
from srgan.upscale.engines.keras_engine import KerasEngine

MOST = 8.0  # what patterns may drive values to: sharp ones overshoot, and those that run away reach thousands


@errors_in_one_line
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a .keras file or a run folder")
    parser.add_argument("name", help="what `--model` will call it")
    parser.add_argument("--folder", type=Path, default=WEIGHTS, help="where the files go (srgan/weights)")
    arguments = parser.parse_args(argv)
    try:
        ship(find_model(arguments.model), arguments.folder / f"{arguments.name}.keras")
    except Inconvertible as error:
        raise SRGANError(f"{arguments.model}: OpenVINO cannot run it ({error})") from error


def patterns(side=48):
    """What photographs hardly have and drawings, games and scans do: a dict of (1, side, side, 3) float32 in [0, 1]."""
    random, (rows, columns) = np.random.default_rng(0), np.indices((side, side))
    found = {
        "checkerboard": (rows + columns) % 2,
        "stripes": columns // 2 % 2,
        "one pixel": (rows == side // 2) & (columns == side // 2),
        "black and white noise": random.integers(0, 2, (side, side)),
        "noise of primary colours": random.integers(0, 2, (side, side, 3)),
        "noise": random.random((side, side, 3)),
        "dithered primary colours": np.stack([rows % 2, columns % 2, (rows + columns) % 3 == 0], -1),
    }
    return {
        name: np.broadcast_to(values.reshape(1, side, side, -1), (1, side, side, 3)).astype(np.float32)
        for name, values in found.items()
    }


def runs_away_on(engine):
    """The pattern that drives a model furthest, one over time with nothing remembered, and the largest value, where 1 is white."""
    frames, memory = engine.description.frames, engine.description.memory
    largest = {}
    for name, lr in patterns().items():
        if memory:
            sr, _ = engine(lr, np.zeros((*lr.shape[:3], memory), np.float32))
        else:
            sr = engine(lr if frames == 1 else np.repeat(lr[:, None], frames, 1))
        largest[name] = float(np.abs(sr).max())
    return max(largest.items(), key=lambda item: item[1] if np.isfinite(item[1]) else np.inf)


def ship(model, target):
    load_keras()
    from srgan.networks.files import load_generator, save_generator

    generator = load_generator(model)
    merge_branches(generator)
    generator.set_weights([weights.astype(np.float16).astype(np.float32) for weights in generator.get_weights()])
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.stem}-", dir=target.parent) as folder:
        temporary = Path(folder, target.name)
        save_generator(generator, temporary)
        pattern, largest = runs_away_on(KerasEngine(temporary))
        if not largest < MOST:
            raise SRGANError(
                f"{model}: runs away on the pattern {pattern}: values up to {largest:.4g}, where 1 is white"
            )
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
