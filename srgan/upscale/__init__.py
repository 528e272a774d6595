"""Upscaling: pictures and clips through a generator, tile by tile.

In come arrays, picture files, folders and clips, and the name of a model; out come the same, larger. `Upscaler` does one
picture or the frames of a clip; `picture_job` and `clip_job` do files, as `planning` paired them; `engines` run the network.
"""

from srgan.upscale.upscaler import Upscaler

__all__ = ["Upscaler"]
