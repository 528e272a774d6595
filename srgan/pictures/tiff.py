"""Reading TIFF files: tifffile decodes them, libvips what tifffile cannot; the colours are converted here.

A file is read correctly or refused: a strip that is missing or damaged is an error in both decoders.
"""

import contextlib
import io
import logging
import math
import os
from collections.abc import Callable, Iterator

import numpy as np

from srgan.pictures import libvips
from srgan.pictures.arrays import full_range, unpremultiplied
from srgan.pictures.metadata import Decoded, became_rgb
from srgan.pictures.profiles import cmyk_to_rgb, lab_to_srgb
from srgan.pictures.tiff_damage import require_intact, require_intact_part

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else its warnings about odd files would go to stderr

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _SEPARATED, _YCBCR, _CIELAB, _ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
_COLOURS = dict.fromkeys((_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE), 1) | {_SEPARATED: 4}  # how many channels
_COLOURS |= dict.fromkeys((_RGB, _YCBCR, _CIELAB, _ICCLAB), 3)
_SENSOR = {32803, 34892}  # a colour filter array; linear values of the sensor
_JPEG, _LOSSY_DNG = {6, 7, 33007}, 34892  # compressions; YCbCr of the former comes out of tifffile as RGB
_PREMULTIPLIED, _STRAIGHT = 1, 2  # kinds of extra samples
_MOST_SAMPLES = 64
_MOST_PAGES = 1000


def decode_tiff(data: bytes, kind: str, refuse_large: Callable[[int, int], None]) -> Decoded:
    """The largest page of colours or gray in a TIFF file's bytes.

    Args:
        refuse_large: called with the width and the height before anything is decoded.

    Raises:
        Exception: of any kind; the message says what is damaged or not supported.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data), _multifile=False) as file:
        page, note = _choose(file, len(data))
        refuse_large(page.imagewidth, page.imagelength)
        _check(page)
        return _described(page, data, _samples(page, data, _value(page.photometric)), note)


@contextlib.contextmanager
def open_page(path: str | os.PathLike) -> Iterator[tuple]:
    """Open the largest page of a TIFF file to be decoded part by part; with it comes what is to be said about that."""
    import tifffile

    with tifffile.TiffFile(path, _multifile=False) as file:
        yield _choose(file, os.path.getsize(path))


def describe_page(page, data: bytes, note: str) -> Decoded:
    """All that a page of the file with these bytes holds; a single black pixel stands for its pixels.

    Raises:
        Exception: of any kind; the message says what is not supported.
    """
    _check(page)
    kind = np.uint8 if page.dtype == bool else page.dtype
    return _described(page, data, np.zeros((1, 1, page.samplesperpixel), kind), note)


def band_bytes(page) -> int:
    """How many bytes of samples have to be decoded at once: those of a strip, or of a row of tiles."""
    rows = 1 if _is_plain(page) else _rows_of_strips(page)
    return rows * page.imagewidth * page.samplesperpixel * page.dtype.itemsize


def page_bands(page, size: int) -> Iterator[np.ndarray]:
    """The pixels as `decode_tiff` gives them, in bands of rows from the top to the bottom.

    Args:
        size: about how many bytes of samples are converted at once.
    """
    step = max(1, size // (page.imagewidth * page.samplesperpixel * page.dtype.itemsize))
    for samples in _plain_bands(page, step) if _is_plain(page) else _decoded_bands(page):
        for start in range(0, len(samples), step):
            yield _converted(page, samples[start : start + step])[0]


def _rows_of_strips(page):
    return min(page.tilelength if page.is_tiled else page.rowsperstrip, page.imagelength)


def _is_plain(page):
    """Whether the samples are in the file as they are in memory."""
    is_planar = page.planarconfig == 2 and page.samplesperpixel > 1
    return page.is_contiguous and page.bitspersample == 8 * page.dtype.itemsize and not is_planar


def _plain_bands(page, step):
    file, width = page.parent.filehandle, page.imagewidth * page.samplesperpixel
    kind = page.dtype.newbyteorder(page.parent.byteorder)
    for start in range(0, page.imagelength, step):
        rows = min(step, page.imagelength - start)
        file.seek(page.dataoffsets[0] + start * width * kind.itemsize)
        data = file.read(rows * width * kind.itemsize)
        yield np.frombuffer(data, kind).astype(page.dtype).reshape(rows, page.imagewidth, -1)


def _decoded_bands(page):
    rows, width, height = _rows_of_strips(page), page.imagewidth, page.imagelength
    columns = math.ceil(width / page.tilewidth) if page.is_tiled else 1
    strips = math.ceil(height / rows)
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    options = {"_fullsize": page.is_tiled}
    if _value(page.compression) in {*_JPEG, _LOSSY_DNG}:
        options |= {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
    if min(len(page.dataoffsets), len(page.databytecounts)) < planes * strips * columns:
        raise ValueError("the places of some of its strips are missing")
    file = page.parent.filehandle
    for strip in range(strips):
        kind = np.uint8 if page.dtype == bool else page.dtype
        band = np.zeros((min(rows, height - strip * rows), width, page.samplesperpixel), kind)
        for plane in range(planes):
            for column in range(columns):
                index = (plane * strips + strip) * columns + column
                file.seek(page.dataoffsets[index])  # just before: `page` may read something itself
                data = file.read(page.databytecounts[index])
                require_intact_part(page, data, index)
                part = page.decode(data, index, **options)[0]
                if part is None:
                    continue
                place = band[:, column * page.tilewidth :] if page.is_tiled else band
                place = place if planes == 1 else place[..., plane : plane + 1]
                high, wide = min(len(place), part.shape[1]), min(place.shape[1], part.shape[2])
                place[:high, :wide] = part[0, :high, :wide]
        yield band


def _described(page, data, samples, note):
    pixels, icc, notes = _converted(page, samples)
    tags = page.tags
    return Decoded(
        np.ascontiguousarray(pixels),
        orientation if (orientation := _number(tags, 274, 0)) in range(1, 9) else None,
        icc=icc,
        exif=data,  # EXIF has the structure of a TIFF file
        dpi=_resolution(tags),
        xmp=_bytes(tags, 700),
        iptc=_bytes(tags, 33723) or _longs(tags, 33723, page.parent.byteorder),
        notes=[*filter(None, [note, *notes])],
    )


def _choose(file, length):
    """The page to take and what to say about it."""
    pages = []

    def collect(series):
        for page in series:
            page = page.aspage() if hasattr(page, "aspage") else page
            if len(pages) >= _MOST_PAGES or page.offset in {other.offset for other in pages}:  # they can go in circles
                return
            pages.append(page)
            if page.subifds:
                collect(page.pages)

    collect(file.pages)
    sizes = [page.imagewidth * page.imagelength for page in pages]
    masks = [bool(page.subfiletype & 4) for page in pages]
    usable = [index for index, page in enumerate(pages) if _value(page.photometric) in _COLOURS and not masks[index]]
    best = max(usable, key=sizes.__getitem__, default=None)
    sensor = [index for index, page in enumerate(pages) if _value(page.photometric) in _SENSOR]
    if sensor and (best is None or max(map(sizes.__getitem__, sensor)) > sizes[best]):
        raise ValueError("it holds a camera's raw data; develop it first, for example with darktable or RawTherapee")
    if best is None:
        kind = _kind_name(pages[0]) if pages else "none"
        raise ValueError(f"pictures of the photometric interpretation {kind} are not supported")
    page = pages[best]
    for start, size in zip(page.dataoffsets, page.databytecounts):
        if not size or start + size > length:
            raise ValueError("it is cut off")
        if start < 8:  # in the header; tifffile would fill it with black
            raise ValueError("the place of one of its strips is wrong")
    if not page.dataoffsets:
        raise ValueError("it is cut off")
    if len(usable) == 1:
        return page, ""
    if len({sizes[index] for index in usable}) == 1:
        return page, f"the first of {len(usable)} frames is taken"
    return page, f"page {usable.index(best) + 1} of {len(usable)} is taken, the largest"


def _check(page):
    """Raise ValueError for a page that is not supported."""
    kind, bits = _value(page.photometric), page.bitspersample
    colours, samples = _COLOURS[kind], page.samplesperpixel
    if not isinstance(bits, int):
        raise ValueError(f"channels of {', '.join(map(str, bits))} bits are not supported")
    if page.imagedepth != 1 or not colours <= samples <= _MOST_SAMPLES:
        raise ValueError(f"{samples} channels are not supported")
    if kind == _SEPARATED and _number(page.tags, 332, 1) != 1:
        raise ValueError("inks other than cyan, magenta, yellow and black are not supported")
    if page.is_tiled and page.tilewidth * page.tilelength > max(2**26, 4 * page.imagewidth * page.imagelength):
        raise ValueError("its tiles are larger than the picture")
    is_packed = bits == 1 and samples > 1 and page.planarconfig == 1  # which tifffile decodes wrongly
    if is_packed or bits not in {_YCBCR: (8,), _CIELAB: (8, 16), _ICCLAB: (8, 16)}.get(kind, (bits,)):
        raise ValueError(f"{_kind_name(page)} of {bits} bits is not supported")
    compression = _value(page.compression)
    is_subsampled = kind == _YCBCR and 530 in page.tags and np.prod(page.tags[530].value) != 1
    if is_subsampled and compression not in _JPEG:
        raise ValueError("YCbCr with fewer colours than pixels is supported only where it is compressed as JPEG")
    is_lab = kind in (_CIELAB, _ICCLAB)  # which tifffile would convert like YCbCr
    supported = {**dict.fromkeys(_JPEG, (8, 12)), _LOSSY_DNG: () if kind == _YCBCR else (8,)}
    if compression in supported and (is_lab or bits not in supported[compression]):
        raise ValueError(f"{_kind_name(page)} of {bits} bits, compressed as JPEG, is not supported")


def _converted(page, values):
    """Samples of a page as gray or RGB, with alpha where it has that; the profile that they are in; what is left out."""
    kind, bits = _value(page.photometric), page.bitspersample
    colours, samples, compression = _COLOURS[kind], page.samplesperpixel, _value(page.compression)
    if values.dtype.kind not in "bu" or values.dtype.itemsize > 2:
        name = {"f": "float", "i": "signed integers", "c": "complex numbers"}.get(values.dtype.kind, f"{bits} bits")
        raise ValueError(f"channels of the type {name} are not supported")
    icc = _bytes(page.tags, 34675)
    extra = [_value(value) for value in page.extrasamples] or [_STRAIGHT] * (samples - colours)
    alpha = next((i for i, value in enumerate(extra) if value in (_PREMULTIPLIED, _STRAIGHT)), None)
    left_out = len(extra) - (alpha is not None)
    if left_out and colours == 1:
        raise ValueError(f"{samples} channels are not supported")
    colour = values[..., :colours]
    if kind == _PALETTE:
        colour = _from_palette(colour[..., 0], page)
    else:
        if kind == _WHITE_IS_ZERO:
            colour = (2**bits - 1) - colour
        colour = full_range(colour, bits)
    if alpha is not None:
        alpha = full_range(values[..., colours + alpha : colours + alpha + 1], bits)
        if colour.dtype != alpha.dtype:  # of a palette
            alpha = (alpha // 257).astype(np.uint8)
        if _PREMULTIPLIED in extra:
            colour = unpremultiplied(colour, alpha)
    if kind == _YCBCR and (compression not in _JPEG or page.planarconfig == 2):
        colour = _from_ycbcr(colour, page.tags)
    elif kind in (_CIELAB, _ICCLAB):
        colour, icc = lab_to_srgb(_lab(colour, kind)), None
    elif kind == _SEPARATED:
        colour, icc = cmyk_to_rgb(colour, icc)
    if alpha is not None:
        colour = np.concatenate([colour, alpha.astype(colour.dtype)], axis=2)
    notes = [f"{left_out} of its {samples} channels, neither colour nor alpha, left out"] if left_out else []
    if kind in (_SEPARATED, _CIELAB, _ICCLAB):
        notes.append(became_rgb("CMYK" if kind == _SEPARATED else "Lab"))
    return colour, icc, notes


def _samples(page, data, kind):
    """The page's samples, (height, width, samples), as tifffile or else libvips decodes them."""
    require_intact(page)
    try:
        if min(len(page.dataoffsets), len(page.databytecounts)) < math.prod(page.chunked):
            raise ValueError("the places of some of its strips are missing")
        values = page.asarray()
        if values.dtype == bool:
            values = values.astype(np.uint8)
        planar = page.planarconfig == 2 and page.samplesperpixel > 1
        shape = page.imagelength, page.imagewidth
        return values.reshape(-1, *shape).transpose(1, 2, 0) if planar else values.reshape(*shape, -1)
    except Exception as first:
        if kind not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) or page.index != 0 or isinstance(first, MemoryError):
            raise
        import pyvips

        try:
            values = libvips.decode(data)
        except pyvips.Error as error:
            raise ValueError(f"{first}; {'; '.join(dict.fromkeys(str(error).splitlines()))}") from first
        if kind == _WHITE_IS_ZERO:  # which libvips has turned already
            values = np.iinfo(values.dtype).max - values
        if page.bitspersample < 8:
            values = values >> (8 - page.bitspersample)
        if values.shape != (page.imagelength, page.imagewidth, page.samplesperpixel):
            raise
        return values


def _from_palette(indices, page):
    if page.colormap is None:
        raise ValueError("it has no palette")
    palette = np.asarray(page.colormap).T
    return (palette if palette.max(initial=0) < 256 else palette >> 8).astype(np.uint8)[indices]


def _from_ycbcr(values, tags):
    """TIFF 6.0, section 21."""
    white = np.iinfo(values.dtype).max
    ratios = np.ravel(tags[529].value if 529 in tags else (299, 1000, 587, 1000, 114, 1000)).astype(float)
    red, green, blue = ratios[::2] / ratios[1::2] if len(ratios) == 6 else ratios
    levels = np.ravel(tags[532].value).astype(float) if 532 in tags else None
    levels = levels[::2] / levels[1::2] if levels is not None and len(levels) == 12 else levels
    half = (white + 1) / 2
    low = np.array([0, half, half]) if levels is None else levels[::2]
    high = np.array([white] * 3) if levels is None else levels[1::2]
    y, cb, cr = np.moveaxis((values - low) / (high - low) * [white, white - half, white - half], -1, 0)
    r, b = y + cr * (2 - 2 * red), y + cb * (2 - 2 * blue)
    rgb = np.stack([r, (y - blue * b - red * r) / green, b], axis=-1)
    return np.clip(np.rint(rgb), 0, white).astype(values.dtype)


def _lab(values, kind):
    """L*, a* and b* of the two encodings: a* and b* are signed in CIELab, and offset in ICCLab (ICC.1, version 2)."""
    if kind == _CIELAB:
        signed = values.view(np.int8 if values.itemsize == 1 else np.int16)
        light = values[..., :1] * (100 / np.iinfo(values.dtype).max)
        return np.concatenate([light, signed[..., 1:] / (1 if values.itemsize == 1 else 256)], axis=-1)
    deep = values.itemsize == 2
    light = values[..., :1] * (100 / (65280 if deep else 255))
    return np.concatenate([light, values[..., 1:] / (256 if deep else 1) - 128], axis=-1)


def _resolution(tags):
    unit = {2: 1.0, 3: 2.54}.get(_number(tags, 296, 2))
    if not unit or 282 not in tags or 283 not in tags:
        return None
    ratios = [tags[key].value for key in (282, 283)]
    if any(not isinstance(ratio, tuple) or len(ratio) != 2 or not ratio[1] for ratio in ratios):
        return None
    dpi = tuple(ratio[0] / ratio[1] * unit for ratio in ratios)
    return dpi if all(math.isfinite(value) and value > 1 for value in dpi) else None


def _kind_name(page):
    return getattr(page.photometric, "name", page.photometric)


def _number(tags, key, default):
    value = tags[key].value if key in tags else default
    value = value[0] if isinstance(value, tuple) and value else value
    return int(value) if isinstance(value, int) else default


def _bytes(tags, key):
    value = tags[key].value if key in tags else None
    return value if isinstance(value, bytes) and value else None


def _longs(tags, key, order):
    """The bytes of a tag of 32-bit numbers, or None: most programs write IPTC as such."""
    values = tags[key].value if key in tags else None
    values = (values,) if isinstance(values, int) else values
    return np.asarray(values, order + "u4").tobytes() if isinstance(values, tuple) and values else None


def _value(value):
    return int(value) if value is not None else None
