"""PNG files (W3C Recommendation, third edition): their chunks, and writing them with a fast compressor.

The writer is kept by hand because of its speed. Measured on a photograph of 768 x 768, CPU time to write it at about the
same size: 6 ms here with ISA-L, 19 ms with libvips (and 40 ms to import it), 42 ms with Pillow, which writes no colour of
16 bits. The whole command takes 3 % longer with Pillow and 17 % longer with libvips.

Files are read by Pillow or libvips from the few chunks that say what the pixels are, so that damage in any other chunk
does no harm.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from isal import isal_zlib

from srgan.pictures.metadata import Decoded, first_of

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_CHUNKS = (b"cICP", b"sRGB", b"gAMA", b"cHRM")  # what the colours are, where no profile says it
TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")

_INDEXED = 3
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: gray, gray and alpha, RGB, RGB and alpha
_ADAM7 = (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)  # its passes
_UP = 2  # the filter: each value less the one above
_STRIP = 2**20  # bytes that are compressed at a time
_NEEDED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
_MOST_TEXT = 2**26  # bytes, decompressed
_XMP = b"XML:com.adobe.xmp\0"
_RAW_PROFILES = {b"Raw profile type " + name for name in (b"exif", b"APP1", b"iptc", b"xmp")}


@dataclass(kw_only=True)
class Chunks(Decoded):
    """What is in a PNG file. `pixels` and `palette` are left to the decoder.

    Attributes:
        width, height, depth, colour_type, interlace: of the header.
        file: a PNG file with the header, the palette and the pixels alone.
        rgb: of the palette, uint8 (n, 3), or None.
        transparency: the content of tRNS, or b"".
    """

    width: int
    height: int
    depth: int
    colour_type: int
    interlace: int
    file: bytes = b""
    rgb: np.ndarray | None = None
    transparency: bytes = b""


def read_chunks(data: bytes, keep_pixels: bool = True) -> Chunks:
    """Take a PNG file's bytes apart.

    Args:
        keep_pixels: False: pass over the pixels, so that a file that is mapped into memory is not read.

    Raises:
        ValueError: a chunk that the pixels need is cut off or damaged, or a text is too large.
    """
    chunks, result, kept = _chunks(data, () if keep_pixels else (b"IDAT", b"fdAT")), None, [SIGNATURE]
    for kind, content, is_whole in chunks:
        if kind in _NEEDED and not is_whole:
            raise ValueError(f"its chunk {kind.decode()} is damaged")
        if result is None:
            if kind != b"IHDR" or len(content) != 13:
                raise ValueError("it does not begin with a header")
            width, height, depth, colour_type, _, _, interlace = struct.unpack(">IIBBBBB", content)
            result = Chunks(
                np.empty(0), width=width, height=height, depth=depth, colour_type=colour_type, interlace=interlace
            )
        if kind in (b"IHDR", b"IDAT", b"PLTE"):
            kept += [_chunk(kind, content)]
        if kind == b"PLTE":
            result.rgb = np.frombuffer(content[: len(content) // 3 * 3], np.uint8).reshape(-1, 3)
        elif kind == b"tRNS":
            result.transparency = content
        elif kind in COLOUR_CHUNKS and is_whole:
            result.colour.setdefault(kind, content)
        elif kind == b"acTL" and len(content) == 8:
            result.notes = first_of(int.from_bytes(content[:4]), "frames")
        elif kind == b"pHYs" and is_whole and len(content) == 9 and content[8] == 1:
            result.dpi = tuple(value * 0.0254 for value in struct.unpack(">II", content[:8]))
        elif kind == b"eXIf" and is_whole:
            result.exif = content
        elif kind == b"iCCP" and is_whole:
            result.icc = _inflated(content.partition(b"\0")[2][1:])
        elif kind in TEXT_CHUNKS and is_whole:
            _take_text(result, kind, content)
        elif kind[:1].isupper() and kind not in (*_NEEDED, b"IEND"):
            raise ValueError(f"its chunk {kind.decode('latin-1')!r} is not part of the standard")
    if result is None:
        raise ValueError("it is cut off")
    if result.colour_type == _INDEXED and (result.rgb is None or not len(result.rgb)):
        raise ValueError("it has no palette")
    result.file = b"".join([*kept, _chunk(b"IEND", b"")])
    return result


def require_all_rows(chunks: Chunks) -> None:
    """Raise ValueError if there is less data than pixels, which Pillow makes black without a word."""
    width, height = chunks.width, chunks.height
    bits = chunks.depth * {0: 1, 2: 3, _INDEXED: 1, 4: 2, 6: 4}[chunks.colour_type]
    steps = _ADAM7 if chunks.interlace else ((0, 0, 1, 1),)
    sizes = [(-(-(width - left) // across), -(-(height - top) // down)) for left, top, across, down in steps]
    wanted = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0)
    try:
        for size in _inflated_sizes(chunks.file):
            wanted -= size
            if wanted <= 0:
                return
    except Exception:
        return  # Pillow, which has the last word about damaged data, has taken it
    raise ValueError("rows of pixels are missing")


def _inflated_sizes(data):
    """Yield how many bytes the parts of a PNG file's pixels are, decompressed."""
    stream = isal_zlib.decompressobj()
    for kind, content, _ in _chunks(data):
        while kind == b"IDAT" and not stream.eof:
            size = len(stream.decompress(content, _STRIP))
            yield size
            content = stream.unconsumed_tail
            if not content and size < _STRIP:
                break


def _chunks(data, unread=()):
    """Yield the name and the content of each chunk, and whether its checksum is right, up to the end of what is there."""
    place = len(SIGNATURE)
    while place + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        end = place + 8 + length
        if kind in unread:
            place = end + 4
            continue
        content = data[place + 8 : end]
        checksum = isal_zlib.crc32(content, isal_zlib.crc32(kind))
        yield kind, content, len(data) >= end + 4 and struct.unpack(">I", data[end : end + 4])[0] == checksum
        if kind == b"IEND":
            return
        place = end + 4


def _take_text(result, kind, content):
    """Sort a text chunk: XMP, and EXIF and IPTC as ImageMagick writes them into PNG, are metadata; the rest is text."""
    keyword, text = content.partition(b"\0")[0], _text_of(kind, content)
    if kind == b"iTXt" and content.startswith(_XMP):
        result.xmp = text
    elif keyword in _RAW_PROFILES:
        profile = _raw_profile(text or b"")
        if keyword.endswith(b"iptc"):
            result.iptc = result.iptc or profile and iptc_of(profile)
        elif keyword.endswith(b"xmp"):
            result.xmp = result.xmp or profile
        elif profile and profile.startswith(b"Exif\0\0"):
            result.exif = result.exif or profile
    elif text is not None:
        result.text.append((kind, content))


def _text_of(kind, content):
    """The text of a text chunk, decompressed; None if it is damaged."""
    rest = content.partition(b"\0")[2]
    if kind == b"zTXt":
        return _inflated(rest[1:])
    if kind == b"iTXt":
        is_compressed, rest = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
        return _inflated(rest) if is_compressed else rest
    return rest


def _raw_profile(text):
    """The bytes of a profile in ImageMagick's form: its name, its length and hexadecimal digits, in lines."""
    try:
        return bytes.fromhex(b"".join(text.lstrip().split(b"\n")[2:]).decode("ascii"))
    except ValueError:
        return None


def comment_chunk(comment: bytes) -> tuple[bytes, bytes]:
    """A comment, as JPEG and GIF have it, as a text chunk."""
    if comment.isascii():
        return b"tEXt", b"Comment\0" + comment
    try:
        text = comment.decode()
    except UnicodeDecodeError:
        text = comment.decode("latin-1")
    return b"iTXt", b"Comment\0\0\0\0\0" + text.encode()


def comment_of(text: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The comment among text chunks, in UTF-8; b"" where there is none."""
    for kind, content in text:
        if content.startswith(b"Comment\0"):
            comment = _text_of(kind, content) or b""
            return comment if kind == b"iTXt" else comment.decode("latin-1").encode()
    return b""


def iptc_of(profile: bytes) -> bytes:
    """IPTC by itself, where it lies among Photoshop's resources."""
    place = 0
    while profile[place : place + 4] == b"8BIM":
        number, name = struct.unpack(">HB", profile[place + 4 : place + 7])
        start = place + 6 + (name + 2) // 2 * 2 + 4
        end = start + int.from_bytes(profile[start - 4 : start])
        if number == 0x0404:
            return profile[start:end]
        place = end + end % 2
    return profile


def _inflated(content):
    """What was compressed, or None if it is damaged.

    Raises:
        ValueError: there is more than `_MOST_TEXT` of it.
    """
    stream = zlib.decompressobj()
    try:
        result = stream.decompress(content, _MOST_TEXT)
    except zlib.error:
        return None
    if stream.unconsumed_tail:
        raise ValueError(f"a text or profile in it is larger than {_MOST_TEXT >> 20} MiB")
    return result if stream.eof else None


def write_png(file: BinaryIO, pixels: np.ndarray, **options) -> None:
    """Write a picture to a binary file. `options`: those of `png_parts`."""
    for part in png_parts(pixels, **options):
        file.write(part)


def png_parts(
    pixels: np.ndarray,
    *,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    xmp: bytes | None = None,
    iptc: bytes | None = None,
    colour: dict[bytes, bytes] | None = None,
    text: Iterable[tuple[bytes, bytes]] = (),
    palette: np.ndarray | None = None,
    compression: int = 2,
) -> Iterator[bytes]:
    """Yield a PNG file, part by part.

    Args:
        pixels: uint8 or uint16 (height, width, 1 to 4 channels); with 2 and 4 the last is alpha. With `palette`, the
            indices of its colours, uint8 (height, width, 1).
        icc_profile: the bytes of a colour profile.
        exif: as a TIFF file's bytes, with or without JPEG's "Exif" before them.
        dpi: pixels an inch in x and y.
        xmp, iptc: their bytes.
        colour, text: as in `srgan.pictures.Picture`; with `colour` no profile is written.
        palette: uint8 (n, 4), RGB and alpha.
        compression: 0 (fast) to 9 (small).
    """
    height, width, channels = pixels.shape
    colour_type = _COLOUR_TYPES[channels] if palette is None else _INDEXED
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, colour_type, 0, 0, 0)
    yield SIGNATURE + _chunk(b"IHDR", header)
    for kind in COLOUR_CHUNKS:
        if colour and kind in colour:
            yield _chunk(kind, colour[kind])
    if icc_profile and not colour:
        yield _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc_profile))
    if palette is not None:
        yield _chunk(b"PLTE", palette[:, :3].tobytes())
        if (palette[:, 3] < 255).any():
            yield _chunk(b"tRNS", palette[:, 3].tobytes())
    if dpi:
        yield _chunk(b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in dpi), 1))
    if exif:
        yield _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    if xmp:
        yield _chunk(b"iTXt", _XMP + b"\0\0\0\0" + xmp)
    if iptc:
        digits = iptc.hex().encode()
        lines = b"\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
        profile = b"\niptc\n%8d\n" % len(iptc) + lines + b"\n"
        yield _chunk(b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(profile))
    for kind, content in text:
        yield _chunk(kind, content)
    library = isal_zlib if compression <= 2 else zlib  # ISA-L has no levels that take time for size
    compressor = library.compressobj(compression)
    for strip in _filtered_strips(pixels):
        if data := compressor.compress(strip):
            yield _chunk(b"IDAT", data)
    yield _chunk(b"IDAT", compressor.flush()) + _chunk(b"IEND", b"")


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", isal_zlib.crc32(data, isal_zlib.crc32(kind)))


def _filtered_strips(pixels):
    """The picture's rows as the file has them, each with its filter's number before it, about a megabyte at a time."""
    height, width, channels = pixels.shape
    row_bytes = width * channels * pixels.itemsize
    count = max(1, _STRIP // row_bytes)
    above = np.zeros((1, row_bytes), np.uint8)
    for start in range(0, height, count):
        rows = np.ascontiguousarray(pixels[start : start + count], pixels.dtype.newbyteorder(">"))
        rows = rows.view(np.uint8).reshape(-1, row_bytes)
        strip = np.empty((len(rows), 1 + row_bytes), np.uint8)
        strip[:, 0] = _UP
        np.subtract(rows, np.concatenate([above, rows[:-1]]), out=strip[:, 1:])
        above = rows[-1:]
        yield strip
