"""The formats of picture files: what is read, what is written, and how large a picture each can hold."""

from PIL import features

from srgan.errors import SRGANError

WRITABLE = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WebP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".avif": "AVIF",
}
WITHOUT_ALPHA = {"JPEG", "BMP"}
READABLE = {*WRITABLE, ".jpe", ".jfif", ".gif", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga"}

_MOST_PIXELS_A_SIDE = {"JPEG": 65500, "WebP": 16383, "AVIF": 65535, "BMP": 2**31 - 1, "PNG": 10**6, "TIFF": 10**7}


def output_format(suffix: str, width: int, height: int) -> str:
    """The format, a value of `WRITABLE`, in which a picture of that size is written under a name with that suffix.

    Raises:
        SRGANError: no format with that suffix is written, or it cannot hold so many pixels.
    """
    kind = WRITABLE.get(suffix.lower())
    if kind is None or kind == "AVIF" and not features.check("avif"):
        named = (
            f"the output's suffix {suffix}"
            if suffix
            else "the output has no suffix (a folder's name ends with /), which"
        )
        raise SRGANError(f"{named} is not a format to write; use {', '.join(sorted(WRITABLE))}")
    limit = _MOST_PIXELS_A_SIDE[kind]
    if max(width, height) > limit:
        raise SRGANError(
            f"{kind} holds {limit} pixels a side, and the result would be {width} x {height}; use .png or .tif"
        )
    if kind == "BMP" and width * height * 4 >= 2**32:
        raise SRGANError(f"BMP holds 4 GiB, and the result would be {width} x {height}; use .png or .tif")
    return kind
