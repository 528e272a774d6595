"""Making a clip leaves the machine to others: no thread gets a priority that nobody asked for."""

import os

import pytest
from helpers import run_python
from videos import make_video, scene

# What SVT-AV1 does as root; the same program does nothing of it for anybody else.
PROGRAM = """
import os, sys
from pathlib import Path
from srgan.clips import encoding, muxing

def policies():
    return {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}

seen = set()
def telling(work):
    def told(*arguments, **options):
        result = work(*arguments, **options)
        seen.update(policies())
        return result
    return told

from srgan.clips import segments
segments.coded_frame = telling(segments.coded_frame)
muxing._video_packets = telling(muxing._video_packets)
from srgan.upscale import Upscaler
from srgan.upscale.clip_job import upscale_clips
upscale_clips([(Path(sys.argv[1]), Path(sys.argv[2]))], lambda: Upscaler("srresnet"), codec="av1")
print(seen | policies())
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may take such a priority")
def test_no_thread_becomes_a_real_time_one(tmp_path):
    make_video(tmp_path / "in.mkv", scene(5))
    run = run_python("-c", PROGRAM, tmp_path / "in.mkv", tmp_path / "out.mkv")
    assert run.stdout == f"{ {os.SCHED_OTHER} }\n", run.stderr
    assert (tmp_path / "out.mkv").stat().st_size
