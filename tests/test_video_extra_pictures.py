"""Further pictures in a video file: tracks of every encoder, and covers, into every container."""

import io
import re
import subprocess
from fractions import Fraction

import av
import pytest
from PIL import Image
from test_video_tracks import CONTAINERS, complaints, contents, encoders, write
from videos import make_video, probe, scene

from srgan.clips.ffmpeg import usual_priority
from srgan.clips.video_file import VideoFile


def with_pictures(file, kind, names):
    """Write a clip of three frames with a track by each of some encoders."""
    with usual_priority(), av.open(file, "w", format=kind) as out:
        tracks = []
        for name in names:
            quiet = {"x265-params": "log-level=none"} if name in ("hevc", "libx265") else {}
            track = out.add_stream(name, rate=25, options={"strict": "-2", **quiet})
            track.width, track.height = 176, 144
            formats = [format_.name for format_ in av.codec.Codec(name, "w").video_formats or ()]
            track.pix_fmt = "yuv420p" if not formats or "yuv420p" in formats else formats[0]
            tracks.append(track)
        for index, frame in enumerate(scene(3, 176, 144)):
            for track in tracks:
                picture = av.VideoFrame.from_ndarray(frame).reformat(format=track.pix_fmt)
                picture.pts, picture.time_base = index, Fraction(1, 25)
                out.mux(track.encode(picture))
        for track in tracks:
            out.mux(track.encode(None))


@pytest.fixture(scope="module", params=["mov", "matroska"])
def every_picture(request, tmp_path_factory):
    """A file with a track of every encoder that its container takes."""
    names = ["mpeg4"]
    for name in encoders("video"):
        try:
            with_pictures(io.BytesIO(), request.param, ["mpeg4", name])
        except (av.FFmpegError, ValueError):
            continue
        names.append(name)
    path = tmp_path_factory.mktemp("pictures") / f"in.{request.param}"
    with_pictures(str(path), request.param, names)
    return path, names


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_track_of_pictures_is_carried_or_named(suffix, every_picture, tmp_path):
    (source, names), target = every_picture, tmp_path / f"out{suffix}"
    assert len(names) > 20
    lines = write(source, target)
    left_out = [int(re.search(r"video stream (\d+) cannot be copied and is left out", line)[1]) for line in lines]
    clip = VideoFile(source)
    with clip.open() as container:
        main = clip.video_stream(container).index
    kept = [index for index in range(len(names)) if index != main and index not in left_out]
    before, after = contents(source), contents(target)
    assert [after[new] for new in range(1, len(after))] == [before[index] for index in kept]
    assert len(kept) > 9 or suffix == ".webm"
    assert complaints(target) <= complaints(source)


def with_cover(plain, cover, target):
    """Write a clip with a cover, by FFmpeg, or for Matroska, where covers are attachments, by mkvmerge."""
    attach = ["-map", "0", "-map", "1", "-c", "copy", "-disposition:v:1", "attached_pic"]
    command = ["ffmpeg", "-v", "error", "-i", plain, "-i", cover, *attach, target]
    if target.suffix == ".mkv":
        command = [
            "mkvmerge",
            "-q",
            "-o",
            target,
            plain,
            "--attachment-name",
            f"front{cover.suffix}",
            "--attach-file",
            cover,
        ]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("source", ["in.mp4", "in.mkv"])
@pytest.mark.parametrize("suffix", CONTAINERS)
def test_covers_are_carried_or_named(suffix, source, kind, upscale, tmp_path):
    source, name = tmp_path / source, "front" if source == "in.mkv" else "cover"
    Image.fromarray(scene(1, 64, 64)[0]).save(tmp_path / f"cover.{kind}")
    make_video(tmp_path / "plain.mp4", scene(4), sound=True)
    with_cover(tmp_path / "plain.mp4", tmp_path / f"cover.{kind}", source)
    for options in ([], ["--start", 0.05]):
        target = tmp_path / f"out{suffix}"
        status, lines = upscale(source, target, *options)
        assert status == 0, lines
        named = any("video stream 2 cannot be copied and is left out" in line for line in lines)
        found = [other for other in probe(target)["others"] if other[0] == "video"]
        assert (named, len(found)) == ((False, 1) if suffix in (".mp4", ".mkv") else (True, 0)), lines
        if suffix == ".mkv":  # where covers are attachments, and a second video track is another film
            known = subprocess.run(["mkvmerge", "-i", target], capture_output=True, text=True, check=True).stdout
            assert f"file name '{name}.{kind}'" in known and known.count(": video") == 1
        new = complaints(target) - complaints(source)
        assert all(
            suffix == ".mp4" and "timescale not set" in line for line in new
        )  # FFmpeg's words on any MP4 with a cover
        with av.open(str(target)) as container:
            assert container.streams.best("video").codec_context.width == 128


@pytest.mark.parametrize("kind", ["gif", "tif"])
def test_covers_of_rare_kinds_stay_in_matroska_under_their_names(kind, upscale, tmp_path):
    Image.fromarray(scene(1, 64, 64)[0]).save(tmp_path / f"cover.{kind}")
    make_video(tmp_path / "plain.mp4", scene(2))
    with_cover(tmp_path / "plain.mp4", tmp_path / f"cover.{kind}", tmp_path / "in.mkv")
    status, lines = upscale(tmp_path / "in.mkv", tmp_path / "out.mkv")
    known = subprocess.run(["mkvmerge", "-i", tmp_path / "out.mkv"], capture_output=True, text=True, check=True).stdout
    assert status == 0 and len(lines) == 1 and f"file name 'front.{kind}'" in known, (lines, known)
