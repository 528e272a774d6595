"""The strip of an evaluation: the last frames of clips and a line of pixels over time, in all versions."""

from collections import deque
from pathlib import Path

import numpy as np

from srgan.errors import SRGANError, UsageError
from srgan.files import atomic_path
from srgan.pictures.sheets import sheet


class Strip:
    """A part of a clip's last frames, and its middle line in every frame, in all versions.

    Args:
        scale: of the versions.
        crop: left, top, width and height of the part in pixels of the original; None: 160x160 in the middle.
    """

    def __init__(self, scale, crop=None, frames=4):
        self.scale, self.crop = scale, crop
        self.frames, self.lines = deque(maxlen=frames), {}

    def seen(self, scene):
        """Take what is shown of a frame, and return it."""
        height, width = scene.original.shape[:2]
        left, top, across, down = self.crop or (max(0, width - 160) // 2, max(0, height - 160) // 2, 160, 160)
        box = [side // self.scale for side in (left, top, min(left + across, width), min(top + down, height))]
        if not (0 <= box[0] < box[2] and 0 <= box[1] < box[3]):
            raise UsageError(f"--crop: nothing of the {width}x{height} pixels of {scene.path} is in it")
        parts = {}
        for label, pixels in scene.versions().items():
            factor = pixels.shape[1] * self.scale // width
            x0, y0, x1, y1 = (side * factor for side in box)
            part = parts[label] = pixels[y0:y1, x0:x1].copy()
            self.lines.setdefault(label, []).append(part[len(part) // 2].repeat(self.scale // factor, axis=0))
        self.frames.append(parts)
        return scene

    def rows(self):
        """Rows for a sheet, a frame each, and one with the lines from the first frame to the last, downwards."""
        return [*self.frames, {label: np.stack(lines) for label, lines in self.lines.items()}]


def draw_strip(rows: list[dict[str, np.ndarray]], path: Path) -> None:
    """Draw `Strip.rows` of one or more clips."""
    labels = list(rows[0])
    drawn = sheet([[row[label] for label in labels] for row in rows], labels)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            drawn.save(temporary, quality=92)
    except (OSError, ValueError) as error:
        raise SRGANError(f"{path}: cannot be written ({error})") from error
