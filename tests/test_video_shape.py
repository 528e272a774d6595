"""What a player shows: the shape of pixels, cropping, HDR10, transparency."""

import struct
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from videos import make_video, probe, rgb, scene

from srgan.clips.hdr import read_hdr
from srgan.clips.video_file import VideoFile

KINDS = [("out.mp4", None), ("out.mkv", "libvpx-vp9"), ("out.webm", None), ("out.webm", "libsvtav1"),
         ("out.mp4", "libsvtav1"), ("out.mkv", "ffv1"), ("out.mov", "prores_ks"), ("out.gif", None)]  # fmt: skip


def shown(path, width, height):
    """The first frame as a player shows it, in its window."""
    clip = VideoFile(path)
    picture = clip.pixels(next(iter(clip.frames())))[..., :3]
    picture = picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
    ratio = clip.width * clip.aspect / clip.height
    return np.asarray(Image.fromarray(picture).resize((width, height)), float), ratio


@pytest.mark.parametrize(("name", "codec"), KINDS)
@pytest.mark.parametrize("aspect", [Fraction(4, 3), Fraction(8, 9)], ids=str)
def test_the_shape_of_pixels_is_kept(aspect, name, codec, upscale, soft, tmp_path):
    make_video(tmp_path / "in.mkv", scene(2, 64, 48), aspect=aspect, crf=1)
    options = ["--codec", codec] if codec else []
    status, lines = upscale(tmp_path / "in.mkv", tmp_path / name, *options, model=soft)
    assert status == 0, lines
    stretched = VideoFile(tmp_path / name).aspect == 1
    assert ("that pixels are not square: the result is stretched instead" in lines[0]) == stretched, lines
    before, ratio = shown(tmp_path / "in.mkv", 64, 48)
    after, same = shown(tmp_path / name, 64, 48)
    assert float(same) == pytest.approx(float(ratio), rel=0.02) and np.abs(after - before).mean() < 6


@pytest.mark.parametrize("display", [(), ("--display-dimensions", "0:96x40")], ids=["square", "wide"])
@pytest.mark.parametrize(("name", "codec"), KINDS)
def test_what_matroska_cuts_off_stays_off(name, codec, display, upscale, soft, tmp_path):
    frame = np.full((48, 64, 3), 128, np.uint8)
    frame[4:-8, 2:-6] = scene(1, 56, 36)[0]
    make_video(tmp_path / "whole.mkv", [frame] * 2, crf=1)
    cut = ["mkvmerge", "-q", "-o", tmp_path / "in.mkv", "--cropping", "0:2,4,6,8", *display, tmp_path / "whole.mkv"]
    subprocess.run(cut, check=True)
    options = ["--codec", codec] if codec else []
    status, lines = upscale(tmp_path / "in.mkv", tmp_path / name, *options, model=soft)
    assert status == 0, lines
    after, ratio = shown(tmp_path / name, 56, 36)
    assert np.abs(after - frame[4:-8, 2:-6]).mean() < 6
    assert float(ratio) == pytest.approx(96 / 40 if display else 56 / 36, rel=0.02)


HDR = (
    "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=limited:hdr10=1:repeat-headers=1:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400"
)


@pytest.mark.parametrize(("name", "codec"), [("out.mp4", "libx265"), ("out.mkv", "libx265"), ("out.mkv", "libsvtav1"),
                                             ("out.mp4", "libx264"), ("out.webm", "libvpx-vp9")])  # fmt: skip
def test_the_metadata_of_hdr10_is_kept_or_its_loss_is_reported(name, codec, upscale, soft, tmp_path):
    make_video(tmp_path / "in.mp4", scene(3, 64, 48), codec="libx265", pix_fmt="yuv420p10le", colour=(9, 1, 9, 16),
               **{"x265-params": HDR})  # fmt: skip
    wanted = VideoFile(tmp_path / "in.mp4").hdr
    assert wanted.light == (1000, 400) and wanted.luminance == (Fraction(1, 200), 1000)
    assert wanted.primaries[:2] == (Fraction(34, 50), Fraction(16, 50))
    status, lines = upscale(tmp_path / "in.mp4", tmp_path / name, "--codec", codec, model=soft)
    assert status == 0 and probe(tmp_path / name)["colour"] == (9, 1, 9, 16), lines
    if codec == "libvpx-vp9":
        assert "drops what it says of HDR10's mastering display and light" in "".join(lines)
    else:
        with av.open(str(tmp_path / name)) as container:
            found = read_hdr(next(container.decode(video=0)))
        assert found.light == wanted.light and len(lines) == 1
        for part in ("primaries", "luminance"):
            given, expected = ([float(value) for value in getattr(hdr, part)] for hdr in (found, wanted))
            assert given == pytest.approx(expected, abs=1e-3)


def with_box(content, entry, box):
    """An MP4 file, its index at the end, with a box more at the end of a sample entry."""
    path = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", entry)
    place = 0
    for name in path:
        place = content.index(name, place)
        size = int.from_bytes(content[place - 4 : place], "big")
        content = content[: place - 4] + (size + len(box)).to_bytes(4, "big") + content[place:]
    return content[: place - 4 + size] + box + content[place - 4 + size :]


@pytest.mark.parametrize("profile", [5, 8])
def test_the_loss_of_dolby_vision_is_reported(profile, upscale, soft, tmp_path):
    make_video(tmp_path / "in.mp4", scene(3, 64, 48), codec="libx265", pix_fmt="yuv420p10le", colour=(9, 1, 9, 16),
               **{"x265-params": "log-level=none"})  # fmt: skip
    # ETSI TS 103 572: a profile, level 1, with a base layer and its metadata
    record = b"\0\0\0\x20dvvC" + bytes([1, 0, profile << 1, (1 << 3) | 0b101, 1 << 4]) + bytes(19)
    (tmp_path / "in.mp4").write_bytes(with_box((tmp_path / "in.mp4").read_bytes(), b"hev1", record))
    status, lines = upscale(tmp_path / "in.mp4", tmp_path / "out.mp4", "--codec", "libx265", model=soft)
    assert status == 0 and "in.mp4: its Dolby Vision metadata is left out" in lines[-2], lines
    assert ("whose colours are wrong" in lines[0]) == (profile == 5) and len(lines) == (3 if profile == 5 else 2)
    assert probe(tmp_path / "out.mp4")["colour"] == (9, 1, 9, 16)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "libsvtav1"])
def test_the_tags_of_hlg_are_kept(codec, upscale, soft, tmp_path):
    make_video(tmp_path / "in.mp4", scene(2, 64, 48), pix_fmt="yuv420p10le", colour=(9, 1, 9, 18))
    target = tmp_path / "out.mkv"
    assert upscale(tmp_path / "in.mp4", target, "--codec", codec, model=soft)[0] == 0
    assert probe(target)["colour"] == (9, 1, 9, 18)


def test_the_loss_of_closed_captions_is_reported(upscale, soft, tmp_path):
    """As ATSC A/53 has them: in the supplemental information of H.264."""
    make_video(tmp_path / "plain.mp4", scene(3, 64, 48))
    captions = b"\xb5\x00\x31GA94\x03\x41\xff\xfc\x94\x20\xff"
    unit = b"\x06\x04" + bytes([len(captions)]) + captions + b"\x80"
    with av.open(str(tmp_path / "plain.mp4")) as source, av.open(str(tmp_path / "in.mp4"), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                more = av.Packet(len(unit).to_bytes(4, "big") + unit + bytes(packet))
                more.pts, more.dts, more.time_base = packet.pts, packet.dts, packet.time_base
                more.is_keyframe, more.stream = packet.is_keyframe, stream
                out.mux_one(more)
    status, lines = upscale(tmp_path / "in.mp4", tmp_path / "out.mp4", model=soft)
    assert status == 0 and "in.mp4: its text of closed captions is left out" in lines[0] and len(lines) == 2, lines


def test_the_loss_of_3d_is_reported(upscale, soft, tmp_path):
    make_video(tmp_path / "plain.mkv", scene(2, 64, 48))
    subprocess.run(
        ["mkvmerge", "-q", "-o", tmp_path / "in.mkv", "--stereo-mode", "0:1", tmp_path / "plain.mkv"], check=True
    )
    status, lines = upscale(tmp_path / "in.mkv", tmp_path / "out.mkv", model=soft)
    assert status == 0 and "in.mkv: its description of 3-D is left out" in lines[0], lines


TRANSPARENT = {
    "in.mov": "-c:v prores_ks -profile:v 4444",
    "vp9.webm": "-c:v libvpx-vp9 -pix_fmt yuva420p -b:v 0 -crf 4 -metadata:s:v:0 alpha_mode=1",
    "vp8.mkv": "-c:v libvpx -pix_fmt yuva420p -b:v 4M -auto-alt-ref 0 -metadata:s:v:0 alpha_mode=1",
}
# Where transparency goes with each codec; False: it is laid on white, and said to be.
PLACES = [("out.mov", "prores_ks", True), ("out.mkv", "ffv1", True), ("out.webm", None, True), ("out.mkv", "vp9", True),
          ("out.webm", "vp8", True), ("out.mov", "png", True), ("out.mov", "tiff", True), ("out.mp4", "vp9", False), ("out.mp4", None, False),
          ("out.mp4", "libx265", False), ("out.mov", "dxv", False), ("out.webm", "libsvtav1", False)]  # fmt: skip


@pytest.mark.parametrize("name", TRANSPARENT)
def test_transparency_is_kept_or_laid_on_white_and_reported(name, upscale, soft, tmp_path):
    alpha = "yuva444p10le,geq=lum='lum(X,Y)':cb='cb(X,Y)':cr='cr(X,Y)':a='if(lt(X,32),1023,256)'"
    source = ["-f", "lavfi", "-i", f"testsrc2=s=64x48:r=25:d=0.1,format={alpha}"]
    subprocess.run(["ffmpeg", "-v", "error", *source, *TRANSPARENT[name].split(), tmp_path / name], check=True)
    before = rgb(tmp_path / name)
    assert before[0].shape[2] == 4 and before[0][..., 3].min() < np.iinfo(before[0].dtype).max / 3
    for place, codec, kept in PLACES if name == "in.mov" else PLACES[:4]:
        target = tmp_path / (codec or "default") / place
        target.parent.mkdir(exist_ok=True)
        status, lines = upscale(tmp_path / name, target, *(["--codec", codec] if codec else []), model=soft)
        assert status == 0 and ("holds no transparency here, it is laid on white" in "".join(lines)) != kept, lines
        for first, after in zip(before, rgb(target), strict=True):
            if kept:
                values = [image[..., 3].astype(float) / np.iinfo(image.dtype).max for image in (first, after)]
                assert np.abs(values[1][::4, ::4] - values[0])[:, np.r_[:28, 36:64]].max() < 0.05
                assert np.median(values[1][:, 144:]) == pytest.approx(0.25, abs=0.02) and values[1].max() > 0.98
            else:
                assert np.median(after[..., :3][:, 144:]) > 0.7 * np.iinfo(after.dtype).max
        found = subprocess.run(["ffprobe", "-v", "warning", target], capture_output=True, text=True, check=True)
        assert found.stderr == ""


def test_browsers_find_the_transparency_of_webm(upscale, soft, tmp_path):
    """By the element AlphaMode of the track, and in the blocks' additions, as another version of FFmpeg reads them."""
    for index in range(50):  # more than a segment
        pixels = np.dstack([scene(1)[0], np.full((24, 32), 255 - 4 * index, np.uint8)])
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    assert upscale(tmp_path, tmp_path / "out.webm", model=soft)[0] == 0
    assert "VideoAlphaMode" in subprocess.run(["mkvinfo", tmp_path / "out.webm"], capture_output=True, text=True).stdout
    decoded = subprocess.run(
        ["ffmpeg", "-v", "error", "-c:v", "libvpx-vp9", "-i", tmp_path / "out.webm",
         *["-vf", "alphaextract", "-f", "rawvideo", "-pix_fmt", "gray", "-"]], capture_output=True, check=True)  # fmt: skip
    means = np.frombuffer(decoded.stdout, np.uint8).reshape(50, -1).mean(1)
    np.testing.assert_allclose(means, 255 - 4 * np.arange(50), atol=3)


def test_what_mp4_cuts_off_stays_off(upscale, soft, tmp_path):
    """By the clean aperture of ISO 14496-12: 56 x 36 pixels, 2 right and 2 above of the middle."""
    make_video(tmp_path / "in.mp4", scene(2, 64, 48), crf=1)
    whole = rgb(tmp_path / "in.mp4")[0]
    box = b"\0\0\0\x28clap" + struct.pack(">8i", 56, 1, 36, 1, 2, 1, -2, 1)
    (tmp_path / "in.mp4").write_bytes(with_box((tmp_path / "in.mp4").read_bytes(), b"avc1", box))
    assert upscale(tmp_path / "in.mp4", tmp_path / "out.mp4", "--crf", 1, model=soft)[0] == 0
    found, ratio = shown(tmp_path / "out.mp4", 56, 36)
    assert ratio == Fraction(56, 36) and np.abs(found - whole[4:-8, 6:-2]).mean() < 6


@pytest.mark.parametrize(("name", "codec"), [("out.mp4", "libx264"), ("out.mov", "libx264"), ("out.mov", "prores_ks"), ("out.webm", "vp9"),
                                             ("out.mkv", "vp8"), ("out.mkv", "ffv1"), ("out.mp4", "mpeg4"), ("out.mp4", "libsvtav1")])  # fmt: skip
@pytest.mark.parametrize("span", [1, 2], ids=["limited", "full"])
def test_black_stays_black_and_white_white_in_either_range(span, name, codec, upscale, soft, tmp_path):
    """Where a file cannot say that values have the full range, as ProRes in .mov, they get the other one."""
    frame = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 48, 0).repeat(3, 2)
    make_video(tmp_path / "in.mkv", [frame] * 2, colour=(6, span, 2, 2), crf=1)
    status, lines = upscale(tmp_path / "in.mkv", tmp_path / name, "--codec", codec, model=soft)
    assert status == 0, lines
    after, _ = shown(tmp_path / name, 64, 48)
    assert np.abs(after - frame).mean() < 3 and after[:, 0].max() < 12 and after[:, -1].min() > 243


def test_half_transparency_is_lost_in_a_gif_and_reported(upscale, soft, tmp_path):
    source = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.1,format=rgba,geq=r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':a=4*X"]
    for name, coding in (
        ("in.mov", ["-c:v", "png"]),
        ("plain.mov", ["-c:v", "png", "-pix_fmt", "rgb24"]),
        ("in.gif", []),
    ):
        subprocess.run(["ffmpeg", "-v", "error", *source, *coding, tmp_path / name], check=True)
        status, lines = upscale(tmp_path / name, tmp_path / "out.gif", model=soft)
        assert status == 0 and len(lines) == (2 if name == "in.mov" else 1), lines
        assert name != "in.mov" or "in a GIF a pixel is transparent or not" in lines[0]
