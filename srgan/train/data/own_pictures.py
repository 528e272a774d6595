"""Settings for a folder of one's own pictures, whatever a configuration says of its own ones."""

from collections.abc import Sequence
from pathlib import Path

from srgan.config.schema import Config
from srgan.train.data.selection import is_picture_name, shorter_side

SHARE = 0.95  # of the pictures are to be as large as a square


def for_folder(source: str | Path, folder: str | Path, changes: Sequence[str] = ()) -> list[str]:
    """The `key=value` changes that make a configuration one for all pictures of a folder.

    A tenth of the pictures, at most 50, are held back for validation. A picture is not squashed. data.size is lowered,
    as far as batches.crop allows, until nearly all pictures are as large.

    Args:
        source: of the configuration, as for Config.load.
        folder: path of the pictures.
        changes: the user's own, which come after.
    """
    nothing = ("annotations", "count", "validation_pictures", "validation_annotations", "validation_count")
    own = [f"data.pictures={folder}", "data.categories=[]", *(f"data.{key}=null" for key in nothing)]
    config = Config.load(source, [*own, *changes])
    if config.data.fit == "squash":
        own.append("data.fit=crop")
    path = Path(folder).expanduser()
    files = [file for file in path.iterdir() if is_picture_name(file.name)] if path.is_dir() else []
    sides = sorted(side for side in map(shorter_side, files) if side)
    if sides:
        fitting = sides[int(len(sides) * (1 - SHARE))]
        room = 0 if config.fusion == "none" else 8 * config.network.scale
        size = max(min(config.data.size, fitting - fitting % 8), config.batches.crop + room)
        own.append(f"data.size={size}")
    return own
