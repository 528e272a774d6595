"""Read damaged picture files of every format and write them again: no traceback, no hang, no silent black, no half file.

    python scripts/fuzz_pictures.py --count 10000

Each file is a small picture, damaged in one of several ways. It has to be refused in one line, or read; then it is written in
another format, whole or not at all. Where more than a twentieth of the pixels are black that were not, no second decoder may see
fewer. The tests do 300 of these.
"""

import argparse
import contextlib
import io
import multiprocessing
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import imagecodecs
import numpy as np
import pyvips
import tifffile
from PIL import Image, features

from srgan.errors import SRGANError
from srgan.pictures import WRITABLE, Picture, read_picture, write_picture

LONGEST = 30  # seconds for one file
MOST_PIXELS = 10**6
_BLACK = 0.05  # of the pixels


def seeds() -> dict[str, bytes]:
    """Whole files of every readable format, by name."""
    y, x = np.mgrid[:40, :56]
    colour = np.stack([60 + 3 * x, 70 + 4 * y, 250 - 2 * x - y], axis=-1).astype(np.uint8)
    deep = colour.astype(np.uint16) * 257
    image = Image.fromarray(colour)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x8769] = 6, "Nikon", {0x9003: "2020:02:02 10:00:00"}
    found = {}

    def pillow(name, kind, picture=image, **options):
        file = io.BytesIO()
        picture.save(file, kind, **options)
        found[name] = file.getvalue()

    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        pillow(f"png-{mode}", "PNG", image.convert(mode), exif=exif)
    pillow("jpeg", "JPEG", exif=exif, dpi=(300, 300))
    pillow("jpeg-progressive", "JPEG", progressive=True, quality=90)
    pillow("jpeg-restart", "JPEG", restart_marker_blocks=3)
    for mode in ("L", "CMYK"):
        pillow(f"jpeg-{mode}", "JPEG", image.convert(mode))
    pillow("webp", "WebP", exif=exif)
    pillow("webp-lossless", "WebP", image.convert("RGBA"), lossless=True)
    pillow("gif", "GIF")
    pillow("gif-animation", "GIF", save_all=True, append_images=[image.rotate(90)])
    for mode in ("RGB", "P", "1"):
        pillow(f"bmp-{mode}", "BMP", image.convert(mode))
    for layout in (None, "DXT1", "DXT5", "BC3", "BC5"):
        pillow(f"dds-{layout}", "DDS", image if layout == "BC5" else image.convert("RGBA"), pixel_format=layout)
    found["bmp-masks"] = _bmp_of_16_bits(colour)
    pillow("tga", "TGA")
    pillow("tga-rle", "TGA", image.convert("RGBA"), compression="tga_rle")
    for mode in ("RGB", "L", "1"):
        pillow(f"pnm-{mode}", "PPM", image.convert(mode))
    found["pnm-deep"] = b"P6 56 40 65535\n" + deep.astype(">u2").tobytes()
    pillow("jp2", "JPEG2000")
    if features.check("avif"):
        pillow("avif", "AVIF", exif=exif)
    found["jp2-deep"] = imagecodecs.jpeg2k_encode(deep)
    found["avif-deep"] = imagecodecs.avif_encode(deep >> 6, bitspersample=10)
    found["jxl"] = imagecodecs.jpegxl_encode(colour)
    found["jxl-deep"] = imagecodecs.jpegxl_encode(deep, lossless=True)
    found["jxl-10"] = imagecodecs.jpegxl_encode(deep >> 6, lossless=True, bitspersample=10)
    found["jxl-jpeg"] = imagecodecs.jpegxl_encode_jpeg(found["jpeg"])
    for compression in (None, "lzw", "deflate", "zstd", "lzma", "packbits", "jpeg", "webp", "jpegxl"):
        file = io.BytesIO()
        tifffile.imwrite(file, colour, photometric="rgb", compression=compression, rowsperstrip=16)
        found[f"tiff-{compression}"] = file.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in (("png-deep", "PNG"), ("tiff-deep", "TIFF")):
            path = Path(folder) / name
            write_picture(Picture(deep), path, kind=kind)
            found[name] = path.read_bytes()
    with contextlib.suppress(ImportError):
        import pillow_heif

        file = io.BytesIO()
        pillow_heif.from_pillow(image).save(file, quality=90)
        found["heic"] = file.getvalue()
    return found


def _bmp_of_16_bits(colour):
    """A BMP whose header says by masks where its 5 bits of each colour and one of alpha are."""
    red, green, blue = np.moveaxis(colour[::-1].astype("<u2") >> 3, -1, 0)
    pixels = (red << 10 | green << 5 | blue | 0x8000).tobytes()
    size, masks = colour.shape[1::-1], (0x7C00, 0x3E0, 31, 0x8000)
    info = struct.pack("<IiiHHIIiiII4I", 108, *size, 1, 16, 3, len(pixels), 0, 0, 0, 0, *masks)
    return b"BM" + struct.pack("<IHHI", 122 + len(pixels), 0, 0, 122) + info.ljust(108, b"\0") + pixels


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The file with one kind of damage: bits, bytes, parts or the end."""
    content = bytearray(data)

    def place():
        return chance.randrange(min(len(content), 160) if chance.random() < 0.4 else len(content))

    kind = chance.choice(["bits", "bits", "bytes", "numbers", "zero", "cut", "drop", "double", "insert"])
    if kind == "bits":
        for _ in range(chance.randint(1, 6)):
            content[place()] ^= 1 << chance.randrange(8)
    elif kind == "bytes":
        for _ in range(chance.randint(1, 6)):
            content[place()] = chance.randrange(256)
    elif kind == "numbers":  # sizes, offsets and counts
        start = place()
        content[start : start + 4] = chance.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1"])
    elif kind == "cut":
        del content[chance.randrange(len(content)) :]
    else:
        start, length = place(), chance.randint(1, 64)
        part = content[start : start + length]
        new = {"zero": bytes(len(part)), "drop": b"", "double": part * 2, "insert": chance.randbytes(length) + part}
        content[start : start + length] = new[kind]
    return bytes(content)


def check(data: bytes, whole: np.ndarray, suffix: str) -> str:
    """What becomes of a damaged file: "refused", "read" or "black", where nobody else reads it; or a fault in words."""
    try:
        picture = read_picture(data, max_pixels=MOST_PIXELS)
    except SRGANError as error:
        is_line = "\n" not in str(error) and "picture ()" not in str(error)
        return "refused" if is_line else "fault: the reason has several lines or none"
    answer = "read"
    if (share := _black(picture.pixels, whole)) > _BLACK:
        others = [pixels for pixels in map(_attempt, _second_decoders(data)) if pixels is not None]
        if not others:
            answer = "black"
        elif all(share - _black(pixels, whole) > _BLACK for pixels in others):
            return f"fault: {share:.0%} are black, and a second decoder sees fewer"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"a{suffix}"
        try:
            write_picture(picture, target)
        except SRGANError as error:
            return f"fault: half a file is left ({error})" if list(Path(folder).iterdir()) else answer
        if list(Path(folder).iterdir()) != [target]:
            return "fault: there is another file beside the output"
        if read_picture(target).pixels.shape[:2] != picture.pixels.shape[:2]:
            return "fault: the output has another size"
    return answer


def _black(pixels, whole):
    """The share of pixels that are seen as black beyond that of the undamaged picture."""

    def share(values):
        colours = 1 if values.shape[2] < 3 else 3
        return ((values[..., :colours] == 0).all(-1) & (values[..., colours:] > 0).all(-1)).mean()

    return share(pixels) - share(whole)


def _second_decoders(data):
    for name in ("png", "jpeg8", "webp", "gif", "bmp", "jpeg2k", "avif", "jpegxl"):
        yield lambda name=name: getattr(imagecodecs, f"{name}_decode")(data)
    yield lambda: pyvips.Image.new_from_buffer(data, "").numpy()
    yield lambda: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _attempt(decode):
    try:
        pixels = np.asarray(decode())
    except Exception:
        return None
    if pixels.size == 0 or pixels.size > 4 * MOST_PIXELS:
        return None
    pixels = pixels[0] if pixels.ndim == 4 else pixels
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _work(pipe):
    """In a process of its own, which a file may end: check what is sent."""
    Image.MAX_IMAGE_PIXELS = None
    while True:
        arguments = pipe.recv()
        try:
            pipe.send(check(*arguments))
        except Exception as error:
            pipe.send(f"fault: {type(error).__name__}: {' '.join(str(error).split())[:200]}")


class _Worker:
    def __init__(self):
        self._start()

    def _start(self):
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.get_context("spawn").Process(target=_work, args=(other,), daemon=True)
        self.process.start()
        other.close()

    def __call__(self, *arguments):
        self.pipe.send(arguments)
        try:
            if self.pipe.poll(LONGEST):
                return self.pipe.recv()
            fault = f"fault: hangs for {LONGEST} s"
        except EOFError:
            self.process.join()
            fault = f"fault: ends the process with {self.process.exitcode}"
        self.process.kill()
        self._start()
        return fault


def fuzz(count: int, seed: int = 0, keep: Path | None = None) -> tuple[Counter, list[str]]:
    """Check `count` damaged files.

    Args:
        keep: a folder for the files with which something was wrong, or None.

    Returns:
        How many were refused, read, or read as black by the only decoder there is; and a line for each fault.
    """
    whole = seeds()
    pixels = {name: read_picture(data).pixels for name, data in whole.items()}
    counts, faults, worker = Counter(), [], _Worker()
    names, suffixes = list(whole), sorted(set(WRITABLE) - ({".avif"} if not features.check("avif") else set()))
    for index in range(count):
        chance = random.Random(f"{seed} {index}")
        name = names[index % len(names)]
        data = damaged(whole[name], chance)
        answer = worker(data, pixels[name], chance.choice(suffixes))
        if answer.startswith("fault"):
            faults.append(f"{index}: {name}: {answer.removeprefix('fault: ')}")
            if keep:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{index}-{name}").write_bytes(data)
        else:
            counts[answer] += 1
    worker.process.kill()
    return counts, faults


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="how many files (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the damages (default: 0)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="gets the files with which something was wrong")
    arguments = parser.parse_args()
    begun = time.monotonic()
    counts, faults = fuzz(arguments.count, arguments.seed, arguments.keep)
    for fault in faults:
        print(fault)
    told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    print(f"{arguments.count} files: {told}, {len(faults)} faults, {time.monotonic() - begun:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
