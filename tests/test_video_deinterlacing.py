"""Deinterlacing: frames of two fields become whole ones, at the same times."""

import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
from videos import make_video, probe, rgb, scene

from srgan.clips.deinterlacing import deinterlace
from srgan.clips.frame import Frame
from srgan.clips.video_file import VideoFile

# How the frames, or in the last one the container alone, say that they are interlaced.
MARKED = {
    "mpeg2.mpg": "-c:v mpeg2video -flags +ildct+ilme -top 1 -b:v 9M",
    "h264.mkv": "-c:v libx264 -flags +ildct+ilme -x264opts tff=1 -crf 1",
    "prores.mov": "-c:v prores_ks -flags +ildct -top 1",
    "ffv1.mkv": "-c:v ffv1 -field_order tt",
    "container.mkv": "-c:v libx264 -crf 1 -field_order tt",
}


def interlaced(folder, name, coding, first="top", count=24):
    """A quick pan at 50 fields a second, as a file of 25 frames a second; the pictures of which it has every other line."""
    pictures = [frame[:, ::-1] for frame in scene(4 * count, 64, 48)[::2]]
    with open(folder / "pictures.rgb", "wb") as file:
        for picture in pictures:
            file.write(picture.tobytes())
    read = ["-f", "rawvideo", "-s", "64x48", "-pix_fmt", "rgb24", "-r", "50", "-i", folder / "pictures.rgb"]
    fields = f"scale=out_color_matrix=bt709,format=yuv422p,tinterlace=interleave_{first}"
    marks = f"setfield={'tff' if first == 'top' else 'bff'}"
    pixels = "yuv422p10le" if "prores" in coding else "yuv420p"
    output = ["-vf", f"{fields},scale=interl=1,format={pixels},{marks}", "-colorspace", "bt709", *coding.split()]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *read, *output, folder / name], check=True)
    return folder / name, pictures[::2]


def error(found, pictures):
    """The mean difference from the whole pictures, without the first and last ones, which have fewer neighbours."""
    assert len(found) == len(pictures)
    eight = [picture if picture.dtype == np.uint8 else picture >> 8 for picture in found]
    return np.mean([np.abs(one.astype(float) - other).mean() for one, other in zip(eight[2:-2], pictures[2:-2])])


def as_it_is(path):
    clip = VideoFile(path, deinterlace="off")
    return [clip.pixels(frame) for frame in clip.frames()]


@pytest.mark.parametrize("first", ["top", "bottom"])
@pytest.mark.parametrize("name", MARKED)
def test_what_is_marked_as_interlaced_becomes_whole_frames(name, first, tmp_path):
    coding = MARKED[name]
    if first == "bottom":
        coding = coding.replace("-top 1", "-top 0").replace("tff=1", "bff=1").replace("order tt", "order bb")
    source, pictures = interlaced(tmp_path, name, coding, first)
    assert error(rgb(source), pictures) < 5 < 10 < error(as_it_is(source), pictures)


def test_times_stay_and_the_result_is_not_marked(upscale, soft, tmp_path):
    source, pictures = interlaced(tmp_path, "in.mkv", MARKED["h264.mkv"])
    for option, message in (("auto", "and gets deinterlaced"), ("off", "which upscaling makes worse"), ("on", "")):
        target = tmp_path / f"{option}.mkv"
        status, lines = upscale(source, target, "--codec", "ffv1", "--deinterlace", option, model=soft)
        assert status == 0 and len(lines) == 2 and f"in.mkv: is interlaced, {message}" in lines[0], lines
        result = probe(target)
        assert result["times"] == probe(source)["times"]
        assert not any(frame.interlaced_frame for frame in result["frames"])
        small = [picture.reshape(48, 4, 64, 4, 3).mean((1, 3)).astype(np.uint8) for picture in rgb(target)]
        assert (error(small, pictures) < 6) == (option != "off")
    assert upscale(source, tmp_path / "out.mkv", "--deinterlace", "perhaps")[0] == 2


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_frame_of_a_short_clip_comes_out(count, tmp_path):
    source, _ = interlaced(tmp_path, "in.mkv", MARKED["ffv1.mkv"], count=count)
    assert len(rgb(source)) == len(as_it_is(source)) == count


def test_progressive_frames_stay_as_they_are_but_on_request(tmp_path):
    make_video(tmp_path / "in.mkv", scene(6), crf=1)
    for frame, expected in zip(rgb(tmp_path / "in.mkv"), as_it_is(tmp_path / "in.mkv"), strict=True):
        np.testing.assert_array_equal(frame, expected)
    clip = VideoFile(tmp_path / "in.mkv", deinterlace="on")
    assert any((clip.pixels(a) != b).any() for a, b in zip(clip.frames(), as_it_is(tmp_path / "in.mkv"), strict=True))


def with_fields(picture):
    """The same picture, marked as interlaced."""
    graph = av.filter.Graph()
    size = {"width": picture.width, "height": picture.height, "time_base": Fraction(1, 25)}
    source = graph.add_buffer(format=picture.format, **size)
    graph.link_nodes(source, graph.add("setfield", "tff"), graph.add("buffersink")).configure()
    graph.push(picture)
    return graph.pull()


def test_damaged_frames_and_frames_of_both_kinds(tmp_path):
    """In the order of time, each in its place: whole frames, then interlaced ones, one damaged, of another size at last."""
    frames = []
    for number, pixels in enumerate([*scene(9, 64, 48), *scene(3, 32, 24)]):
        picture = None
        if number not in (0, 5):
            picture = av.VideoFrame.from_ndarray(pixels).reformat(format="yuv444p")
            picture = with_fields(picture) if number > 2 else picture
            picture.pts, picture.time_base = 7 * number, Fraction(1, 25)
        frames.append(Frame(7 * number, 7, picture))
    told = []
    found = list(deinterlace(frames, on_interlaced=lambda: told.append(True)))
    assert [frame[:2] for frame in found] == [frame[:2] for frame in frames] and len(told) == 1
    for before, after in zip(frames, found):
        assert (before.picture is None) == (after.picture is None)
        if before.picture is not None:
            assert after.picture.width == before.picture.width
            times = [frame.picture.pts * Fraction(frame.picture.time_base) for frame in (before, after)]
            assert times[0] == times[1]
    assert [frame.picture for frame in found[:3]] == [frame.picture for frame in frames[:3]]


def test_a_part_is_that_of_the_whole(tmp_path):
    source, _ = interlaced(tmp_path, "in.mkv", MARKED["h264.mkv"])
    part = VideoFile(source, 0.2, 0.6)
    for frame, expected in zip(part.frames(), rgb(source)[5:14], strict=False):
        np.testing.assert_array_equal(part.pixels(frame), expected)
