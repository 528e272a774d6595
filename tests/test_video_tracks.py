"""The other tracks of a video file: every codec that PyAV encodes into every container, timecodes, data tracks."""

import contextlib
import io
import re
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from videos import make_video, packets, probe, scene

from srgan.clips.encoding import choose_encoding
from srgan.clips.muxing import moved_timecode
from srgan.clips.rehearsal import fit_container
from srgan.clips.video_file import VideoFile
from srgan.clips.writing import VideoWriter
from srgan.errors import SRGANError, UsageError

CONTAINERS = (".mp4", ".mkv", ".webm", ".mov")
SOUND_RATES = (48000, 44100, 22050, 16000, 8000)
ONLY_RATE = {
    "libopencore_amrnb": [8000],
    "comfortnoise": [8000],
    "g722": [16000],
}  # where others open, too, but are wrong
HARDWARE = re.compile("_(amf|nvenc|qsv|v4l2m2m|vaapi|mf|videotoolbox)$")


def encoders(kind):
    """The encoders of PyAV, without those that need a device."""
    found = []
    for name in sorted(av.codecs_available):
        try:
            if av.codec.Codec(name, "w").type == kind and not HARDWARE.search(name):
                found.append(name)
        except av.codec.codec.UnknownCodecError:
            pass
    return found


def sound(name):
    """An encoder of sound, opened as it likes to be, and a tone of 0.4 seconds for it; None where it cannot be opened."""
    codec = av.codec.Codec(name, "w")
    for layout in ("stereo", "mono"):
        for rate in ONLY_RATE.get(name) or codec.audio_rates or SOUND_RATES:
            context = av.CodecContext.create(name, "w")
            context.sample_rate, context.layout, context.time_base = rate, layout, Fraction(1, rate)
            context.format = (codec.audio_formats or [av.AudioFormat("s16")])[0]
            context.options = {"strict": "-2"}
            try:
                context.open()
            except (av.FFmpegError, ValueError):
                continue
            times = np.arange(int(rate * 0.4)) / rate
            wave = (np.sin(6.28 * (200 + 1000 * times) * times) * 0.3).astype(np.float32)
            tone = av.AudioFrame.from_ndarray(np.stack([wave] * (2 if layout == "stereo" else 1)), "fltp", layout)
            tone.sample_rate, tone.pts = rate, 0
            return rate, layout, context.format, av.AudioResampler(context.format, layout, rate).resample(tone)
    return None


def with_sounds(file, kind, sounds):
    """Write a clip of ten frames and 0.4 seconds of sound by each encoder: pairs of its name and what `sound` found."""
    with av.open(file, "w", format=kind) as out:
        video = out.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 32, 24, "yuv420p"
        tracks = []
        for name, (rate, layout, format_, tones) in sounds:
            track = out.add_stream(name, rate=rate, options={"strict": "-2"})
            track.metadata["title"] = name
            track.codec_context.layout, track.codec_context.format = layout, format_
            tracks.append((track, tones))
        for index, frame in enumerate(scene(10)):
            picture = av.VideoFrame.from_ndarray(frame)
            picture.pts, picture.time_base = index, Fraction(1, 25)
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
        for track, tones in tracks:
            for tone in tones:
                out.mux(track.encode(tone))
            out.mux(track.encode(None))


def with_every_sound(path, kind):
    """Write a file with a track of every kind of sound that the container takes; how many there are."""
    taken = []
    for name in encoders("audio"):
        try:
            found = sound(name)
            with_sounds(io.BytesIO(), kind, [(name, found)])
        except (av.FFmpegError, ValueError, TypeError):
            continue
        taken.append((name, sound(name)))
    with_sounds(str(path), kind, taken)
    return len(taken)


def complaints(path):
    """What ffprobe says of a file, without its numbers."""
    done = subprocess.run(
        ["ffprobe", "-v", "warning", "-show_packets", str(path)], capture_output=True, text=True, check=False
    )
    return {re.sub(r"0x[0-9a-f]+|\d+", "#", line) for line in done.stderr.splitlines()}


def write(source, target, codec=None):
    """Write a clip as it is; the lines that a user sees."""
    lines, clip = [], VideoFile(source)
    folder = target.with_name("work")
    folder.mkdir()
    encoding = choose_encoding(clip, clip.width, clip.height, target.suffix, codec, notice=lines.append)
    encoding = fit_container(encoding, target.suffix, lines.append)
    writer = VideoWriter(clip, target, folder, encoding, lines.append)
    writer.write((frame, clip.pixels(frame)) for frame in clip.frames())
    writer.join()
    return lines


@pytest.fixture(scope="module", params=["nut", "mov", "matroska"])
def every_sound(request, tmp_path_factory):
    """A file with a track of every kind of sound that its container takes, and how many there are."""
    path = tmp_path_factory.mktemp("sounds") / f"in.{request.param}"
    return path, with_every_sound(path, request.param)


def contents(path):
    """The bytes of every track, by its index."""
    found = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            found[packet.stream.index] = found.get(packet.stream.index, b"") + bytes(packet)
    return found


def heard(path, index):
    """What a player plays of a stream: mono at 8 kHz, from when it shows the first frame on."""
    with av.open(str(path)) as container:
        begin = next(container.decode(video=0)).time
    resampler, parts, start = av.AudioResampler("fltp", "mono", 8000), [], None
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams[index]):
            with contextlib.suppress(av.FFmpegError):
                for frame in packet.decode():
                    start = frame.time - begin if start is None else start
                    parts += resampler.resample(frame)
    parts += resampler.resample(None)
    samples = np.concatenate([np.zeros(8000), *(part.to_ndarray()[0] for part in parts), np.zeros(8000)])
    return samples[8000 - round(start * 8000) :][:8000]


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_sound_is_carried_converted_or_named(suffix, every_sound, tmp_path):
    (source, count), target = every_sound, tmp_path / f"out{suffix}"
    assert count > 12
    fate = {}
    for line in write(source, target):
        found = re.search(r"stream (\d+) cannot be copied and is (left out|converted to (?:AAC|Opus)) \(", line)
        fate[int(found[1])] = found[2]
    left_out = [index for index, what in fate.items() if what == "left out"]
    assert len(left_out) <= 2  # those that lack in .nut what their decoder has to know
    before, after = contents(source), contents(target)
    kept = [index for index in range(1, count + 1) if index not in left_out]
    assert len(kept) == len(after) - 1
    for new, index in enumerate(kept, 1):
        if index not in fate:
            assert after[new] == before[index]
            continue
        with av.open(str(target)) as container:
            assert container.streams[new].codec_context.name == ("opus" if suffix == ".webm" else "aac")
            is_noise = container.streams[new].metadata.get("title") == "comfortnoise"
        wanted, found = heard(source, index), heard(target, new)
        likeness = np.correlate(found, wanted, "full") / np.linalg.norm(wanted) / np.linalg.norm(found)
        assert is_noise or likeness[8000 - 12 : 8000 + 12].max() > 0.9, index  # 12: 1.5 ms, some containers count in ms
    assert complaints(target) <= complaints(source)


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_picture_encoder_is_refused_before_the_work_or_gives_a_whole_file(suffix, tmp_path):
    make_video(tmp_path / "in.mkv", scene(3, 144, 176))
    written = []
    for name in encoders("video"):
        (tmp_path / name).mkdir()
        target = tmp_path / name / f"out{suffix}"
        try:
            write(tmp_path / "in.mkv", target, name)
        except (UsageError, SRGANError) as error:
            assert str(error).startswith("codec: "), (name, error)
            continue
        assert len(probe(target)["frames"]) == 3, name
        assert complaints(target) == set(), name
        written.append(name)
    assert {"libvpx-vp9", "libsvtav1"} <= set(written) or suffix == ".mov" and {"libx264", "libx265"} <= set(written)


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_titles_and_languages_of_tracks_are_kept(suffix, upscale, tmp_path):
    source, titles = tmp_path / "in.mkv", ["Director's commentary", "5.1", "\u65e5\u672c\u8a9e"]
    make_video(tmp_path / "plain.mkv", scene(12), sound=True)
    tags = [f"-metadata:s:{index}" for index in range(1, 4)]
    convert = ["ffmpeg", "-v", "error", "-i", tmp_path / "plain.mkv", *["-map", "0:v", *["-map", "0:a"] * 3]]
    titled = [word for tag, title in zip(tags, titles) for word in (tag, f"title={title}", tag, "language=jpn")]
    titled += ["-metadata:s:0", "title=The film itself"]
    subprocess.run([*convert, "-c:v", "copy", "-c:a", "libopus", *titled, source], check=True)
    status, lines = upscale(source, tmp_path / f"out{suffix}")
    assert status == 0 and len(lines) == (4 if suffix == ".mov" else 1), lines  # .mov holds no Opus
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        found = [{key.lower(): value for key, value in stream.metadata.items()} for stream in container.streams]
    assert [tags.get("title") or tags.get("name") for tags in found] == ["The film itself", *titles]
    assert [tags["language"] for tags in found[1:]] == ["jpn"] * 3
    assert complaints(tmp_path / f"out{suffix}") == set()


def test_a_timecode_is_carried_where_there_is_a_track_for_it(upscale, tmp_path):
    subprocess.run(
        [*["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=32x24:r=25:d=1", "-f", "lavfi", "-i", "sine=d=1", "-c:v", "prores_ks", "-c:a", "pcm_s16le"],
         "-timecode", "10:00:00:00", tmp_path / "in.mov"], check=True)  # fmt: skip
    for suffix in CONTAINERS[:2] + CONTAINERS[3:]:
        for start, timecode in ((None, "10:00:00:00"), (0.4, "10:00:00:10")):
            target = tmp_path / f"out{suffix}"
            status, lines = upscale(tmp_path / "in.mov", target, *(["--start", start] if start else []))
            assert status == 0 and len(lines) == 1, lines
            with av.open(str(target)) as container:
                tags = container.metadata | container.streams.video[0].metadata
                assert {key.lower(): value for key, value in tags.items()}["timecode"] == timecode
                assert sum(stream.type == "data" for stream in container.streams) == (suffix != ".mkv")
            assert complaints(target) <= complaints(tmp_path / "in.mov")


@pytest.mark.parametrize(
    ("timecode", "seconds", "rate", "moved"),
    [
        ("10:00:00:00", 2, 25, "10:00:02:00"),
        ("23:59:59:24", Fraction(1, 25), 25, "00:00:00:00"),
        ("00:00:59;29", Fraction(1001, 30000), Fraction(30000, 1001), "00:01:00;02"),
        ("00:09:59;29", Fraction(1001, 30000), Fraction(30000, 1001), "00:10:00;00"),
        ("00:00:00;00", Fraction(1001 * 107892, 30000), Fraction(30000, 1001), "01:00:00;00"),
        ("reel 7", 2, 25, "reel 7"),
    ],
)
def test_a_timecode_moves_by_frames(timecode, seconds, rate, moved):
    assert moved_timecode(timecode, Fraction(seconds), Fraction(rate)) == moved


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_data_tracks_are_named_and_left_out(suffix, upscale, tmp_path):
    """Those of telephones and drones, made by renaming a track of subtitles."""
    make_video(tmp_path / "in.mkv", scene(6), subtitles=True)
    convert = ["ffmpeg", "-v", "error", "-i", tmp_path / "in.mkv", "-map", "0", "-c:v", "copy", "-c:s", "mov_text"]
    subprocess.run([*convert, tmp_path / "in.mov"], check=True)
    for kind in (b"mebx", b"djmd"):
        content = (
            (tmp_path / "in.mov")
            .read_bytes()
            .replace(b"sbtl", b"meta")
            .replace(b"text", b"meta")
            .replace(b"tx3g", kind)
        )
        (tmp_path / "camera.mov").write_bytes(content)
        status, lines = upscale(tmp_path / "camera.mov", tmp_path / f"out{suffix}")
        assert status == 0 and "data stream 1" in lines[0] and "is left out" in lines[0], lines
        assert probe(tmp_path / f"out{suffix}")["others"] == [] and complaints(tmp_path / f"out{suffix}") == set()


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_chapters_attachments_and_covers_beside_one_another(suffix, upscale, tmp_path):
    """Each is carried, or named as left out."""
    make_video(tmp_path / "plain.mkv", scene(24), title="A walk")  # with a chapter and a font
    Image.fromarray(scene(1)[0]).save(tmp_path / "cover.jpg")
    cover = ["-i", tmp_path / "cover.jpg", "-map", "0:v", "-map", "1", "-c", "copy", "-disposition:v:1", "attached_pic"]
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "plain.mkv", *cover, tmp_path / "in.mp4"], check=True)
    for source in ("plain.mkv", "in.mp4"):
        target = tmp_path / f"out{suffix}"
        status, lines = upscale(tmp_path / source, target)
        named = [line for line in lines if "cannot be copied and is left out" in line]
        assert status == 0 and len(lines) == 1 + len(named) and not any("data stream" in line for line in named), lines
        with av.open(str(target)) as container:
            assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["Out of doors"]
            assert sum(stream.type != "data" for stream in container.streams) == 2 - len(named)
        # FFmpeg's own words on the chapters of any MP4, which are a track there
        assert complaints(target) <= complaints(tmp_path / source) | {"Unsupported codec with id # for input stream #"}


def test_what_cannot_be_written_fails_before_the_work(upscale, tmp_path, monkeypatch):
    make_video(tmp_path / "in.mkv", scene(6), sound=True)
    monkeypatch.setattr(
        "srgan.upscale.engines.openvino_engine.OpenVINOEngine.__call__", None
    )  # any work would end in a traceback

    def failing(*arguments, **options):
        raise av.error.InvalidDataError(22, "Invalid argument")

    monkeypatch.setattr("srgan.clips.muxing.chapters", failing)
    status, lines = upscale(tmp_path / "in.mkv", tmp_path / "out.mkv")
    assert status == 1 and "out.mkv: cannot be written (Invalid argument)" in lines[-2]
    assert packets(tmp_path / "in.mkv", "audio") and not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "pcm_f32le"), (".webm", "pcm_s16le"), (".mkv", "pcm_u16le")])
def test_converted_sound_stays_in_step_where_some_is_missing(suffix, codec, tmp_path):
    """A tone of half a second, nothing for half a second, a higher tone; and a part of that."""
    with av.open(str(tmp_path / "in.nut"), "w") as out:
        video, track = out.add_stream("mpeg4", rate=25), out.add_stream(codec, rate=48000)
        video.width, video.height, video.pix_fmt = 32, 24, "yuv420p"
        for index, frame in enumerate(scene(40)):
            picture = av.VideoFrame.from_ndarray(frame)
            picture.pts, picture.time_base = index, Fraction(1, 25)
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
        resampler = av.AudioResampler(track.codec_context.format, "stereo", 48000, frame_size=1024)
        for index in [*range(24), *range(48, 72)]:
            times = np.arange(1024 * index, 1024 * (index + 1)) / 48000
            wave = 0.3 * np.sin(6.28 * (300 if index < 24 else 700) * times).astype(np.float32)
            tone = av.AudioFrame.from_ndarray(np.stack([wave] * 2), "fltp", "stereo")
            tone.sample_rate, tone.pts, tone.time_base = 48000, 1024 * index, Fraction(1, 48000)
            for part in resampler.resample(tone):
                out.mux(track.encode(part))
        out.mux(track.encode(None))
    for start, quiet in ((None, (0.51, 1.02)), (0.3, (0.21, 0.72))):
        target = tmp_path / f"out{suffix}"
        clip, lines, folder = VideoFile(tmp_path / "in.nut", start), [], tmp_path / f"work{start}"
        folder.mkdir()
        encoding = choose_encoding(clip, 32, 24, suffix)
        writer = VideoWriter(clip, target, folder, encoding, lines.append)
        writer.write((frame, clip.pixels(frame)) for frame in clip.frames())
        writer.join()
        assert "is converted to" in lines[0]
        loud = np.abs(heard(target, 1)).reshape(-1, 80).max(1) > 0.1  # by hundredths of a second
        begin, end = (round(100 * time) for time in quiet)
        assert loud[3 : begin - 2].all() and not loud[begin + 2 : end - 2].any() and loud[end + 2 : end + 25].all()
        assert complaints(target) == set()


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_sound_of_windows_is_converted_to_its_end(suffix, tmp_path):
    """Whose decoder gives its last samples without a time."""
    inputs = "-f lavfi -i testsrc2=s=32x24:r=25:d=1 -f lavfi -i sine=d=1:r=44100"
    coding = ["-c:v", "wmv2", "-c:a", "wmav2", tmp_path / "in.wmv"]
    subprocess.run(["ffmpeg", "-v", "error", *inputs.split(), *coding], check=True)
    (line,) = write(tmp_path / "in.wmv", tmp_path / f"out{suffix}")
    assert "is converted to" in line
    assert np.abs(heard(tmp_path / f"out{suffix}", 1))[400:7800].reshape(-1, 100).max(1).min() > 0.05


@pytest.mark.parametrize("kind", ["s16le", "s16be", "s24le", "s24be", "s32le", "f64be"])
def test_uncompressed_sound_in_mp4_is_no_noise_to_earlier_players(kind, tmp_path):
    """As FFmpeg's own program of the system plays it, which takes 24 bits for 16."""
    inputs = "-f lavfi -i testsrc2=s=32x24:r=25:d=0.4 -f lavfi -i sine=d=0.4:r=48000"
    coding = ["-c:v", "libx264", "-c:a", f"pcm_{kind}", tmp_path / "in.mov"]
    subprocess.run(["ffmpeg", "-v", "error", *inputs.split(), *coding], check=True)
    lines = write(tmp_path / "in.mov", tmp_path / "out.mp4")
    assert ("is converted to AAC" in "".join(lines)) == (kind not in ("s16le", "s16be"))
    raw = [
        subprocess.run(
            ["ffmpeg", "-v", "error", "-i", path, "-f", "f32le", "-"], capture_output=True, check=True
        ).stdout
        for path in (tmp_path / "in.mov", tmp_path / "out.mp4")
    ]
    before, after = (np.frombuffer(data, np.float32)[2000:18000] for data in raw)
    assert np.abs(before - after).max() < 0.02


def test_languages_in_mov_are_kept_by_apples_names_or_named(tmp_path):
    inputs = "-f lavfi -i testsrc2=s=32x24:r=25:d=0.4" + " -f lavfi -i sine=d=0.4:r=48000" * 5
    maps = " ".join(f"-map {index}" for index in range(6))
    languages = ["eng", "deu", "nld", "gsw", "zho"]
    tags = " ".join(f"-metadata:s:a:{index} language={name}" for index, name in enumerate(languages))
    arguments = f"{inputs} {maps} {tags} -c:v libx264 -c:a aac".split()
    subprocess.run(["ffmpeg", "-v", "error", *arguments, tmp_path / "in.mkv"], check=True)
    (line,) = write(tmp_path / "in.mkv", tmp_path / "out.mov")
    assert "audio stream 4 loses what a .mov file has no place for: its language (gsw)" in line
    with av.open(str(tmp_path / "out.mov")) as container:
        assert [stream.language for stream in container.streams.audio] == ["eng", "ger", "dut", None, "chi"]


@pytest.mark.parametrize(("suffix", "lost"), [(".mkv", []), (".webm", ["comment"]), (".mov", ["comment", "forced"])])
def test_marks_of_a_track_are_kept_or_named(suffix, lost, tmp_path):
    """Such as that sound is a comment on the film."""
    arguments = "-f lavfi -i testsrc2=s=32x24:r=25:d=0.4 -f lavfi -i sine=d=0.4:r=48000 -f lavfi -i sine=d=0.4:r=48000"
    arguments += " -map 0 -map 1 -map 2 -c:v libx264 -c:a libopus -disposition:a:0 comment -disposition:a:1 forced"
    subprocess.run(["ffmpeg", "-v", "error", *arguments.split(), tmp_path / "in.mp4"], check=True)
    lines = write(tmp_path / "in.mp4", tmp_path / f"out{suffix}")
    told = " ".join(line for line in lines if "loses" in line)
    marks = {"comment": av.stream.Disposition.comment, "forced": av.stream.Disposition.forced}
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        for stream, (name, mark) in zip(container.streams.audio, marks.items()):
            assert bool(stream.disposition & mark) != (name in lost), (name, told)
            assert (f"marked {name}" in told) == (name in lost), told
