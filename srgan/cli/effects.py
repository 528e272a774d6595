"""What srgan-upscale says of options that were given and do nothing for these inputs and outputs."""

import logging
from pathlib import Path

from srgan import pictures

_log = logging.getLogger("srgan")

_OF_CLIPS = ("codec", "crf", "start", "end", "fps")
_OF_FORMATS = {
    "quality": {"JPEG", "WebP", "AVIF", "JPEG XL"},
    "lossless": {"WebP", "JPEG XL"},
    "compression": {"PNG"},
    "pyramid": {"TIFF"},
    "palette": {"PNG"},
}
_WITHOUT_ALPHA = {".mp4", ".m4v"}  # clips; of pictures it is said where they are read


def tell_without_effect(arguments, pairs: list[tuple], clips: list[tuple]) -> None:
    """Say which of the options that were given do nothing for these inputs and outputs, as their names tell.

    What only the pixels tell, such as that there is no palette, is said where the picture is read.

    Args:
        arguments: of the command; an option that was not given is as its default.
        pairs, clips: (source, target) of pictures and of clips.
    """
    for name, why in _without_effect(arguments, pairs, clips):
        _log.info("--%s has no effect: %s", name, why)


def _without_effect(arguments, pairs, clips):
    targets = [target for _, target in pairs + clips]
    suffixes = {Path(target).suffix.lower() for target in targets if target != "-"}
    suffixes |= {"." + (arguments.format or "png").lower().lstrip(".")} if "-" in targets else set()
    written = {pictures.WRITABLE[suffix] for suffix in suffixes if suffix in pictures.WRITABLE}
    files = [(source, target) for source, target in pairs + clips if "-" not in (source, target)]
    if not clips:
        for name in _OF_CLIPS:
            if getattr(arguments, name) is not None:
                yield name, "it is for clips"
        if arguments.deinterlace != "auto":
            yield "deinterlace", "it is for clips"
    elif arguments.deinterlace == "off" and all(Path(source).is_dir() for source, _ in clips):
        yield "deinterlace", "it is for video files"
    for name, takers in _OF_FORMATS.items():
        if getattr(arguments, name) not in (None, False) and not takers & written:
            yield name, f"it is for {', '.join(sorted(takers))}"
    if not pairs:
        for name in ("format", "strip_metadata"):
            if getattr(arguments, name):
                yield name.replace("_", "-"), "it is for pictures"
    elif arguments.strip_metadata and written and written <= pictures.WITHOUT_METADATA:
        yield "strip-metadata", f"{', '.join(sorted(written))} has no metadata"
    if arguments.keep_time and not any("%" not in Path(target).name for _, target in files):
        yield "keep-time", "it is for files that become files"
    if arguments.skip_existing and not files:
        yield "skip-existing", "it is for files"
    if arguments.recursive and not (arguments.ray or any(Path(name).is_dir() for name in arguments.input if pairs)):
        yield "recursive", "no input is a folder of pictures"
    if arguments.alpha != "auto" and {Path(source).suffix.lower() for source, _ in pairs + clips} <= _WITHOUT_ALPHA:
        yield "alpha", "MP4 has no transparency"
    if arguments.pixel_model is not None and arguments.strength == 1:
        yield "pixel-model", "it is what --strength below 1 blends with"
