"""Train the same several times, each in a process of its own, and see whether the weights are the same to the bit.

Without further arguments the GAN stages of coco.yaml and instance-patch.yaml are repeated in small, with the content
loss on VGG19:

    python scripts/repeat_training.py --runs 10 --vgg19 random
    python scripts/repeat_training.py --runs 10 --set deterministic=false    # weights may differ
"""

import argparse
import hashlib
import sys
import tempfile
from collections import Counter
from pathlib import Path

from common.measuring import TRAIN, child

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "data" / "sample"
SMALL = [
    *(f"data.pictures={SAMPLE / 'train'}", "data.annotations=null", "data.count=null", "data.size=96"),
    *(f"data.validation_pictures={SAMPLE / 'val'}", "data.validation_annotations=null", "data.validation_count=2"),
    *("network.filters=8", "network.blocks=2", "network.discriminator_filters=8"),
    *("batches.size=2", "batches.crop=32", "batches.steps_per_epoch=5", "samples=0", "deterministic=true"),
    *("pixel.epochs=3", "gan.epochs=3", "gan.schedule=constant", "gan.drops=[]"),
]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", default=["coco", "instance-patch"], help="what to train, one by one")
    parser.add_argument("--runs", type=int, default=10, help="how often (default: 10)")
    parser.add_argument("--vgg19", default="random", metavar="FILE", help="gan.vgg19 (default: random)")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", dest="changes", help="override keys, dotted"
    )
    arguments = parser.parse_args(argv)
    changes = [*SMALL, f"gan.vgg19={arguments.vgg19}", *arguments.changes]
    all_equal = True
    for config in arguments.config:
        found = Counter(_weights(config, changes) for _ in range(arguments.runs))
        all_equal &= len(found) == 1
        print(f"{config}: {max(found.values())} of {arguments.runs} runs ended with the same weights", flush=True)
    return 0 if all_equal else 1


def _weights(config, changes):
    """A digest of what a new run ends with: of both networks, as the checkpoint has them."""
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        child(TRAIN, "--config", config, "--output", f"{folder}/run", "--set", *changes)
        digest = hashlib.sha256()
        with h5py.File(max(Path(folder, "run", "checkpoint").glob("*.h5")), "r") as file:
            file.visititems(
                lambda name, item: digest.update(name.encode() + item[()].tobytes()) if hasattr(item, "dtype") else None
            )
        return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
