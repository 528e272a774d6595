"""The table of formats in docs/upscale.md is what the code does: each cell is measured."""

import io

import numpy as np
from helpers import ROOT, load_script
from PIL import Image, ImageCms

from srgan.pictures import READABLE, WRITABLE, Picture, read_picture, write_picture
from srgan.pictures.exif import Exif

HEAD = "| Read and written | Suffixes | Bits | Gray | Alpha | Profile | EXIF | XMP | IPTC | DPI | Texts |"
HEAD_READ = "| Only read | Suffixes | Bits |"
ONLY_READ = {
    "GIF": [".gif"],
    "HEIC": [".heic", ".heif"],
    "JPEG 2000": [".jp2"],
    "PNM": [".pbm", ".pgm", ".pnm", ".ppm"],
}
ALSO_READ = {"JPEG": [".jpe", ".jfif"]}
NO, YES = "–", "yes"


def written_row(kind, folder):
    path = folder / f"a.{kind.replace(' ', '')}"

    def again(pixels, **kept):
        write_picture(Picture(pixels, **kept), path, kind=kind, quality=100)
        return read_picture(path)

    ramp = np.zeros((64, 256, 3), np.uint16)
    ramp[:] = np.arange(64 * 256, dtype=np.uint16).reshape(64, 256, 1) * 4
    levels = len(np.unique(again(ramp).pixels))
    bits = "16" if levels > 2**13 else "12" if levels > 2**8 else "8"
    colour = (ramp >> 8).astype(np.uint8)
    exif = Image.Exif()
    exif[0x010F] = "Nikon"
    adobe = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    kept = again(
        colour,
        icc=adobe,
        exif=Exif.parse(exif.tobytes()),
        xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>",
        iptc=b"\x1c\x02\x19\0\3cat",
        dpi=(300.0, 300.0),
        text=((b"tEXt", b"Comment\0hello"), (b"tEXt", b"Title\0hello")),
    )
    gray = again(colour[..., :1]).pixels.shape[2] == 1
    alpha = again(np.concatenate([colour, colour[..., :1]], axis=2)).pixels.shape[2] == 4
    has = [gray, alpha, kept.icc, kept.exif, kept.xmp, kept.iptc, kept.dpi]
    return [bits, *(YES if each else NO for each in has), [NO, "a comment", YES][len(kept.text)]]


def table(folder):
    lines = [HEAD, "| --- " * 11 + "|"]
    for kind in dict.fromkeys(WRITABLE.values()):
        suffixes = [suffix for suffix, its in WRITABLE.items() if its == kind] + ALSO_READ.get(kind, [])
        lines.append(f"| {kind} | {' '.join(suffixes)} | {' | '.join(written_row(kind, folder))} |")
    lines += ["", HEAD_READ, "| --- " * 3 + "|"]
    lines += [f"| {kind} | {' '.join(suffixes)} | {read_bits(kind)} |" for kind, suffixes in ONLY_READ.items()]
    return "\n".join(lines)


def read_bits(kind):
    """The bits that a picture has that is read from the deepest file of the format."""
    seeds = load_script("fuzz_pictures").seeds()
    if kind == "HEIC":
        import pillow_heif

        deep = np.full((64, 64, 3), 1000, np.uint16)
        file = io.BytesIO()
        pillow_heif.encode("RGB;16", (64, 64), deep.tobytes(), file, quality=-1)
        return str(8 * read_picture(file.getvalue()).pixels.itemsize)
    name = {"GIF": "gif", "JPEG 2000": "jp2-deep", "PNM": "pnm-deep"}[kind]
    return str(8 * read_picture(seeds[name]).pixels.itemsize)


def test_the_table_of_formats_is_true(tmp_path):
    page = (ROOT / "docs" / "upscale.md").read_text(encoding="utf-8")
    expected = table(tmp_path)
    assert expected in page, f"docs/upscale.md has another table of formats than:\n{expected}"


def test_every_suffix_is_in_the_table():
    listed = [*WRITABLE, *(suffix for suffixes in [*ONLY_READ.values(), *ALSO_READ.values()] for suffix in suffixes)]
    assert sorted(listed) == sorted(READABLE)
