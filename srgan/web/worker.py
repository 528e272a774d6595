"""The process of one job: `python -P -m srgan.web.worker` reads the job as a line of JSON and writes what becomes of it.

Each line of its output is an object with one key: "progress" [done, total], "note", "error", or "done" with what is there.
It ends when it is signalled, and when its standard input closes, as it does when the server ends.
"""

import contextlib
import json
import logging
import math
import os
import signal
import sys
import threading
import warnings
from pathlib import Path

from srgan.errors import SRGANError, is_out_of_memory
from srgan.interrupts import end_on_signals

_MOST_SHOWN = 200_000_000  # pixels of a result that browsers are asked to decode
SHOWN = {".jpg", ".jpeg", ".png", ".webp", ".avif"}  # suffixes of pictures that browsers show


def main() -> None:
    """Do the job on standard input."""
    from srgan.memory import save_addresses

    save_addresses()  # before the first thread
    end_on_signals()
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer

    def answer(**fact):
        print(json.dumps(fact), file=output, flush=True)

    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    os.chdir(job["folder"])  # so that messages name files as the user does
    try:
        _work(job, answer)
    except SRGANError as error:
        answer(error=str(error))
    except Exception as error:
        if not is_out_of_memory(error):
            answer(error="failed unexpectedly; the terminal shows why")
            raise
        answer(error="not enough memory; close other programs")
    finally:
        output.flush()


def _end_with_the_server():
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _work(job, answer):
    from PIL import Image

    from srgan.upscale import Upscaler

    Image.MAX_IMAGE_PIXELS = None  # max_pixels of the jobs stands for it, as on the command line
    warnings.simplefilter("ignore")
    logging.getLogger("srgan").setLevel(logging.INFO)
    logging.getLogger("srgan").handlers = [_Notes(answer)]
    source, target = Path(job["source"]), Path(job["target"])
    if job["is_model"]:
        answer(done={"scale": Upscaler(source).scale, "sizes": [], "before": None, "after": None})
        return
    upscalers = []

    def make_upscaler():
        chosen = {key: job[key] for key in ("model", "scale", "strength", "denoise")}
        upscalers.append(Upscaler(**chosen))
        return upscalers[0]

    failures, sizes = [], []

    def on_progress(done, total):
        answer(progress=[done, total])

    options = {"quality": job["quality"], "compression": 2, "lossless": False}
    if job["clip"]:
        from srgan.upscale.clip_job import upscale_clips

        def on_clip(source, target, status, error):
            failures.append(error)
            sizes.extend(() if error else map(_size_of_clip, (source, target)))

        upscale_clips([(source, target)], make_upscaler, on_file=on_clip, on_frame=on_progress, **options)
    else:
        from srgan.upscale.picture_job import upscale_files

        def on_picture(task, status, number, total):
            failures.append(task.error)
            sizes.extend(task.sizes or ())

        upscale_files([(source, target)], make_upscaler, on_file=on_picture, on_tile=on_progress, **options)
    if failures != [None]:
        answer(error=str(failures[0]))
        return
    shown = {"before": str(source), "after": str(target)} if job["clip"] else {"before": None, "after": None}
    if not job["clip"] and sizes and math.prod(sizes[1]) <= _MOST_SHOWN:
        shown = {"before": _shown(source, "before.png"), "after": _shown(target, "after.png")}
    answer(done={"scale": upscalers[0].scale, "sizes": sizes, "bytes": target.stat().st_size, **shown})


def _size_of_clip(path):
    from srgan.clips.reading import open_clip

    clip = open_clip(path, rate=25)
    return clip.width, clip.height


class _Notes(logging.Handler):
    def __init__(self, answer):
        super().__init__(logging.INFO)
        self._answer = answer

    def emit(self, record):
        # An error is answered in the end, and the page has its own time left.
        if record.levelno < logging.ERROR and not getattr(record, "passing", False):
            self._answer(note=record.getMessage())


def _shown(path, name):
    """The file that a browser shows for the picture `path`: itself, or a PNG of it."""
    from srgan import pictures

    if path.suffix.lower() in SHOWN:
        return str(path)
    with contextlib.suppress(SRGANError, OSError):
        pictures.write_picture(pictures.read_picture(path), Path(name), kind="PNG", compression=1)
        return name
    return None


if __name__ == "__main__":
    main()
