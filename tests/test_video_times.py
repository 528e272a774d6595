"""Time stamps that jump: recordings joined, clocks that run over or are set anew."""

import itertools
import subprocess
from fractions import Fraction

import numpy as np
import pytest
from videos import packets, probe, rgb

from srgan.clips.video_file import VideoFile

SECONDS, RATE = 1, 25


def recording(path, *options, picture="testsrc2", tone=300):
    """A transport stream, or what its name says, of a second, with sound."""
    inputs = f"-f lavfi -i {picture}=s=32x24:r={RATE}:d={SECONDS} -f lavfi -i sine=d={SECONDS}:r=48000:f={tone}"
    coding = "-pix_fmt yuv420p -c:v mpeg2video -g 5 -b:v 2M -c:a mp2"
    subprocess.run(["ffmpeg", "-v", "error", "-y", *f"{inputs} {coding}".split(), *options, path], check=True)
    return path


def moved(path, seconds):
    """The same recording with other time stamps."""
    target = path.with_stem(f"{path.stem}-moved")
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-i", path, "-map", "0", "-c", "copy", "-muxdelay", "0", "-output_ts_offset",
         str(seconds), target], check=True)  # fmt: skip
    return target


def check_is_whole(path, frames, parts):
    """All frames are there, in their order, at equal distances, with the sound beside them."""
    result = probe(path)
    assert len(result["times"]) == len(frames)
    distances = np.diff([float(time) for time in result["times"]])
    np.testing.assert_allclose(distances, 1 / RATE, atol=0.002)
    for index, picture in enumerate(rgb(path)):
        small = picture.reshape(24, 4, 32, 4, 3).mean((1, 3))
        errors = [np.abs(small - frame).mean() for frame in frames]
        assert np.abs(errors[index] - min(errors)) < 0.5, index
    sound = packets(path, "audio")
    times = [time for time, _ in sound]
    assert len(sound) >= 40 * parts and times == sorted(times)
    assert max(np.diff(times)) < 0.1 and abs(times[-1] - float(result["times"][-1])) < 0.1


@pytest.mark.parametrize(
    ("offset", "suffix"),
    [*itertools.product([-1, -0.7, -0.05, 0.5, 1000, 95000, 20], [".mp4", ".mkv"]), (-0.7, ".webm"), (1000, ".webm")],
)
def test_recordings_that_were_joined(offset, suffix, upscale, soft, tmp_path):
    first = recording(tmp_path / "a.ts", "-output_ts_offset", "2", "-muxdelay", "0")
    second = moved(recording(tmp_path / "b.ts", picture="testsrc", tone=900), 3 + offset)
    frames = rgb(first) + rgb(second)
    (tmp_path / "joined.ts").write_bytes(first.read_bytes() + second.read_bytes())
    status, lines = upscale(tmp_path / "joined.ts", tmp_path / f"out{suffix}", "--crf", 1, model=soft)
    assert status == 0 and f"{2 * SECONDS * RATE} frames, 0 replaced" in lines[-1], lines
    assert len(lines) == 1 + (offset != 0.5) + (suffix == ".webm")  # which gets the sound as Opus
    if offset != 0.5:
        assert "joined.ts: its time stamps jump once" in lines[0], lines
        check_is_whole(tmp_path / f"out{suffix}", frames, 2)
    else:  # a gap of that length may be one of the recording: it stays
        times = probe(tmp_path / f"out{suffix}")["times"]
        assert max(np.diff([float(time) for time in times])) > 0.4


def test_joined_again_and_again_in_a_program_stream(upscale, soft, tmp_path):
    parts = [recording(tmp_path / f"{index}.mpg", picture=name) for index, name in
             enumerate(("testsrc", "testsrc2", "testsrc"))]  # fmt: skip
    (tmp_path / "joined.mpg").write_bytes(b"".join(part.read_bytes() for part in parts))
    status, lines = upscale(tmp_path / "joined.mpg", tmp_path / "out.mkv", "--crf", 1, model=soft)
    assert status == 0 and "jump 2 times" in lines[0] and "75 frames" in lines[-1], lines
    check_is_whole(tmp_path / "out.mkv", [frame for part in parts for frame in rgb(part)], 3)


@pytest.mark.parametrize(
    ("suffix", "coding", "head"),
    [(".flv", "-c:v flv1 -c:a mp3 -ar 44100", 13), (".mkv", "-c:v libx264 -bf 5 -b_strategy 0 -c:a libopus -live 1", 0),
     (".webm", "-c:v libvpx -b:v 2M -c:a libopus -live 1", 0)],
)  # fmt: skip
def test_streams_that_were_recorded_again_after_a_pause_turn_back(suffix, coding, head, upscale, soft, tmp_path):
    """FLV and Matroska without its length, as servers and browsers record them."""
    parts = [
        recording(tmp_path / f"{begin}{suffix}", *coding.split(), "-output_ts_offset", str(begin), picture=picture)
        for begin, picture in ((6, "testsrc2"), (3, "testsrc"), (0, "smptebars"))
    ]
    joined, target = tmp_path / f"in{suffix}", tmp_path / "out.mkv"
    for count, jumps in enumerate(("", "its time stamps jump once", "its time stamps jump 2 times"), 1):
        joined.write_bytes(parts[0].read_bytes() + b"".join(part.read_bytes()[head:] for part in parts[1:count]))
        status, lines = upscale(joined, target, model=soft)
        assert status == 0 and len(lines) == (2 if jumps else 1) and jumps in lines[0], lines
        check_is_whole(target, [frame for part in parts[:count] for frame in rgb(part)], count)


def test_a_frame_that_stands_is_no_jump(tmp_path):
    arguments = "-f lavfi -i testsrc2=s=32x24:r=25:d=1 -vf setpts=if(gt(N\\,9)\\,PTS+30/TB\\,PTS) -vsync vfr"
    for coding in ("-c:v flv1 in.flv", "-c:v libvpx -live 1 in.webm"):
        *coding, name = coding.split()
        ffmpeg(f"{arguments} {' '.join(coding)}", tmp_path / name)
        clip = VideoFile(tmp_path / name)
        times = [float(frame.pts * clip.time_base) for frame in clip.frames()]
        assert len(times) == 25 and max(np.diff(times)) == pytest.approx(30.04, abs=0.01)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_clock_of_33_bits_that_runs_over(suffix, upscale, soft, tmp_path):
    source = recording(tmp_path / "in.ts", "-output_ts_offset", str(2**33 / 90000 - 0.5), "-muxdelay", "0")
    status, lines = upscale(source, tmp_path / f"out{suffix}", "--crf", 1, model=soft)
    assert status == 0 and len(lines) == 1, lines
    check_is_whole(tmp_path / f"out{suffix}", rgb(source), 1)


def test_a_part_of_joined_recordings(tmp_path):
    first, second = recording(tmp_path / "a.ts"), recording(tmp_path / "b.ts", picture="testsrc")
    (tmp_path / "joined.ts").write_bytes(first.read_bytes() + second.read_bytes())
    whole = VideoFile(tmp_path / "joined.ts")
    part = VideoFile(tmp_path / "joined.ts", 0.9, 1.5)
    times = [frame.pts * whole.time_base + whole.begin for frame in whole.frames()]
    expected = [time for time in times if part.begin <= time < part.end]
    found = [float(frame.pts * part.time_base + part.begin) for frame in part.frames()]
    assert found == pytest.approx([float(time) for time in expected], abs=1e-4)
    assert len(expected) == 15 and part.count == 15 and whole.count == 50
    assert whole.timeline.length == pytest.approx(Fraction(2))


def test_a_part_begins_where_it_is_asked_to_in_streams_that_begin_late(tmp_path):
    """Within the first seconds, where a seek to the stream's own begin lands behind its first key frame."""
    source = tmp_path / "in.mpg"
    picture = f"testsrc2=s=64x48:r={RATE}:d=1"
    coding = ["-pix_fmt", "yuv420p", "-c:v", "mpeg2video", "-b:v", "4M", "-g", "12"]
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, *coding, source], check=True)
    whole, part = VideoFile(source), VideoFile(source, 0.4, 0.6)
    assert whole.begin > 0.1
    for frame, expected in zip(part.frames(), rgb(source)[10:15], strict=True):
        np.testing.assert_array_equal(part.pixels(frame), expected)


def with_moved_sound(path, target, moved):
    """Copy a transport stream with other time stamps of its sound alone.

    Args:
        moved: gives the seconds to add, by the share of the sound that lies before.
    """
    data, places = bytearray(path.read_bytes()), []
    for begin in range(0, len(data), 188):
        header = begin + 4 + (1 + data[begin + 4] if data[begin + 3] & 0x20 else 0)
        if data[begin + 1] & 0x40 and data[header : header + 3] == b"\0\0\1" and data[header + 3] & 0xE0 == 0xC0:
            places.append(header + 9)
    for index, at in enumerate(places):
        mark, *rest = data[at : at + 5]  # 33 bits, with a bit set after the 3rd, the 18th and the last
        time = (mark >> 1 & 7) << 30 | rest[0] << 22 | rest[1] >> 1 << 15 | rest[2] << 7 | rest[3] >> 1
        time = (time + round(moved(index / len(places)) * 90000)) % 2**33
        data[at : at + 5] = [mark & 0xF0 | time >> 30 << 1 | 1, time >> 22 & 255, time >> 15 << 1 & 254 | 1, time >> 7 & 255,
                             time << 1 & 254 | 1]  # fmt: skip
    target.write_bytes(data)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("seconds", [10800, 30, -0.5, -5, -10800])
def test_sound_that_jumps_alone_stays_in_step(seconds, back, upscale, soft, tmp_path):
    source = f"-f lavfi -i testsrc2=s=32x24:r={RATE}:d=3 -f lavfi -i sine=d=3:r=48000 -pix_fmt yuv420p"
    coding = "-c:v mpeg2video -g 5 -c:a mp2 -b:a 192k -output_ts_offset 20000"
    subprocess.run(["ffmpeg", "-v", "error", *f"{source} {coding}".split(), tmp_path / "whole.ts"], check=True)
    with_moved_sound(tmp_path / "whole.ts", tmp_path / "in.ts",
                     lambda place: seconds if place > 1 / 3 and not (back and place > 2 / 3) else 0)  # fmt: skip
    for suffix in (".mp4", ".mkv"):
        status, lines = upscale(tmp_path / "in.ts", tmp_path / f"out{suffix}", model=soft)
        jumps = "2 times" if back else "once"
        assert (
            status == 0 and f"in.ts: the time stamps of its sound jump {jumps} where those of its frames" in lines[0]
        ), lines
        times = [time for time, _ in packets(tmp_path / f"out{suffix}", "audio")]
        np.testing.assert_allclose(np.diff(times), 0.024, atol=0.002)
        assert len(times) == 125 and len(probe(tmp_path / f"out{suffix}")["times"]) == 75


def test_a_pause_of_the_sound_stays(upscale, soft, tmp_path):
    source = f"-f lavfi -i testsrc2=s=32x24:r={RATE}:d=14 -f lavfi -i sine=d=14:r=48000 -pix_fmt yuv420p"
    pause = "aselect=lt(t\\,1)+gt(t\\,13)"
    coding = ["-af", pause, *["-c:v", "mpeg2video", "-g", "5", "-c:a", "mp2"]]
    subprocess.run(["ffmpeg", "-v", "error", *source.split(), *coding, tmp_path / "in.ts"], check=True)
    wanted = [time for time, _ in packets(tmp_path / "in.ts", "audio")]
    status, lines = upscale(tmp_path / "in.ts", tmp_path / "out.mkv", model=soft)
    assert status == 0 and len(lines) == 1, lines
    times = [time for time, _ in packets(tmp_path / "out.mkv", "audio")]
    assert np.diff(times).max() == pytest.approx(np.diff(wanted).max(), abs=0.01)
    assert len(times) == len(wanted) and np.diff(wanted).max() > 11


@pytest.mark.parametrize("seconds", [4, 14, 45])
def test_a_pause_of_the_frames_while_the_sound_goes_on_stays(seconds, upscale, soft, tmp_path):
    """A still that is shown for long, and is no frame a moment."""
    source = tmp_path / "in.ts"
    pause = f"setpts=if(gte(N\\,10)\\,PTS+{seconds}/TB\\,PTS)"
    subprocess.run(
        ["ffmpeg", "-v", "error", *f"-f lavfi -i testsrc2=s=32x24:r={RATE}:d=1".split(),
         *f"-f lavfi -i sine=d={seconds + 1}:r=48000".split(), "-vf", pause, "-vsync", "0", *["-c:v", "mpeg2video", "-c:a", "mp2"],
         source], check=True)  # fmt: skip
    status, lines = upscale(source, tmp_path / "out.mkv", model=soft)
    assert status == 0 and len(lines) == 1 and "25 frames, 0 replaced" in lines[0], lines
    distances = np.diff([float(time) for time in probe(tmp_path / "out.mkv")["times"]])
    assert distances.max() == pytest.approx(seconds + 1 / RATE, abs=0.01)
    assert packets(tmp_path / "out.mkv", "audio")[-1][0] == pytest.approx(seconds + 1, abs=0.1)


# -- times that a container hides or does not say


def ffmpeg(arguments, target):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments.split(), target], check=True)
    return target


@pytest.mark.parametrize("codec", ["libx264 -bf 2", "libx264 -bf 0", "mpeg4 -bf 2", "mjpeg"])
def test_avi_which_does_not_say_when_frames_are_shown(codec, upscale, soft, tmp_path):
    inputs = "-f lavfi -i testsrc2=s=32x24:r=25:d=1 -f lavfi -i sine=d=1:r=48000 -pix_fmt yuv420p -c:a pcm_s16le"
    ffmpeg(f"{inputs} -c:v {codec}", tmp_path / "in.avi")
    status, lines = upscale(tmp_path / "in.avi", tmp_path / "out.mkv", model=soft)
    assert (status, len(lines)) == (0, 1), lines
    times = [float(time) for time in probe(tmp_path / "out.mkv")["times"]]
    np.testing.assert_allclose(times, np.arange(25) / 25, atol=0.002)
    assert packets(tmp_path / "out.mkv", "audio")[0][0] == 0


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_what_an_edit_list_hides_is_not_heard(suffix, upscale, soft, tmp_path):
    """Cut without encoding: the file holds a second of sound before its first frame."""
    inputs = "-f lavfi -i testsrc2=s=32x24:r=25:d=3 -f lavfi -i sine=d=3:r=48000 -pix_fmt yuv420p -c:a aac"
    ffmpeg(f"{inputs} -c:v libx264 -g 50", tmp_path / "long.mp4")
    ffmpeg(f"-ss 1.3 -i {tmp_path / 'long.mp4'} -c copy", tmp_path / "in.mp4")
    assert packets(tmp_path / "in.mp4", "audio")[0][0] < -0.9
    status, lines = upscale(tmp_path / "in.mp4", tmp_path / f"out{suffix}", model=soft)
    assert (status, len(lines)) == (0, 1), lines
    first, sound = float(probe(tmp_path / f"out{suffix}")["times"][0]), packets(tmp_path / f"out{suffix}", "audio")
    assert first <= 0.1 and -0.1 <= sound[0][0] - first <= 0 and abs(sound[-1][0] - first - 1.69) < 0.03


def test_a_clip_that_begins_late_does_not_end_early(upscale, soft, tmp_path):
    ffmpeg("-f lavfi -i testsrc2=s=32x24:r=25:d=1 -c:v libx264 -output_ts_offset 5", tmp_path / "in.mkv")
    assert upscale(tmp_path / "in.mkv", tmp_path / "out.mkv", model=soft) == (
        0, ["srgan: 1 done, 0 skipped, 0 failed, 25 frames, 0 replaced"])  # fmt: skip


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_first_frames_without_a_time_have_that_before_the_others(suffix, upscale, soft, tmp_path):
    """As Matroska's of negative times, beside sound that has them."""
    inputs = "-f lavfi -i testsrc2=s=32x24:r=25:d=1 -f lavfi -i sine=d=1 -c:v libx264 -bf 2 -c:a aac"
    ffmpeg(f"{inputs} -output_ts_offset -0.3 -avoid_negative_ts disabled", tmp_path / "in.mkv")
    target = tmp_path / f"out{suffix}"
    assert upscale(tmp_path / "in.mkv", target, model=soft)[0] == 0
    times, sound = [float(time) for time in probe(target)["times"]], packets(target, "audio")
    assert len(times) == 25 and times[0] - sound[0][0] == pytest.approx(0.023, abs=0.003)
    np.testing.assert_allclose(np.diff(times), 0.04, atol=0.002)


def test_short_packets_of_sound_are_not_moved(upscale, soft, tmp_path):
    """TrueHD's, of which Matroska has several in a millisecond."""
    inputs = "-f lavfi -i testsrc2=s=32x24:r=25:d=1 -f lavfi -i sine=d=1:r=48000 -c:v libx264 -c:a truehd -strict -2"
    ffmpeg(inputs, tmp_path / "in.mkv")
    assert upscale(tmp_path / "in.mkv", tmp_path / "out.mkv", model=soft)[0] == 0
    assert packets(tmp_path / "out.mkv", "audio") == packets(tmp_path / "in.mkv", "audio") != []


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_part_that_begins_a_little_before_a_frame(suffix, upscale, soft, tmp_path):
    """The first frame is shown half a millisecond after 0.5 seconds, which players are to find in the edit list."""
    ffmpeg("-f lavfi -i testsrc2=s=32x24:r=30000/1001:d=1 -c:v libx264 -pix_fmt yuv420p", tmp_path / "in.mp4")
    target = tmp_path / f"out{suffix}"
    assert upscale(tmp_path / "in.mp4", target, "--start", 0.5, model=soft)[0] == 0
    said = subprocess.run(["ffprobe", "-v", "warning", target], capture_output=True, text=True, check=True)
    times = probe(target)["times"]
    assert said.stderr == "" and len(times) == 15 and times[0] == Fraction(1, 2000)


def test_a_part_ends_before_the_frame_at_its_end(tmp_path):
    ffmpeg("-f lavfi -i testsrc2=s=32x24:r=25:d=2 -c:v libx264", tmp_path / "in.mp4")
    for tenths in range(2, 20):  # some of which are a little more as floats
        clip = VideoFile(tmp_path / "in.mp4", 0.1, tenths / 10)
        assert sum(1 for _ in clip.frames()) == -(-5 * tenths // 2) - 3, tenths
