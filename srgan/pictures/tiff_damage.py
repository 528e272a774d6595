"""Damage in the strips and tiles of TIFF files that the decoders pass over, as far as anything shows it."""

import zlib

from srgan.pictures.jpeg import decode_jpeg

_LZW, _PACKBITS, _JPEG, _DEFLATE = 5, 32773, 7, (8, 32946)  # compressions
_FROM_THE_LOWEST_BIT = 2  # an order of bits, which tifffile turns before it decodes
_PART = 2**20  # bytes that are decompressed at a time


def require_intact(page) -> None:
    """Raise ValueError if a strip or tile of a page is damaged: by its checksum, its length, or what libjpeg says."""
    file, count = page.parent.filehandle, min(len(page.dataoffsets), len(page.databytecounts))
    if int(page.compression) not in (_LZW, _PACKBITS, _JPEG, *_DEFLATE):
        return
    for index in range(count):
        file.seek(page.dataoffsets[index])
        require_intact_part(page, file.read(page.databytecounts[index]), index)


def require_intact_part(page, data: bytes, index: int) -> None:
    """The same for one strip or tile, of which the file has these bytes."""
    compression = int(page.compression)
    if page.fillorder == _FROM_THE_LOWEST_BIT or not isinstance(page.bitspersample, int):
        return
    if compression in (_LZW, _PACKBITS):
        _require_length(page, data, index, is_lzw=compression == _LZW)
    elif compression in _DEFLATE:
        _require_checksum(data, 2 * _size(page, index)[0])
    elif compression == _JPEG:
        decode_jpeg(page.jpegtables[:-2] + data[2:] if page.jpegtables else data)


def _size(page, index):
    """How many bytes of samples a strip or tile has, and a row of it."""
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    width = page.tilewidth if page.is_tiled else page.imagewidth
    row = -(-width * samples * page.bitspersample // 8)
    if page.is_tiled:
        return row * page.tilelength, row
    strips = -(-page.imagelength // page.rowsperstrip)
    return row * min(page.rowsperstrip, page.imagelength - index % strips * page.rowsperstrip), row


def _require_length(page, data, index, is_lzw):
    """These have no checksum, but damage mostly changes the length. There may be more rows, but no part of one."""
    import imagecodecs

    size, row = _size(page, index)
    try:
        found = len(imagecodecs.lzw_decode(data, out=size + row) if is_lzw else imagecodecs.packbits_decode(data))
    except Exception:
        return  # libvips may know this kind
    if found < size or (found - size) % row:
        raise ValueError(f"{'LZW' if is_lzw else 'PackBits'} data of {found} bytes instead of {size}")


def _require_checksum(data, most):
    stream, size = zlib.decompressobj(), 0
    try:
        while data and not stream.eof and size <= most:
            size += len(stream.decompress(data, _PART))
            data = stream.unconsumed_tail
    except zlib.error as error:
        raise ValueError(str(error)) from error
