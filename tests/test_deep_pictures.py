"""More than 8 bits stay where the formats have them; only what is listed is opened."""

import io
import os
import re
import stat
import struct
import sys

import imagecodecs
import numpy as np
import pytest
from helpers import run_command
from PIL import Image, features
from upscaling import make_model, photograph

from srgan.errors import SRGANError
from srgan.pictures import Picture, read_picture, read_rgb, size_of, write_picture
from srgan.pictures.profiles import ADOBE_RGB

DEEP = photograph(40, 60).astype(np.uint16) * 257
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


@pytest.mark.parametrize("magic", ["P2", "P3", "P5", "P6"])
@pytest.mark.parametrize("top", [1023, 65535])
def test_pnm_of_more_than_8_bits(magic, top):
    channels = 3 if magic in ("P3", "P6") else 1
    values = np.rint(DEEP[..., :channels] / 65535 * top).astype(int)
    head = f"{magic}\n# a comment\n60 40\n{top}\n".encode()
    body = values.astype(">u2").tobytes() if magic in ("P5", "P6") else " ".join(map(str, values.ravel())).encode()
    picture = read_picture(head + body)
    assert picture.pixels.dtype == np.uint16
    np.testing.assert_array_equal(picture.pixels, np.rint(values * (65535 / top)))
    with pytest.raises(SRGANError, match="cannot be read"):
        read_picture(head + body[: len(body) // 2])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_jpeg_2000_of_more_than_8_bits(channels):
    values = np.dstack([DEEP, DEEP[..., :1]])[..., :channels]
    data = imagecodecs.jpeg2k_encode(values.squeeze(), level=0, codecformat="jp2")
    np.testing.assert_array_equal(read_picture(data).pixels, values)
    eight = imagecodecs.jpeg2k_encode((values // 257).astype(np.uint8).squeeze(), level=0, codecformat="jp2")
    np.testing.assert_array_equal(read_picture(eight).pixels, values // 257)


@needs_avif
@pytest.mark.parametrize("bits", [10, 12])
def test_avif_of_more_than_8_bits(bits, tmp_path):
    values = DEEP >> (16 - bits)
    data = imagecodecs.avif_encode(values, level=100, bitspersample=bits, primaries=1, transfer=13, matrix=6)
    picture = read_picture(data)
    assert picture.pixels.dtype == np.uint16 and picture.icc is None
    assert np.abs(picture.pixels / 257 - photograph(40, 60)).max() < 1
    write_picture(picture, tmp_path / "a.avif", quality=100)
    again = read_picture(tmp_path / "a.avif").pixels
    assert again.dtype == np.uint16 and np.abs(again.astype(int) - picture.pixels).max() < 257


@needs_avif
def test_avif_of_16_bits_keeps_its_metadata(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Nikon"
    file = io.BytesIO()
    Image.fromarray(photograph(20, 30)).save(file, "JPEG", exif=exif, icc_profile=ADOBE_RGB, xmp=b"<x:xmpmeta/>")
    source = read_picture(file.getvalue())
    write_picture(Picture(DEEP, source.icc, source.exif, xmp=source.xmp), tmp_path / "a.avif")
    again = read_picture(tmp_path / "a.avif")
    assert again.icc == ADOBE_RGB and again.exif[0x010F] == "Nikon" and again.xmp == source.xmp


@needs_avif
def test_avif_is_written_in_full_colour(tmp_path):
    lines = np.zeros((32, 32, 3), np.uint8)
    lines[:, ::2] = (255, 0, 0)
    lines[:, 1::2] = (0, 0, 255)
    for deep in (False, True):
        write_picture(Picture(lines * np.uint16(257) if deep else lines), tmp_path / "a.avif")
        assert np.abs(read_rgb(tmp_path / "a.avif").astype(int) - lines).mean() < 12  # 4:2:0 mixes the two


@needs_avif
@pytest.mark.parametrize(("primaries", "transfer", "bits"), [(12, 13, 8), (9, 13, 10), (12, 13, 10)])
def test_avifs_numbers_for_its_colours_survive(primaries, transfer, bits, tmp_path):
    values = photograph(40, 60) if bits == 8 else DEEP >> 6
    options = {} if bits == 8 else {"bitspersample": bits}
    data = imagecodecs.avif_encode(values, level=100, primaries=primaries, transfer=transfer, matrix=1, **options)
    (tmp_path / "in.avif").write_bytes(data)
    picture = read_picture(data)
    assert picture.icc and picture.colour
    meant = read_rgb(tmp_path / "in.avif").astype(int)
    for suffix in (".png", ".jpg", ".avif", ".tif"):
        write_picture(picture, tmp_path / f"out{suffix}", quality=100)
        assert np.abs(read_rgb(tmp_path / f"out{suffix}").astype(int) - meant).mean() < 1.5, suffix
    assert b"cICP" + bytes([primaries, transfer, 0, 1]) in (tmp_path / "out.png").read_bytes()
    hdr = imagecodecs.avif_encode(DEEP >> 6, level=100, bitspersample=10, primaries=9, transfer=16, matrix=9)
    with pytest.raises(SRGANError, match="high dynamic range .PQ."):
        read_picture(hdr)


@needs_avif
@pytest.mark.parametrize("orientation", range(1, 9))
def test_avifs_own_rotation_is_applied_once(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(photograph(20, 30)).save(file, "AVIF", quality=100, subsampling="4:4:4", exif=exif)
    upright = np.asarray(Image.open(file).convert("RGB"))
    upright = {3: lambda p: p[::-1, ::-1], 6: lambda p: np.rot90(p, -1), 8: np.rot90}.get(orientation, lambda p: None)(
        upright
    )
    found = read_picture(file.getvalue()).pixels
    assert found.shape[:2] == ((30, 20) if orientation >= 5 else (20, 30))
    if upright is not None:
        np.testing.assert_array_equal(found, upright)


def with_properties(data, *properties):
    """An AVIF or HEIC file, as libavif and libheif write them, with more properties (ISO/IEC 14496-12) of its one picture."""

    def find(name, start=0):
        place = data.index(name, start) - 4
        return place, place + int.from_bytes(data[place : place + 4])

    (ipco, end), (ipma, last) = find(b"ipco"), find(b"ipma")
    assert end == ipma and data[ipma + 8 : ipma + 16] == b"\0\0\0\0\0\0\0\1"
    count, place = 0, ipco + 8
    while place < end:
        count, place = count + 1, place + int.from_bytes(data[place : place + 4])
    numbers = bytes(range(count + 1 | 128, (count + 1 | 128) + len(properties)))
    known = data[ipma + 16 : ipma + 18] + bytes([data[ipma + 18] + len(numbers)]) + data[ipma + 19 : last] + numbers
    boxes = [data[ipco + 8 : end] + b"".join(struct.pack(">I", len(p) + 4) + p for p in properties)]
    boxes += [data[ipma + 8 : ipma + 16] + known]
    new = b"".join(struct.pack(">I4s", len(b) + 8, n) + b for n, b in zip((b"ipco", b"ipma"), boxes))
    longer = len(new) - (last - ipco)
    result = bytearray(data)
    for name in (b"meta", b"iprp"):
        start = find(name)[0]
        result[start : start + 4] = struct.pack(">I", find(name)[1] - start + longer)
    start, mdat = find(b"mdat")[0] + 8, find(b"iloc")
    offset = result.index(struct.pack(">I", start), *mdat)  # of the pixels
    result[offset : offset + 4] = struct.pack(">I", start + longer)
    return bytes(result[:ipco]) + new + bytes(result[last:])


def saved_items():
    """An AVIF of 8 bits, one of 10, and a HEIC."""
    file = io.BytesIO()
    Image.fromarray(photograph(40, 60)).save(file, "AVIF", quality=100, subsampling="4:4:4")
    yield file.getvalue()
    yield imagecodecs.avif_encode(DEEP >> 6, level=100, bitspersample=10, primaries=1, transfer=13, matrix=6)
    heif, file = pytest.importorskip("pillow_heif"), io.BytesIO()
    heif.from_bytes("RGB", (60, 40), photograph(40, 60).tobytes()).save(file, quality=-1, chroma=444)
    yield file.getvalue()


@needs_avif
def test_what_an_avif_or_heic_shows_of_itself_is_cut_out_turned_and_flipped_once(tmp_path):
    aperture = b"clap" + struct.pack(">8i", 40, 1, 20, 1, -4, 2, -12, 2)
    for data in saved_items():
        whole, shown = read_picture(data).pixels, (slice(4, 24), slice(8, 48))
        for properties, wanted in (
            ([aperture], whole[shown]),
            ([aperture, b"irot\1"], np.rot90(whole[shown])),
            ([b"irot\3", b"imir\0"], np.rot90(whole, 3)[::-1]),
            ([aperture, b"irot\2", b"imir\1"], np.rot90(whole[shown], 2)[:, ::-1]),
        ):
            (tmp_path / "a.avif").write_bytes(with_properties(data, *properties))
            np.testing.assert_array_equal(read_picture(tmp_path / "a.avif").pixels, wanted)
            assert size_of(tmp_path / "a.avif") == wanted.shape[1::-1]


@needs_avif
def test_an_aperture_with_edges_within_pixels_keeps_these():
    data = next(saved_items())
    shown = read_picture(with_properties(data, b"clap" + struct.pack(">8i", 57, 1, 39, 1, 0, 1, 0, 1)))
    np.testing.assert_array_equal(shown.pixels, read_picture(data).pixels[:, 1:-1])


@needs_avif
def test_an_animated_avif_keeps_its_exif():
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x010F] = "Maker"
    first, second = (Image.fromarray(photograph(40, 60)[:, ::step]) for step in (1, -1))
    first.save(file, "AVIF", exif=exif, save_all=True, append_images=[second])
    assert read_picture(file.getvalue()).exif[0x010F] == "Maker"


@needs_avif
@pytest.mark.parametrize(
    "numbers",
    [(70, 1, 20, 1, 0, 1, 0, 1), (40, 1, 20, 1, 40, 1, 0, 1), (40, 0, 20, 1, 0, 1, 0, 1), (41, 1, 20, 1, 20, 1, 0, 1)],
)
def test_an_aperture_that_cannot_be_is_refused(numbers):
    with pytest.raises(SRGANError, match="its clean aperture"):
        read_picture(with_properties(next(saved_items()), b"clap" + struct.pack(">8i", *numbers)))


@pytest.mark.parametrize("bits", [8, 10])
def test_heic(bits):
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Apple"
    if bits == 8:
        heif.from_bytes("RGB", (60, 40), photograph(40, 60).tobytes()).save(
            file, quality=-1, chroma=444, exif=exif.tobytes()
        )
    else:
        heif.from_bytes("RGB;16", (60, 40), DEEP.tobytes()).save(file, quality=-1, chroma=444, exif=exif.tobytes())
    picture = read_picture(file.getvalue())
    assert picture.pixels.dtype == (np.uint8 if bits == 8 else np.uint16) and picture.exif[0x010F] == "Apple"
    shown = picture.pixels if bits == 8 else picture.pixels / 257
    assert shown.shape in ((40, 60, 3), (60, 40, 3))
    upright = photograph(40, 60) if shown.shape == (40, 60, 3) else np.rot90(photograph(40, 60), -1)
    assert np.abs(shown - upright.astype(float)).mean() < 3


def test_heic_without_its_package_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr("srgan.pictures.high_bit_depth.find_spec", lambda name: None)
    with pytest.raises(SRGANError, match=r"pip install '\.\[heif\]'"):
        read_picture(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 50)


def test_lost_bits_are_said(tmp_path):
    model = make_model(tmp_path / "generator.keras", skip="bilinear")
    write_picture(Picture(DEEP), tmp_path / "a.png")
    for suffix, bits in ((".jpg", 8), (".webp", 8), (".avif", 12), (".png", None), (".tif", None)):
        done = run_command("upscale", tmp_path / "a.png", tmp_path / f"b{suffix}", "--model", model)
        assert re.findall(r"has (\d+) bits, to which its 16 are rounded", done.stderr) == [str(bits)] * bool(bits)
    again = run_command("upscale", tmp_path / "b.avif", tmp_path / "c.avif", "--model", model)
    assert again.returncode == 0 and "rounded" not in again.stderr


def test_jpeg_of_12_bits_gets_a_message_of_its_own():
    data = imagecodecs.jpeg_encode(DEEP >> 4, bitspersample=12, level=98)
    with pytest.raises(SRGANError, match="JPEG of 12 bits is not supported"):
        read_picture(data)


def test_raw_formats_are_refused_by_name(tmp_path):
    for suffix in (".nef", ".CR2", ".arw"):
        Image.fromarray(photograph(8, 8)).save(tmp_path / "a.tif")
        os.replace(tmp_path / "a.tif", tmp_path / f"a{suffix}")
        with pytest.raises(SRGANError, match="raw data; develop it first"):
            read_picture(tmp_path / f"a{suffix}")


@pytest.mark.skipif(sys.platform == "win32", reason="a script stands for Ghostscript")
def test_postscript_is_not_run_whatever_its_name(tmp_path):
    for name in ("gs", "gswin64c"):
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\ntouch {tmp_path}/called\nexec /usr/bin/gs "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
    (tmp_path / "x.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n2 2 moveto 10 10 lineto stroke\nshowpage\n%%EOF\n"
    )
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = run_command("upscale", tmp_path / "x.png", tmp_path / "y.png", env=environment)
    assert "of no known format" in done.stderr and not (tmp_path / "called").exists()


def test_other_formats_that_pillow_knows_are_not_opened():
    file = io.BytesIO()
    Image.fromarray(photograph(8, 8)).save(file, "PCX")
    with pytest.raises(SRGANError, match="of no known format"):
        read_picture(file.getvalue())


@needs_avif
def test_what_pillow_cannot_identify_is_named():
    file = io.BytesIO()
    Image.fromarray(photograph(40, 60)).save(file, "AVIF")
    with pytest.raises(SRGANError, match=r"\(damaged, or AVIF of a kind that is not supported\)"):
        read_picture(file.getvalue()[:400])


def test_a_second_picture_and_a_gain_map_are_said():
    file, frames = io.BytesIO(), [Image.fromarray(photograph(20, 30, top=top)) for top in (0, 50)]
    frames[0].save(file, "MPO", save_all=True, append_images=frames[1:])
    assert read_picture(file.getvalue()).note == "the first of 2 pictures in it is taken"
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta hdrgm:Version="1.0"/>'
    file = io.BytesIO()
    frames[0].save(file, "JPEG")
    data = file.getvalue()
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + data[2:]
    assert read_picture(data).note == "its gain map is left out"
    iso = b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"
    data = file.getvalue()[:2] + b"\xff\xe2" + struct.pack(">H", len(iso) + 2) + iso + file.getvalue()[2:]
    assert read_picture(data).note == "its gain map is left out"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_jpeg_xl_in_and_out(dtype, channels, tmp_path):
    values = np.dstack([DEEP, DEEP[..., :1]])[..., 4 - channels :]
    values = values if dtype == np.uint16 else (values // 257).astype(np.uint8)
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Nikon", 6  # of a picture that has been turned
    file = io.BytesIO()
    Image.fromarray(photograph(20, 30)).save(file, "JPEG", exif=exif, xmp=b"<x:xmpmeta/>")
    source = read_picture(file.getvalue())
    write_picture(Picture(values, exif=source.exif, xmp=source.xmp), tmp_path / "a.jxl", lossless=True)
    again = read_picture(tmp_path / "a.jxl")
    assert again.exif[0x010F] == "Nikon" and again.xmp == b"<x:xmpmeta/>" and again.pixels.dtype == dtype
    if dtype == np.uint8:
        np.testing.assert_array_equal(again.pixels, values)
        assert again.icc is None
    write_picture(Picture(values), tmp_path / "a.png")
    write_picture(Picture(values), tmp_path / "b.jxl")
    meant, exact, near = (read_rgb(tmp_path / name).astype(int) for name in ("a.png", "a.jxl", "b.jxl"))
    # 16 bits are linear there, of which lcms interpolates the darkest.
    assert np.abs(exact - meant)[meant > 24].max() <= 2 and np.abs(near - meant).mean() < 4
    with pytest.raises(SRGANError, match="raise --max-pixels"):
        read_picture(tmp_path / "a.jxl", max_pixels=100)
    data = (tmp_path / "b.jxl").read_bytes()
    for part in (20, 60, len(data) // 2):
        with pytest.raises(SRGANError, match="cannot be read"):
            read_picture(data[:part])


@pytest.mark.parametrize("suffix", [".jxl", ".bmp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_formats_without_a_profile_are_written_in_srgb(dtype, suffix, tmp_path):
    for pixels in (photograph(20, 30), photograph(20, 30)[..., :1]):
        from srgan.pictures.profiles import gray_profile

        icc = ADOBE_RGB if pixels.shape[2] == 3 else gray_profile(ADOBE_RGB)
        picture = Picture(pixels.astype(dtype) * (257 if dtype == np.uint16 else 1), icc)
        write_picture(picture, tmp_path / "a.png")
        write_picture(picture, tmp_path / f"a{suffix}", lossless=True)
        meant, found = (read_rgb(tmp_path / name).astype(int) for name in ("a.png", f"a{suffix}"))
        assert np.abs(meant - found).max() <= 4 and np.abs(meant - pixels).max() >= 2
