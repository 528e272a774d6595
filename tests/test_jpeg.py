"""JPEG: damage that Pillow does not tell of, and metadata that are larger than a segment."""

import io
import random
import re
import subprocess
import threading

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from upscaling import photograph

from srgan.errors import SRGANError
from srgan.pictures import Picture, left_out, read_picture, write_picture
from srgan.pictures.exif import Exif
from srgan.pictures.strips import open_strips

PLANES = np.asarray(Image.fromarray(photograph(128, 160)).convert("YCbCr"))

TITLE = """<?xpacket begin="﻿" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
 rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:source>{}</dc:source></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def saved(**options):
    file = io.BytesIO()
    Image.fromarray(photograph(128, 160)).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}], ids=str)
def test_pixels_that_the_decoder_knows_to_be_lost_are_an_error(options):
    data = saved(quality=90, **options)
    assert read_picture(data).pixels.shape == (128, 160, 3)
    cut = data[: len(data) // 2] + data[len(data) // 2 + 60 :] + b""
    stop = data[: len(data) // 2] + b"\xff\xd9"
    for damaged in (cut, stop) if options else (stop,):
        with pytest.raises(SRGANError, match=r"cannot be read as a picture \(.*(Corrupt JPEG|premature end|truncated)"):
            read_picture(damaged)


@pytest.mark.parametrize("options", [{}, {"quality": 30}, {"gray": True}, {"cmyk": True}], ids=str)
def test_a_progressive_picture_that_lacks_scans_is_an_error_although_it_ends_properly(options, tmp_path):
    image = Image.fromarray(photograph(128, 160)).convert(
        {"gray": "L", "cmyk": "CMYK"}.get(next(iter(options), ""), "RGB")
    )
    image.save(tmp_path / "a.jpg", progressive=True, quality=options.get("quality", 90))
    data = (tmp_path / "a.jpg").read_bytes()
    starts = [found.start() for found in re.finditer(b"\xff\xda", data)]
    assert len(starts) > 3 and read_picture(data).pixels.shape[:2] == (128, 160)
    for start in starts[1:]:
        (tmp_path / "cut.jpg").write_bytes(data[:start] + b"\xff\xd9")
        with pytest.raises(SRGANError, match="some of its scans are missing"):
            read_picture(tmp_path / "cut.jpg")
        assert open_strips(tmp_path / "cut.jpg", lambda width, height: True) is None  # which the former then tells


def test_a_picture_without_the_scan_of_a_colour_is_an_error():
    coded, head = {}, b""
    for name, values in (("y", PLANES[..., 0]), ("cb", PLANES[..., 1]), ("cr", PLANES[..., 2])):
        file = io.BytesIO()
        Image.fromarray(values).save(file, "JPEG", quality=90)
        scan = file.getvalue().index(b"\xff\xda")
        head, coded[name] = head or file.getvalue()[:scan], file.getvalue()[scan + 10 : -2]
    place = head.index(b"\xff\xc0")
    frame = head[place : place + 9].replace(b"\0\x0b", b"\0\x11") + bytes([3, 1, 17, 0, 2, 17, 0, 3, 17, 0])
    head = head[:place] + frame + head[place + 13 :]
    scans = [b"\xff\xda\0\x08\1" + bytes([number, 0, 0, 63, 0]) + part for number, part in enumerate(coded.values(), 1)]
    whole = read_picture(head + b"".join(scans) + b"\xff\xd9").pixels
    assert np.abs(whole - photograph(128, 160).astype(int)).mean() < 4
    for count in (1, 2):
        with pytest.raises(SRGANError, match="some of its scans are missing"):
            read_picture(head + b"".join(scans[:count]) + b"\xff\xd9")


def test_damage_is_told_while_other_threads_read():
    """libvips has one list of messages, which the reading of another file forgets."""
    whole = saved(quality=90, restart_marker_blocks=4)
    damaged = whole[: len(whole) // 2] + whole[len(whole) // 2 + 60 :]
    ended = threading.Event()

    def read_others():
        while not ended.is_set():
            read_picture(whole)

    others = [threading.Thread(target=read_others) for _ in range(2)]
    for thread in others:
        thread.start()
    try:
        for _ in range(60):
            with pytest.raises(SRGANError, match="Corrupt JPEG|premature end"):
                read_picture(damaged)
    finally:
        ended.set()
        for thread in others:
            thread.join()


def test_of_flipped_bits_all_that_libjpeg_notices_are_refused():
    import pyvips

    data = saved(quality=90, progressive=True)
    chance, noticed = random.Random(0), 0
    for _ in range(100):
        damaged = bytearray(data)
        damaged[chance.randrange(1000, len(data) - 2)] ^= 1 << chance.randrange(8)
        damaged = bytes(damaged)
        try:
            pyvips.Image.new_from_buffer(damaged, "", fail_on="warning").numpy()
        except pyvips.Error:
            noticed += 1
            with pytest.raises(SRGANError):
                read_picture(damaged)
    assert noticed > 10


def test_padding_and_what_follows_the_picture_are_no_damage():
    data = saved()
    for odd in (data[:-2] + b"\0" * 5 + data[-2:], data + b"junk" * 20, data[:2] + b"\xff" + data[2:]):
        np.testing.assert_array_equal(read_picture(odd).pixels, read_picture(data).pixels)


def test_xmp_of_any_length_is_kept(tmp_path):
    xmp = TITLE.format("é" * 100_000).encode()
    write_picture(Picture(photograph(20, 30), xmp=xmp), tmp_path / "a.jpg")
    assert read_picture(tmp_path / "a.jpg").xmp == xmp
    command = ["exiftool", "-b", "-XMP-dc:Source", str(tmp_path / "a.jpg")]
    assert subprocess.run(command, capture_output=True, check=True).stdout.decode() == "é" * 100_000
    checked = subprocess.run(
        ["exiftool", "-validate", "-warning", "-a", str(tmp_path / "a.jpg")], capture_output=True, text=True, check=True
    )
    assert "OK" in checked.stdout, checked.stdout
    write_picture(read_picture(tmp_path / "a.jpg"), tmp_path / "b.png")
    assert read_picture(tmp_path / "b.png").xmp == xmp


def test_extended_xmp_of_other_programs_is_read_with_the_first_part(tmp_path):
    write_picture(Picture(photograph(20, 30), xmp=TITLE.format("é" * 50_000).encode()), tmp_path / "a.jpg")
    command = ["exiftool", "-q", "-overwrite_original", "-XMP-dc:Title=mine", str(tmp_path / "a.jpg")]
    subprocess.run(command, check=True)
    xmp = read_picture(tmp_path / "a.jpg").xmp
    assert b"mine" in xmp and ("é" * 50_000).encode() in xmp and b"HasExtendedXMP" not in xmp


def test_a_value_of_exif_that_does_not_fit_is_left_out_alone_and_said(tmp_path, upscale):
    exif = Image.Exif()
    exif[0x010E], exif[0x010F], exif[0x0131] = "x" * 70_000, "Nikon", "y" * 30_000
    picture = Picture(photograph(20, 30), exif=Exif.parse(exif.tobytes()))
    assert left_out(picture, "JPEG") == ["EXIF beyond 64 KiB (the values of 0x010e)"]
    assert left_out(picture, "PNG") == []
    write_picture(picture, tmp_path / "a.jpg")
    kept = Image.open(tmp_path / "a.jpg").getexif()
    assert 0x010E not in kept and kept[0x010F] == "Nikon" and kept[0x0131] == "y" * 30_000
    write_picture(picture, tmp_path / "a.png")
    status, lines = upscale(tmp_path / "a.png", tmp_path / "b.jpg")
    assert status == 0 and lines[0].endswith("a.png: JPEG has no place for EXIF beyond 64 KiB (the values of 0x010e)")


def test_what_a_format_has_no_place_for_is_said(tmp_path, upscale):
    picture = Picture(photograph(20, 30), iptc=b"\x1c\x02\x19\0\3cat", text=((b"tEXt", b"parameters\0a cat"),))
    write_picture(picture, tmp_path / "a.png")
    for suffix, lost in ((".webp", "IPTC; the texts parameters"), (".jpg", "the texts parameters"), (".png", "")):
        status, lines = upscale(tmp_path / "a.png", tmp_path / f"b{suffix}")
        assert status == 0 and [line for line in lines if "has no place" in line] == (
            [f"srgan: {tmp_path / 'a.png'}: {'WebP' if suffix == '.webp' else 'JPEG'} has no place for {lost}"]
            if lost
            else []
        )
    assert "no place" not in str(upscale(tmp_path / "a.png", tmp_path / "c.webp", "--strip-metadata")[1])


def test_other_codings_of_jpeg_are_named():
    with pytest.raises(SRGANError, match="JPEG of a kind that is not supported"):
        read_picture(imagecodecs.jpegls_encode(np.zeros((8, 8), np.uint8)))
