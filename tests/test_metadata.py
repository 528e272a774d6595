"""Metadata: bad ones never change the picture, and all others survive as they were."""

import io
import itertools
import re
import shutil
import struct
import subprocess
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from upscaling import photograph

from srgan.pictures import Picture, left_out, read_picture, read_rgb, write_picture
from srgan.pictures.exif import Exif
from srgan.pictures.strips import open_strips

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
TYPES = {
    "ASCII": (2, 5, b"abcd\0"),
    "BYTE": (1, 1, b"\7"),
    "SHORT": (3, 1, struct.pack("<H", 7)),
    "LONG": (4, 1, struct.pack("<I", 3_000_000_000)),
    "RATIONAL 0/0": (5, 1, struct.pack("<II", 0, 0)),
    "RATIONAL large": (5, 1, struct.pack("<II", 2**32 - 1, 1)),
    "SBYTE": (6, 1, b"\xff"),
    "UNDEFINED": (7, 4, b"0230"),
    "SSHORT": (8, 1, struct.pack("<h", -5)),
    "SLONG": (9, 1, struct.pack("<i", -5)),
    "SRATIONAL": (10, 1, struct.pack("<ii", -2, 0)),
    "FLOAT": (11, 1, struct.pack("<f", 1.5)),
    "DOUBLE": (12, 1, struct.pack("<d", 1.5)),
    "SHORTS": (3, 2, struct.pack("<HH", 1, 2)),
    "nothing": (2, 0, b""),
    "IFD": (13, 1, struct.pack("<I", 26)),
    "unknown": (99, 1, b"\0\0\0\0"),
    "beyond the end": (2, 2**31, b"\xff" * 8),
}
PHOTO_TAGS = [0x829A, 0x829D, 0x8827, 0x9000, 0x9003, 0x9204, 0x9201, 0x9286, 0x9209, 0x920A, 0xA000, 0xA001, 0xA005]
PHOTO_TAGS += [0xA20E, 0xA302, 0xA432, 0xA434, 0x9214, 0x927C, 0xEA1C]
GPS_TAGS = [1, 2, 3, 4, 5, 6, 7, 12, 16, 17, 27, 29]


def directory(entries, start):
    data, out = b"", struct.pack("<H", len(entries))
    base = start + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in sorted(entries):
        place = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", base + len(data))
        data += (value + b"\0" * (len(value) % 2)) if len(value) > 4 else b""
        out += struct.pack("<HHI", tag, kind, count) + place
    return out + b"\0" * 4 + data


def exif_of(photo, gps, orientation=6):
    """EXIF with these tags, made by hand, because no library writes the bad ones."""

    def first(photo_start, gps_start):
        return directory(
            [
                (0x010F, 2, 6, b"Nikon\0"),
                (0x0112, 3, 1, struct.pack("<H", orientation)),
                (0x8769, 4, 1, struct.pack("<I", photo_start)),
                (0x8825, 4, 1, struct.pack("<I", gps_start)),
            ],
            8,
        )

    photo_start = 8 + len(first(0, 0))
    photo = directory(photo, photo_start)
    gps_start = photo_start + len(photo)
    return b"Exif\0\0II*\0\x08\0\0\0" + first(photo_start, gps_start) + photo + directory(gps, gps_start)


def jpeg(exif=b"", segments=b"", pixels=None):
    file = io.BytesIO()
    Image.fromarray(photograph(20, 30) if pixels is None else pixels).save(file, "JPEG", quality=98)
    data = file.getvalue()
    app1 = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif if exif else b""
    return data[:2] + app1 + segments + data[2:]


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(pixels, *chunks):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    data = file.getvalue()
    return data[:33] + b"".join(chunks) + data[33:]


def written(picture, path, **options):
    write_picture(picture, path, **options)
    return path


@pytest.mark.parametrize("kind", TYPES)
def test_no_tag_of_any_type_costs_the_orientation_or_the_other_tags(kind, tmp_path):
    good = (0x829A, 5, 1, struct.pack("<II", 1, 50))
    date = (0x9003, 2, 20, b"2024:05:06 07:08:09\0")
    for directory_tags, is_gps in ((PHOTO_TAGS, False), (GPS_TAGS, True)):
        for tag in directory_tags:
            odd = (tag, *TYPES[kind])
            photo = [entry for entry in (good, date) if is_gps or entry[0] != tag] + [odd] * (not is_gps)
            picture = read_picture(jpeg(exif_of(photo, [odd] if is_gps else [])))
            assert picture.pixels.shape == (30, 20, 3), hex(tag)
            large = Picture(picture.pixels.repeat(2, 0).repeat(2, 1), exif=picture.exif)
            for suffix in (".jpg", ".tif") if tag % 3 == 0 else (".png",):
                again = read_picture(written(large, tmp_path / f"a{suffix}")).exif
                assert again.first[0x010F].data == b"Nikon\0" and again.orientation() is None
                for number, *_, value in photo[: 2 - (not is_gps and tag in (0x829A, 0x9003))]:
                    assert again.photo[number].data == value
                if kind not in ("unknown", "beyond the end") and tag not in (0xA005, 0x927C, 0xA20E, 0x9214):
                    assert (again.gps if is_gps else again.photo)[tag] == TYPES[kind]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_xmp_says_the_orientation_where_exif_does_not(orientation, tmp_path):
    upright = read_picture(jpeg(exif_of([], [], orientation))).pixels
    for form in (b'<x tiff:Orientation="%d"/>', b"<tiff:Orientation>%d</tiff:Orientation>"):
        xmp = b"http://ns.adobe.com/xap/1.0/\0" + form % orientation
        segment = b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp
        picture = read_picture(jpeg(segments=segment))
        np.testing.assert_array_equal(picture.pixels, upright)
        assert re.search(rb"tiff:Orientation.{1,2}1", picture.xmp)
        np.testing.assert_array_equal(read_picture(written(picture, tmp_path / "a.png")).pixels, upright)
        both = read_picture(jpeg(exif_of([], [], 1), segment))
        assert both.pixels.shape == (20, 30, 3)  # EXIF's counts


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_xmp_of_every_encoding_is_read(encoding, tmp_path):
    text = '<?xpacket?><x tiff:Orientation="6" dc:rights="größer"/>'
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + text.encode(encoding)
    picture = read_picture(jpeg(segments=b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp))
    assert picture.pixels.shape == (30, 20, 3)
    again = read_picture(written(picture, tmp_path / "a.png"))
    assert again.pixels.shape == (30, 20, 3) and "größer" in again.xmp.decode()


@pytest.mark.parametrize(
    "entry",
    [
        *(
            (1, b"\6"),
            (2, b"6\0"),
            (3, b"\6\0"),
            (4, b"\6\0\0\0"),
            (6, b"\6"),
            (7, b"\6"),
            (8, b"\6\0"),
            (9, b"\6\0\0\0"),
        ),
        *((5, struct.pack("<II", 6, 1)), (10, struct.pack("<ii", 6, 1)), (11, struct.pack("<f", 6))),
        *((12, struct.pack("<d", 6)), (3, b"\6\0\1\0")),
    ],
)
def test_an_orientation_of_any_type_is_applied(entry):
    kind, content = entry
    sizes = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
    tag = struct.pack("<HHI", 0x0112, kind, len(content) // sizes[kind])
    place = content.ljust(4, b"\0") if len(content) <= 4 else struct.pack("<I", 26)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + tag + place + b"\0" * 4 + content
    for doubled in (exif, b"Exif\0\0" + exif):
        segment = b"\xff\xe1" + struct.pack(">H", len(doubled) + 2) + doubled
        assert read_picture(jpeg(segments=segment)).pixels.shape == (30, 20, 3)


@pytest.mark.parametrize("tag", [282, 283, 296])
@pytest.mark.parametrize("kind", TYPES)
def test_a_resolution_of_any_type_costs_nothing(kind, tag, tmp_path):
    """Pillow opens no JPEG without JFIF's resolution whose EXIF has one of some other types: no output is such."""
    number, count, content = TYPES[kind]
    entries = [
        (274, 3, 1, struct.pack("<H", 6)),
        (282, 5, 1, struct.pack("<2I", 72, 1)),
        (296, 3, 1, struct.pack("<H", 2)),
    ]
    entries = sorted([entry for entry in entries if entry[0] != tag] + [(tag, number, count, content)])
    exif = b"Exif\0\0II*\0\x08\0\0\0" + directory([(271, 2, 6, b"Nikon\0"), *entries], 8)
    source = tmp_path / "a.jpg"
    source.write_bytes(jpeg(exif))
    picture = read_picture(source)
    assert picture.pixels.shape == (30, 20, 3) and picture.exif.first[271].data == b"Nikon\0"
    assert open_strips(source, lambda width, height: True).size == (20, 30)
    for suffix in (".jpg", ".webp", ".tif"):
        with Image.open(written(picture, tmp_path / f"b{suffix}")) as image:
            assert image.size == (20, 30) and image.getexif()[271].rstrip("\0") == "Nikon"


def test_a_tag_with_the_number_of_the_interop_directory_and_another_type_survives(tmp_path):
    picture = read_picture(jpeg(exif_of([(0xA005, 2, 4, b"abc\0")], [])))
    assert read_picture(written(picture, tmp_path / "a.jpg")).exif.photo[0xA005].data == b"abc\0"


def test_places_in_the_picture_are_turned_and_scaled(tmp_path):
    area = (0x9214, 3, 4, struct.pack("<4H", 5, 3, 4, 2))
    sensor = [(tag, 5, 1, struct.pack("<II", value, 10)) for tag, value in ((0xA20E, 1000), (0xA20F, 3000))]
    picture = read_picture(jpeg(exif_of([area, *sensor], [])))  # 30 x 20, its right side up
    large = Picture(picture.pixels.repeat(4, 0).repeat(4, 1), exif=picture.exif)
    again = read_picture(written(large, tmp_path / "a.jpg")).exif
    x, y = 20 - 1 - 3, 5
    assert again.numbers(again.photo[0x9214]) == (4 * x, 4 * y, 4 * 2, 4 * 4)
    assert again.photo[0xA20E].data == struct.pack("<II", 12000, 10) and again.photo[0xA20F].data[:4] == struct.pack(
        "<I", 4000
    )


EXIFTOOL = shutil.which("exiftool")


@pytest.mark.parametrize("time, method", [([], "MANUAL"), (["-GPSTimeStamp=10:20:30"], "GPS")])
@pytest.mark.skipif(not EXIFTOOL, reason="needs exiftool")
def test_what_people_keep_in_their_pictures_survives(time, method, tmp_path):
    def exiftool(*arguments):
        return subprocess.run([EXIFTOOL, *map(str, arguments)], capture_output=True, text=True, check=False).stdout

    source = tmp_path / "a.jpg"
    source.write_bytes(jpeg())
    tags = {
        "EXIF:Artist": "José Müller 写真",
        "EXIF:Copyright": "© 2024",
        "EXIF:InteropIndex": "R03",
        "EXIF:ColorSpace": "65535",
    }
    tags |= {"EXIF:UserComment": "größer", "XMP-dc:Rights": "me", "IPTC:Keywords": "cat", "EXIF:SubjectArea": "3 4 5 6"}
    exiftool("-q", "-overwrite_original", "-n", *(f"-{key}={value}" for key, value in tags.items()), source)
    place = ["-GPSLatitude=48.1", "-GPSLatitudeRef=N", "-GPSLongitude=11.5", "-GPSLongitudeRef=E"]
    exiftool("-q", "-overwrite_original", *place, *time, source)
    complaints = set(exiftool("-validate", "-warning", "-a", "-s3", source).splitlines())
    picture = read_picture(source)
    for suffix in (".jpg", ".png", ".webp", ".tif", ".avif"):
        target = written(picture, tmp_path / f"out{suffix}")
        kept = exiftool("-s3", "-Artist", "-EXIF:Copyright", "-UserComment", "-XMP-dc:Rights", target).splitlines()
        assert kept == ["José Müller 写真", "© 2024", "größer", "me"], suffix
        assert suffix in (".webp", ".avif") or exiftool("-s3", "-IPTC:Keywords", target) == "cat\n"
        said = exiftool("-validate", "-warning", "-a", "-s3", target).splitlines()
        assert {line for line in said if not re.match(r"OK|\d+ Warning", line)} <= complaints, suffix
        assert exiftool("-s3", "-GPSProcessingMethod", target) == (f"{method}\n" if suffix == ".tif" else "")
        with Image.open(target) as image:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        assert ImageCms.getProfileName(profile)  # Adobe RGB, as DCF's rule R03 says, is explicit
    assert np.abs(read_rgb(source).astype(int) - picture.pixels).mean() > 2


@pytest.mark.parametrize("comment", [b"hello", "größer".encode(), b"gr\xf6\xdfer"])
def test_comments_of_jpeg_and_gif_survive(comment, tmp_path):
    for kind in ("JPEG", "GIF"):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, kind, comment=comment)
        picture = read_picture(file.getvalue())
        expected = "hello" if comment == b"hello" else "größer"
        with Image.open(written(picture, tmp_path / "a.png")) as image:
            image.load()
            assert image.info["Comment"] == expected
        with Image.open(written(read_picture(tmp_path / "a.png"), tmp_path / "a.jpg")) as image:
            assert image.info["comment"] == expected.encode()
        assert left_out(picture, "JPEG") == [] and left_out(picture, "WebP") == ["the texts Comment"]


@pytest.mark.skipif(not EXIFTOOL, reason="needs exiftool")
def test_metadata_of_gif_and_what_exiftool_writes_into_png_survive(tmp_path):
    for suffix in (".gif", ".png"):
        source = tmp_path / f"a{suffix}"
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(source)
        arguments = ["-XMP-dc:Rights=me", "-m"] + ["-IPTC:Keywords=cat"] * (suffix == ".png")
        subprocess.run([EXIFTOOL, "-q", "-overwrite_original", *arguments, str(source)], check=True)
        for target in ("b.jpg", "b.png", "b.tif"):
            target = written(read_picture(source), tmp_path / target)
            kept = subprocess.check_output([EXIFTOOL, "-s3", "-XMP-dc:Rights", "-IPTC:Keywords", target], text=True)
            assert kept.split() == (["me", "cat"] if suffix == ".png" else ["me"])


def test_pngs_text_and_colours_survive(tmp_path):
    texts = [
        chunk(b"tEXt", b"parameters\0a cat, Steps: 20"),
        chunk(b"zTXt", b"big\0\0" + zlib.compress(b"1" * 2_000_000)),
    ]
    large_profile = bytearray(SRGB + np.random.default_rng(0).bytes(1_500_000))
    large_profile[:4] = struct.pack(">I", len(large_profile))
    wrong = bytearray(chunk(b"tEXt", b"Comment\0hello"))
    wrong[-1] ^= 1
    data = png(photograph(20, 30), chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(large_profile))), bytes(wrong), *texts)
    picture = read_picture(data)
    assert picture.icc == bytes(large_profile)
    path = written(picture, tmp_path / "a.png")
    assert read_picture(path).text == ((b"tEXt", texts[0][8:-4]), (b"zTXt", texts[1][8:-4]))
    np.testing.assert_array_equal(read_picture(path).pixels, photograph(20, 30))


def test_a_wrong_checksum_of_the_pixels_is_an_error():
    data = bytearray(png(photograph(20, 30)))
    data[data.index(b"IDAT") + 40] ^= 1
    with pytest.raises(Exception, match="IDAT is damaged"):
        read_picture(bytes(data))


P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("gray", [False, True])
def test_what_the_colours_mean_survives(gray, suffix, tmp_path):
    bars = np.repeat(np.array([[[200, 40, 40], [40, 160, 60], [120, 120, 120]]], np.uint8), 16, 1).repeat(16, 0)
    pixels = bars[..., 1] if gray else bars
    chunks = {"linear": [chunk(b"gAMA", struct.pack(">I", 100000))]}
    if not gray:
        chunks["P3"] = [chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"cHRM", P3)]
        chunks["cICP"] = [chunk(b"cICP", bytes([12, 13, 0, 1]))]
    for name, tags in chunks.items():
        (tmp_path / "in.png").write_bytes(png(pixels, *tags))
        picture = read_picture(tmp_path / "in.png")
        meant = read_rgb(tmp_path / "in.png").astype(int)
        assert np.abs(meant - read_rgb(written(Picture(picture.pixels), tmp_path / "plain.png"))).max() > 8
        target = written(picture, tmp_path / f"out{suffix}")
        assert np.abs(read_rgb(target).astype(int) - meant)[:, 4::8].max() <= 6, name
        if suffix == ".png":
            assert all(part in target.read_bytes() for part in tags)
    # sRGB's own are no change.
    for tags in (
        [chunk(b"gAMA", struct.pack(">I", 45455))],
        [chunk(b"sRGB", b"\0")],
        [chunk(b"cICP", bytes([1, 13, 0, 1]))],
    ):
        assert read_picture(png(pixels, *tags)).icc is None


@pytest.mark.parametrize(
    "damaged",
    [
        *(chunk(b"gAMA", struct.pack(">I", value)) for value in (0, 1, 2**32 - 1)),
        *(
            chunk(b"cHRM", struct.pack(">8I", *values))
            for values in ([0] * 8, [2**32 - 1] * 8, [31270, 0, *[9000] * 6])
        ),
        chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 0, 30000, 1, 1, 1)),
    ],
)
def test_damaged_colour_chunks_change_nothing(damaged, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(photograph(8, 8), damaged))
    np.testing.assert_array_equal(read_rgb(path), photograph(8, 8))


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_a_high_dynamic_range_is_refused(transfer, name):
    with pytest.raises(Exception, match=f"high dynamic range .{name}."):
        read_picture(png(photograph(20, 30), chunk(b"cICP", bytes([9, transfer, 0, 1]))))


def test_a_gray_picture_keeps_what_its_rgb_profile_means(tmp_path):
    from srgan.pictures.profiles import ADOBE_RGB

    gray = photograph(20, 30)[..., 1]
    palette = Image.fromarray(gray).convert("P")
    colour = Image.fromarray(np.dstack([gray] * 3))
    colour.save(tmp_path / "rgb.png", icc_profile=ADOBE_RGB)
    meant = read_rgb(tmp_path / "rgb.png").astype(int)
    assert np.abs(meant - gray[..., None]).max() > 2
    for name, image in (
        ("palette.png", palette),
        ("gray.jpg", Image.fromarray(gray)),
        ("gray.tif", Image.fromarray(gray)),
    ):
        image.save(tmp_path / name, icc_profile=ADOBE_RGB, **({"quality": 100} if name.endswith("jpg") else {}))
        assert np.abs(read_rgb(tmp_path / name).astype(int) - meant).max() <= 3, name


def test_16_bit_gray_is_scaled_for_training_too(tmp_path):
    Image.fromarray(np.full((4, 4), 200, np.uint16)).save(tmp_path / "a.png")
    assert (read_rgb(tmp_path / "a.png") == 1).all() and (read_picture(tmp_path / "a.png").pixels == 200).all()


@pytest.mark.parametrize(
    ("colour_type", "depth"), [(0, d) for d in (1, 2, 4, 8, 16)] + [(2, 8), (2, 16)] + [(3, d) for d in (1, 2, 4, 8)]
)
def test_transparency_of_every_png(colour_type, depth):
    """All colour types and depths that the specification allows tRNS for."""
    random, (height, width) = np.random.default_rng(depth), (9, 16)
    channels = 3 if colour_type == 2 else 1
    values = random.integers(0, 2**depth, (height, width, channels))
    values[2, 3] = values[5, 7]
    if depth == 16:
        raw = values.astype(">u2").tobytes()
    elif depth == 8:
        raw = values.astype(np.uint8).tobytes()
    else:
        bits = (values[..., 0, None] >> np.arange(depth - 1, -1, -1)) & 1
        raw = np.packbits(bits.reshape(height, -1), axis=1).tobytes()
    row = len(raw) // height
    raw = b"".join(b"\0" + raw[start : start + row] for start in range(0, len(raw), row))
    palette = random.integers(0, 256, (2**depth, 3), dtype=np.uint8) if colour_type == 3 else None
    if colour_type == 3:
        alpha = random.integers(0, 256, max(1, 2**depth - 1), dtype=np.uint8)
        extra = chunk(b"PLTE", palette.tobytes()) + chunk(b"tRNS", alpha.tobytes())
        wanted = np.append(alpha, 255)[values[..., 0]]
        colour = palette[values[..., 0]]
    else:
        key = values[2, 3]
        extra = chunk(b"tRNS", key.astype(">u2").tobytes())
        wanted = np.where((values == key).all(-1), 0, 65535 if depth == 16 else 255)
        colour = values * (1 if depth == 16 else 255) // (1 if depth == 16 else 2**depth - 1)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )
    pixels = read_picture(data).pixels
    np.testing.assert_array_equal(pixels[..., -1], wanted)
    np.testing.assert_array_equal(pixels[..., : colour.shape[2]], colour)


def test_exif_is_written_as_it_was_in_either_byte_order():
    photo = [(0x9286, 7, 10, b"ASCII\0\0\0hi"), (0x829A, 5, 1, struct.pack("<II", 1, 50))]
    exif = Exif.parse(exif_of(photo, [(6, 10, 1, struct.pack("<ii", -3, 1))]))
    again = Exif.parse(exif.tobytes())
    assert (again.first, again.photo, again.gps) == (exif.first, exif.photo, exif.gps)
    assert list(itertools.chain(again.photo)) == [0x829A, 0x9286]


def test_a_tiffs_resolution_is_that_of_exif_where_the_format_before_has_no_other(tmp_path):
    exif = Image.Exif()
    exif[282], exif[283], exif[296], exif[0x010F] = 300.0, 200.0, 2, "Nikon"
    Image.fromarray(photograph(20, 30)).save(tmp_path / "a.webp", exif=exif)
    write_picture(read_picture(tmp_path / "a.webp"), tmp_path / "a.tif")
    assert read_picture(tmp_path / "a.tif").dpi == pytest.approx((300, 200), abs=0.1)


@pytest.mark.parametrize("make", ["X200", None])
@pytest.mark.parametrize("pyramid", [False, True])
def test_a_picture_without_a_resolution_gets_none_in_a_tiff(make, pyramid, tmp_path):
    exif = Image.Exif()
    if make:
        exif[0x010F] = make
    Image.fromarray(photograph(300, 400)).save(tmp_path / "a.webp", exif=exif, lossless=True)
    write_picture(read_picture(tmp_path / "a.webp"), tmp_path / "a.tif", pyramid=pyramid)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tags = file.pages.first.tags
        assert tags["ResolutionUnit"].value == 1 and ("Make" in tags) == bool(make)
        assert bool(file.pages.first.pages) == pyramid
        np.testing.assert_array_equal(file.asarray(), photograph(300, 400))
    assert read_picture(tmp_path / "a.tif").dpi is None
    for before, after in (("a.tif", "a.png"), ("a.png", "b.tif")):
        write_picture(read_picture(tmp_path / before), tmp_path / after)
        assert read_picture(tmp_path / after).dpi is None
