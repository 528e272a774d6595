"""Colour profiles: what they say of a picture, and conversions to sRGB."""

import contextlib
import io
import struct
from functools import cache

import numpy as np
from PIL import Image

from srgan.pictures.libvips import as_image, pixels_of


def convert_to_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """A Pillow picture in the colours of the profile `icc` as RGB in sRGB.

    Raises:
        Exception: of any kind, if the profile is damaged or does not fit the picture.
    """
    from PIL import ImageCms

    return ImageCms.profileToProfile(  # type: ignore[return-value]  # None with inPlace only
        image, ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )


def profile_to_srgb(colour: np.ndarray, icc: bytes) -> np.ndarray:
    """Gray or RGB, (h, w, 1 or 3) of uint8 or uint16, in the colours of a profile as RGB (h, w, 3) of the same type.

    Raises:
        ValueError: the profile is damaged.
    """
    import pyvips

    if colour.shape[2] == 1 and (as_rgb := gray_as_rgb_profile(icc)):  # of gray, lcms would interpolate what is dark
        colour, icc = np.repeat(colour, 3, axis=2), as_rgb
    try:
        result = _transformed(as_image(colour, icc), "relative")
    except pyvips.Error as error:
        raise ValueError("its colour profile is damaged") from error
    return np.repeat(result, 3, axis=2) if result.shape[2] == 1 else result


def cmyk_to_rgb(ink: np.ndarray, icc: bytes | None) -> tuple[np.ndarray, bytes | None]:
    """CMYK, (h, w, 4) of uint8 or uint16, by its profile to sRGB; (h, w, 3) of the same type, and the profile if it was of no use."""
    import pyvips
    from PIL import ImageCms

    if icc is not None and icc[16:20] == b"CMYK":
        with contextlib.suppress(OSError, pyvips.Error):
            ImageCms.ImageCmsProfile(io.BytesIO(icc))  # libvips would take one of its own in place of a damaged one
            return _transformed(as_image(ink, icc, "cmyk"), "perceptual"), None
    return _plain_cmyk(ink), icc


def _transformed(image, intent):
    depth = {"uchar": 8, "ushort": 16}[image.format]
    return pixels_of(image.icc_transform("srgb", embedded=True, intent=intent, depth=depth))


def _plain_cmyk(ink: np.ndarray) -> np.ndarray:
    """CMYK without a profile, as Pillow converts it: each ink subtracts from what black leaves of white."""
    white = np.iinfo(ink.dtype).max
    light = white - ink[..., 3:4].astype(np.uint64)
    return (light - (ink[..., :3] * light + white // 2) // white).astype(ink.dtype)


def srgb_to_linear(colour: np.ndarray) -> np.ndarray:
    """uint16 of sRGB's curve as uint16 in proportion to light."""
    levels = np.arange(65536) / 65535
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return np.rint(linear * 65535).astype(np.uint16)[colour]


def lab_to_srgb(lab: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of the white point D50, (h, w, 3) of floats, as uint16 sRGB."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2) * (0.96422, 1.0, 0.82521)
    linear = np.clip(xyz @ _SRGB_FROM_D50.T, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(curved * 65535).astype(np.uint16)


# From XYZ relative to D50 to linear sRGB, adapted by Bradford's matrix.
_SRGB_FROM_D50 = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
)


# Profiles made from numbers (ICC.1:2022, version 4). ----------------------------------------------------------------

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50, _D65, _DCI, _C, _E = (0.9642, 1.0, 0.8249), (0.3127, 0.3290), (0.314, 0.351), (0.310, 0.316), (1 / 3, 1 / 3)
_SRGB_CURVE = (3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # the function's number and its parameters

# ITU-T H.273: red, green, blue and white by the number of the primaries, curves by that of the transfer.
_PRIMARIES = {
    1: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65),
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    10: ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), _E),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _DCI),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
# Pictures that say the curve of television cameras (1, 6, 14, 15) are shown with sRGB's everywhere.
_TRANSFERS = dict.fromkeys((1, 2, 6, 13, 14, 15), _SRGB_CURVE) | {4: (0, 2.2), 5: (0, 2.8), 8: (0, 1.0)}
_HDR = {16: "PQ", 18: "HLG"}
_UNSPECIFIED = 2


def colours_of(chunks: dict[bytes, bytes]) -> bytes | None:
    """The profile that PNG's chunks stand for; None: sRGB. The first of cICP, sRGB, gAMA with cHRM decides.

    Raises:
        ValueError: the colours are those of a high dynamic range, or of a kind that is not supported.
    """
    if len(content := chunks.get(b"cICP", b"")) == 4:
        primaries, transfer, matrix, is_full = content
        if transfer in _HDR:
            raise ValueError(
                f"it has a high dynamic range ({_HDR[transfer]}), which is not supported; convert it to sRGB first"
            )
        primaries = 1 if primaries == _UNSPECIFIED else primaries
        if primaries not in _PRIMARIES or transfer not in _TRANSFERS or not is_full:
            numbers = f"{primaries}/{transfer}/{matrix}/{is_full}"
            raise ValueError(f"its colours are coded as {numbers} of ITU-T H.273, which is not supported")
        curve = _TRANSFERS[transfer]
        return None if primaries == 1 and curve == _SRGB_CURVE else rgb_profile(*_PRIMARIES[primaries], curve)
    if b"sRGB" in chunks:
        return None
    gamma = struct.unpack(">I", chunks[b"gAMA"])[0] / 100000 if len(chunks.get(b"gAMA", b"")) == 4 else 0
    gamma = gamma if 0.1 <= gamma <= 10 else 0  # beyond, it is damaged
    points = _PRIMARIES[1]
    if len(chunks.get(b"cHRM", b"")) == 32:
        white, *rgb = np.array(struct.unpack(">8I", chunks[b"cHRM"])).reshape(4, 2) / 100000
        points = *map(tuple, rgb), tuple(white)  # type: ignore[assignment]
    is_srgb = np.abs(np.subtract(points, _PRIMARIES[1])).max() < 0.002
    curve = (0, 1 / gamma) if gamma and not 0.44 < gamma < 0.47 else _SRGB_CURVE  # 1/2.2 stands for sRGB's own curve
    if is_srgb and curve == _SRGB_CURVE:
        return None
    try:
        return rgb_profile(*points, curve)
    except (ValueError, struct.error):  # such primaries are damaged
        return None


@cache
def rgb_profile(red, green, blue, white, curve: tuple) -> bytes:
    """A profile for RGB.

    Args:
        red, green, blue, white: their chromaticities x and y.
        curve: the number and the parameters of a parametric curve, as `parametricCurveType` has them.

    Raises:
        ValueError: there are no such colours.
    """
    points = np.array([[x / y, 1, (1 - x - y) / y] if y else [1, 0, 0] for x, y in (red, green, blue)]).T
    if red == (1.0, 0.0):  # XYZ
        points = np.eye(3)
    target = np.array([white[0] / white[1], 1, (1 - white[0] - white[1]) / white[1]])
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / (_BRADFORD @ target)) @ _BRADFORD
    try:
        matrix = adaptation @ (points * np.linalg.solve(points, target))
    except np.linalg.LinAlgError as error:
        raise ValueError("its primaries are no colours") from error
    tags = {key: _xyz(column) for key, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T)}
    parametric = b"para\0\0\0\0" + struct.pack(">HH", curve[0], 0) + _fixed(curve[1:])
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), parametric)
    return _profile(b"RGB ", tags | {b"chad": b"sf32\0\0\0\0" + _fixed(adaptation.ravel())})


def gray_profile(rgb: bytes) -> bytes | None:
    """The gray axis of a profile for RGB; None if its three curves differ or it works by tables."""
    tags = _tags(rgb)
    curves = {tags.get(tag) for tag in (b"rTRC", b"gTRC", b"bTRC")}
    if b"A2B0" in tags or len(curves) != 1 or not (curve := curves.pop()):
        return None
    return _profile(b"GRAY", {b"kTRC": curve})


def gray_as_rgb_profile(gray: bytes) -> bytes | None:
    """A profile for RGB whose gray axis is a profile for gray; None if that works by tables."""
    curve = _tags(gray).get(b"kTRC")
    if not curve:
        return None
    rgb = _tags(rgb_profile(*_PRIMARIES[1], _SRGB_CURVE))
    return _profile(b"RGB ", rgb | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def _tags(icc):
    tags = {}
    for index in range(struct.unpack(">I", icc[128:132])[0]):
        tag, start, length = struct.unpack(">4sII", icc[132 + 12 * index : 144 + 12 * index])
        tags[tag] = icc[start : start + length]
    return tags


def _profile(space, tags):
    """A display profile of version 4, named by no one, with these tags and those that are always needed."""
    name = "srgan".encode("utf-16-be")
    text = b"mluc" + struct.pack(">III4sII", 0, 1, 12, b"enUS", len(name), 28) + name
    tags = {b"desc": text, b"cprt": text, b"wtpt": _xyz(_D50)} | tags
    table, body, places = struct.pack(">I", len(tags)), b"", {}
    start = 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        if content not in places:
            places[content] = start + len(body)
            body += content + b"\0" * (-len(content) % 4)
        table += struct.pack(">4sII", tag, places[content], len(content))
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"\0" * 4, 0x04300000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + b"\0" * 28 + _fixed(_D50)
    return head.ljust(128, b"\0") + table + body


def _xyz(values):
    return b"XYZ \0\0\0\0" + _fixed(values)


def _fixed(values):
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)


ADOBE_RGB = rgb_profile((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), _D65, (0, 563 / 256))
