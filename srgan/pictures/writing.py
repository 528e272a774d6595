"""Writing picture files with their metadata."""

import contextlib
import errno
import io
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from srgan.errors import SRGANError
from srgan.files import atomic_path, temporary_folder
from srgan.pictures import libvips
from srgan.pictures.arrays import gray_as_rgb, on_white, palette_indices, to_8_bits, with_colours
from srgan.pictures.exif import Exif, add_to_tiff
from srgan.pictures.formats import IN_SRGB, WITHOUT_ALPHA, WITHOUT_IPTC, WITHOUT_METADATA, output_format
from srgan.pictures.jpeg import IPTC, LARGEST_SEGMENT, fit_exif, iptc_segment, split_xmp, with_metadata
from srgan.pictures.jxl import encode_jxl
from srgan.pictures.metadata import metadata_of, or_none
from srgan.pictures.picture import Picture
from srgan.pictures.png import comment_of, png_parts, write_png
from srgan.pictures.profiles import gray_as_rgb_profile, profile_to_srgb
from srgan.pictures.raw import RawPixels

_WITHOUT_GRAY = {"WebP", "AVIF"}
_FULL_CHROMA = 90  # from this quality on, JPEG and AVIF keep the colours of every pixel
_LARGEST_TIFF = 3 * 2**30  # bytes of pixels; more, which LZW can make larger still, need the format's 64-bit form


def write_picture(
    picture: Picture,
    path: str | os.PathLike,
    *,
    kind: str | None = None,
    quality: int = 95,
    lossless: bool = False,
    compression: int = 2,
    strip_metadata: bool = False,
    pyramid: bool = False,
) -> None:
    """Write a picture, atomically, with its profile, EXIF and resolution.

    PNG, JPEG and TIFF are also written of `RawPixels`, in memory that does not depend on their size.

    What has alpha is laid on white in JPEG and BMP, which have none. 16 bits stay in PNG and TIFF, become 12 in AVIF and 8
    elsewhere.

    Args:
        kind: the format, as `output_format` gives it; None: that of the path's suffix.
        quality: of JPEG, WebP, AVIF and JPEG XL, 1 to 100.
        lossless: write WebP and JPEG XL without loss.
        compression: of PNG, 0 (fast) to 9 (small).
        strip_metadata: write nothing but the pixels and what their colours are.
        pyramid: write TIFF in tiles, with smaller versions of the picture.

    Raises:
        SRGANError: it cannot be written.
    """
    path = Path(path)
    height, width = picture.pixels.shape[:2]
    kind = kind or output_format(path.suffix, width, height)
    if strip_metadata:
        picture = replace(picture, exif=None, dpi=None, xmp=None, iptc=None, text=())
    if kind in _WITHOUT_GRAY and picture.pixels.shape[2] < 3 and picture.icc:
        picture = replace(picture, icc=or_none(partial(gray_as_rgb_profile, picture.icc)))
    try:
        with atomic_path(path) as temporary:
            if kind == "PNG":
                with open(temporary, "wb") as file:
                    kept = {"colour": picture.colour, "text": picture.text, **metadata_of(picture)}
                    pixels, palette = picture.pixels, picture.palette
                    if palette is not None:
                        pixels = palette_indices(pixels, palette)[..., None]
                    write_png(file, pixels, **kept, palette=palette, compression=compression)
            elif kind == "TIFF":
                _write_tiff(picture, temporary, pyramid)
            elif kind == "JPEG XL":
                _write_jxl(picture, temporary, quality, lossless)
            elif kind == "AVIF" and picture.pixels.dtype == np.uint16:
                _write_deep_avif(picture, temporary, quality)
            elif isinstance(picture.pixels, RawPixels):
                _write_large_jpeg(picture, temporary, quality)
            else:
                _write_pillow(picture, kind, temporary, quality, lossless)
    except MemoryError as error:
        raise SRGANError(f"{path}: cannot be written (not enough memory)") from error
    except (OSError, ValueError) as error:
        raise SRGANError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from error


def left_out(picture: Picture, kind: str) -> list[str]:
    """What of a picture's metadata has no place in a format, in words."""
    lost = []
    if kind == "JPEG":
        data = picture.exif and metadata_of(picture)["exif"]
        exif = Exif.parse(data) if data and len(data) > LARGEST_SEGMENT else None
        if exif:
            tags = ", ".join(f"{tag:#06x}" for tag in fit_exif(exif)[1])
            lost.append(f"EXIF beyond 64 KiB (the values of {tags})")
    if kind in WITHOUT_METADATA:
        lost += [name for name, value in (("EXIF", picture.exif), ("XMP", picture.xmp)) if value]
    if picture.iptc and (kind in WITHOUT_IPTC or kind == "JPEG" and len(picture.iptc) > LARGEST_SEGMENT):
        lost.append("IPTC")
    names = {content.partition(b"\0")[0].decode("latin-1") for _, content in picture.text if kind != "PNG"}
    if kind == "JPEG" and len(comment_of(picture.text)) <= LARGEST_SEGMENT:
        names.discard("Comment")
    if names:
        lost.append(f"the texts {', '.join(sorted(names))}")
    return lost


def to_pillow(picture: Picture) -> Image.Image:
    """A `Picture` as a Pillow picture, with its metadata in `info`. Colour or alpha of 16 bits are rounded to 8."""
    pixels = picture.pixels
    if pixels.dtype == np.uint16 and pixels.shape[2] > 1:
        pixels = to_8_bits(pixels)
    if picture.palette is not None:
        image = Image.fromarray(palette_indices(pixels, picture.palette))
        image.putpalette(picture.palette.tobytes(), "RGBA")
    else:
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.info.update(_pillow_options(picture))
    return image


def _pillow_options(picture):
    """The metadata as Pillow has them in `info`, and takes them for writing."""
    options = {key: value for key, value in metadata_of(picture).items() if value}
    if "exif" in options:
        options["exif"] = b"Exif\0\0" + options["exif"]
    if iptc := options.pop("iptc", None):
        options["photoshop"] = {IPTC: iptc}
    return options


def _write_pillow(picture, kind, path, quality, lossless):
    pixels = to_8_bits(picture.pixels)
    if picture.icc and kind in IN_SRGB:
        pixels = with_colours(pixels, partial(profile_to_srgb, icc=picture.icc))
        picture = replace(picture, icc=None)
    if kind in WITHOUT_ALPHA and pixels.shape[2] in (2, 4):
        pixels = on_white(pixels)
    picture = replace(picture, pixels=pixels, palette=None)
    image = to_pillow(picture)
    options = _jpeg_options(picture) if kind == "JPEG" else _pillow_options(picture)
    if kind in ("JPEG", "AVIF"):
        options |= {"quality": quality, "subsampling": "4:4:4" if quality >= _FULL_CHROMA else "4:2:0"}
    elif kind == "WebP":
        options |= {"quality": quality, "lossless": lossless}
    try:
        image.save(path, kind, **options)
    except KeyError as error:  # Pillow's, of a format whose library it cannot load
        raise MemoryError from error


def _jpeg_options(picture):
    options, (height, width) = _pillow_options(picture), picture.pixels.shape[:2]
    extra = iptc_segment(options.get("photoshop", {}).get(IPTC, b""))
    if "exif" in options and (exif := Exif.parse(options["exif"])):
        exif, _ = fit_exif(replace(exif, size=(width, height)).for_jpeg(not picture.icc, picture.dpi))
        options["exif"] = b"Exif\0\0" + exif.tobytes()
    if "xmp" in options:
        options["xmp"], more = split_xmp(options["xmp"])
        extra += more
    if 0 < len(comment := comment_of(picture.text)) <= LARGEST_SEGMENT:
        options["comment"] = comment
    return options | {"extra": extra}


def _write_large_jpeg(picture, path, quality):
    """The pixels as libvips codes them, in strips, behind the metadata of a small file that Pillow writes."""
    import pyvips

    head = io.BytesIO()
    small = np.zeros((8, 8, picture.pixels.shape[2]), np.uint8)
    Image.fromarray(small[..., 0] if small.shape[2] == 1 else small).save(head, "JPEG", **_jpeg_options(picture))
    with temporary_folder(dir=path.parent, prefix=".encoded-") as folder:
        body = folder / "body.jpg"
        try:
            chroma = "off" if quality >= _FULL_CHROMA else "on"
            with _as_stream(picture.pixels) as image:
                image.jpegsave(str(body), Q=quality, subsample_mode=chroma, keep="none")
        except pyvips.Error as error:
            raise _as_os_error(error) from error
        with_metadata(path, body, head.getvalue())


def _as_os_error(error):
    """libvips' error, which says a full disk in several lines, as Python's."""
    lines = str(error).split("\n")
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if any(os.strerror(number) in line for line in lines):
            return OSError(number, os.strerror(number))
    return OSError(" ".join(str(error).split()))


def _write_jxl(picture, path, quality, lossless):
    """JPEG XL in sRGB: imagecodecs writes no profile."""
    pixels, metadata = picture.pixels, metadata_of(picture)
    pixels = with_colours(pixels, partial(profile_to_srgb, icc=picture.icc)) if picture.icc else pixels
    Path(path).write_bytes(encode_jxl(pixels, quality, lossless, metadata["exif"], metadata["xmp"]))


def _write_deep_avif(picture, path, quality):
    """AVIF of 12 bits, by libvips: Pillow writes 8."""
    import pyvips

    options = _pillow_options(picture)
    try:
        pixels = gray_as_rgb(picture.pixels) if picture.pixels.shape[2] < 3 else picture.pixels
        image = libvips.as_image(pixels, options.get("icc_profile"))
        for name, key in (("exif-data", "exif"), ("xmp-data", "xmp")):
            if key in options:
                image.set_type(pyvips.GValue.blob_type, name, options[key])
        chroma = "off" if quality >= _FULL_CHROMA else "on"
        image.heifsave(str(path), compression="av1", bitdepth=12, Q=quality, subsample_mode=chroma)
    except pyvips.Error as error:
        raise _as_os_error(error) from error


@contextlib.contextmanager
def _as_stream(pixels):
    """`RawPixels` as a picture that libvips reads from the top to the bottom, as a PNG file that is made meanwhile.

    A file of raw pixels libvips would map into memory as a whole.
    """
    import pyvips

    left, following = memoryview(b""), png_parts(pixels, compression=0)

    def read(size):
        nonlocal left
        while not left and (part := next(following, None)) is not None:
            left = memoryview(part)
        part, left = bytes(left[:size]), left[size:]
        return part

    source = pyvips.SourceCustom()
    source.on_read(read)
    yield pyvips.Image.pngload_source(source, access="sequential", fail_on="error", unlimited=True)
    del source  # libvips keeps no reference to it that counts


def _write_tiff(picture, path, pyramid):
    import pyvips

    big = picture.pixels.nbytes * (4 / 3 if pyramid else 1) > _LARGEST_TIFF
    metadata = metadata_of(picture)
    is_large = isinstance(picture.pixels, RawPixels)
    options = {"bigtiff": big, "tile": pyramid or is_large, "pyramid": pyramid, "subifd": pyramid}
    if options["tile"]:
        options |= {"tile_width": 256, "tile_height": 256}
    try:
        with (
            _as_stream(picture.pixels)
            if is_large
            else contextlib.nullcontext(libvips.as_image(picture.pixels)) as image
        ):
            dpi = picture.dpi or (picture.exif and picture.exif.dpi())
            x, y = dpi or (25.4, 25.4)
            image = image.copy(xres=x / 25.4, yres=y / 25.4)
            if picture.icc:
                image.set_type(pyvips.GValue.blob_type, "icc-profile-data", picture.icc)
            image.tiffsave(str(path), compression="lzw", predictor="horizontal", resunit="inch", **options)
    except pyvips.Error as error:
        raise _as_os_error(error) from error
    exif = metadata["exif"] and Exif.parse(metadata["exif"])
    add_to_tiff(path, exif, metadata["xmp"], metadata["iptc"], has_dpi=bool(dpi))
