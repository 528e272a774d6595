"""Clips for training: decoded once, brought to windows of successive frames that no scene cut divides, and kept in a store."""

from pathlib import Path

import numpy as np

from srgan.clips.cuts import is_cut
from srgan.clips.formats import RATE, READABLE, WRITABLE
from srgan.clips.reading import frame_files, open_clip
from srgan.errors import SRGANError
from srgan.pictures import on_white, to_8_bits
from srgan.pictures.arrays import is_flat
from srgan.progress import Bar
from srgan.train.data.prepare import FORMAT, Store, all_squares, check_room, make_store, new_store
from srgan.train.data.selection import without_copies

SUFFIXES = READABLE | WRITABLE


def choose_clips(data) -> dict[str, list[Path]]:
    """The clips of a configuration, by its keys: video files, and folders of frames.

    Args:
        data: srgan.config.Data.

    Returns:
        As in {"clips": [...], "validation_clips": [...]}, for the keys that are set. No clip is in both, also not as a
        copy under another name.

    Raises:
        SRGANError: a folder is missing, or holds no clips of its own.
    """
    keys = [key for key in ("clips", "validation_clips") if getattr(data, key) is not None]
    chosen = {key: _in_folder(Path(getattr(data, key)).expanduser(), key) for key in keys}
    if len(chosen) == 2:
        others = [file for clip in chosen["validation_clips"] for file in _files(clip)]
        # Whether most of a clip is no copy: two folders may begin with the same black frame.
        files = {clip: _files(clip) for clip in chosen["clips"]}
        chosen["clips"] = [clip for clip in files if len(without_copies(files[clip], others)) > len(files[clip]) / 2]
        if not chosen["clips"]:
            raise SRGANError(f"data.clips = {data.clips!r}: all of its clips are in data.validation_clips, too")
    return chosen


def _in_folder(folder, key):
    if not folder.is_dir():
        raise SRGANError(f"{folder}: no such folder (data.{key})")
    clips = [path for path in sorted(folder.iterdir()) if _is_clip(path)]
    if not clips:
        raise SRGANError(
            f"{folder}: holds no clips (data.{key}): neither video files ({', '.join(sorted(SUFFIXES))}) nor folders of "
            "numbered frames"
        )
    return clips


def _is_clip(path):
    if path.name.startswith("."):
        return False
    return bool(frame_files(path)) if path.is_dir() else path.suffix.lower() in SUFFIXES


def _files(clip):
    return frame_files(clip) if clip.is_dir() else [clip]


def prepare_clips(clips, root, *, frames, size, scale, fit="squash", shrink=1.0, label="clips") -> Store:
    """Open the store of `clips`, making it first where it does not exist.

    Its windows follow each other without overlap, and where a scene ends or a frame is damaged a new one is begun.
    Memory does not depend on how long a clip is.

    Args:
        clips: paths of video files and folders of frames, in the order of the store.
        frames: how many a window has.
        root, size, scale, fit, shrink, label: see srgan.train.data.prepare.prepare. All frames of a window are cut
            alike.

    Raises:
        SRGANError: no clip can be used, or the disk has too little room.
    """
    options = {"size": size, "scale": scale, "fit": fit, "shrink": shrink}
    settings = {"format": FORMAT, "frames": frames, **options}

    def build(part):
        opened = [_open(clip) for clip in clips]
        found = [clip for clip, _ in opened if clip is not None]
        pixels = sum((clip.count or 0) * (clip.width * clip.height if fit == "tile" else size**2) for clip in found)
        check_room(part.parent, pixels, scale, f"{len(clips)} clips")
        total = sum(clip.count or 0 for clip in found)
        enlarged = sum(min(clip.width, clip.height) < size for clip in found)
        content = {**settings, "enlarged": enlarged, "read": len(found)}
        with (
            new_store(part, content, f"{len(clips)} {label}") as write,
            Bar(total=total, desc=f"preparing {label}", unit=" frames") as bar,
        ):
            for path, (clip, problem) in zip(clips, opened):
                used = False
                try:
                    for window in _scenes(clip, frames, bar) if clip is not None else []:
                        pairs = _cut(window, options)
                        used = used or bool(pairs)
                        write(path.name, pairs)
                except SRGANError as error:
                    problem = f"{error}; what comes before is used" if used else str(error)
                if not (used or problem):
                    problem = f"{path}: has no {frames} successive frames of one scene"
                write(path.name, [], problem)

    return make_store([file for clip in clips for file in _files(clip)], root, settings, build)


def _open(path):
    """The clip and None, or None and why it cannot be read."""
    try:
        return open_clip(path, RATE), None
    except SRGANError as error:
        return None, str(error)


def _scenes(clip, frames, bar):
    """Yield the windows of a clip: lists of `frames` uint8 (h, w, 3) that follow each other in one scene."""
    window, before = [], None
    for frame in clip.frames():
        bar.update()
        if frame.damaged:
            window, before = [], None
            continue
        pixels = to_8_bits(clip.pixels(frame))
        pixels = on_white(pixels) if pixels.shape[2] == 4 else pixels
        if before is not None and is_cut(before, pixels):
            window = []
        window.append(pixels)
        before = pixels
        if len(window) == frames:
            yield window
            window = []


def _cut(window, options):
    """The (hr, lr) pairs of a window: uint8 (frames, size, size, 3), and with size / scale."""
    places = zip(*(all_squares(frame, **options) for frame in window))
    pairs = [tuple(map(np.stack, zip(*pairs))) for pairs in places]
    return [(hr, lr) for hr, lr in pairs if not is_flat(hr[len(hr) // 2])]
