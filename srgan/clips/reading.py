"""Reading clips: a video file or a folder of numbered pictures, frame by frame. PyAV, which is FFmpeg, decodes.

A clip is a `VideoFile` or a `FrameFolder`. Both have the same attributes:

    path                where it is
    width, height       of a frame, upright
    time_base, rate     seconds a tick, and frames a second on average, as fractions
    begin               seconds in the source at which the clip's time 0 is, as a fraction
    count               about how many frames there are, or None
    aspect              of a pixel: its width by its height
    colour              a `Colour`
    hdr                 an `HDR`
    deep, alpha         whether `pixels` gives 16 bits, and a fourth channel
    has_transparency    whether that is more than the palette of an animation, in which one colour may stand for it
    subsampling         of the colour, as FFmpeg's formats have it in their names: "420", "422", "444"

and two methods: `frames()`, which yields every `Frame` from the first on, and `pixels(frame)`, which gives the picture.
"""

from pathlib import Path

from srgan.clips.frame import Frame, Notice, unheard
from srgan.clips.frame_folder import FrameFolder, frame_files
from srgan.clips.video_file import VideoFile

__all__ = ["Frame", "FrameFolder", "VideoFile", "frame_files", "open_clip"]


def open_clip(
    path: Path,
    rate: float,
    start: float | None = None,
    end: float | None = None,
    notice: Notice = unheard,
    deinterlace: str = "auto",
    in_srgb: bool = True,
) -> VideoFile | FrameFolder:
    """Open a video file, or a folder whose pictures are shown at `rate` frames a second.

    Args:
        start, end: seconds from the clip's begin that bound the frames: from start on, and before end; None: all.
        notice: called with a line on anything that a user should know.
        deinterlace: "auto" (frames that are marked as interlaced), "on" (all) or "off"; of a video file.
        in_srgb: convert the pictures of a folder to sRGB; else each has the colours of its profile.

    Raises:
        SRGANError: it cannot be read, or has no frames.
    """
    if path.is_dir():
        return FrameFolder(path, rate, start, end, notice, in_srgb)
    return VideoFile(path, start, end, notice, deinterlace)
