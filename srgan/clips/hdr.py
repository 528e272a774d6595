"""Static metadata of HDR10: the display that a clip was mastered on (SMPTE ST 2086) and its light levels (CTA-861.3).

Of Dolby Vision, whose metadata is not kept, whether the colours are right without it.
"""

import re
import struct
from fractions import Fraction
from typing import Any, NamedTuple

_SETTINGS: dict[str, tuple] = {  # of the encoders: their setting, its keys, and the units of places and of luminance
    "libx264": ("x264-params", "mastering-display", "cll", 50000, 10000),
    "libx265": ("x265-params", "master-display", "max-cll", 50000, 10000),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light"),
}


class HDR(NamedTuple):
    """What a clip says of its mastering display and its light, as far as it does; luminance is in cd/m²."""

    primaries: tuple[Fraction, ...] = ()  # x and y of red, green, blue and white (CIE 1931)
    luminance: tuple[Fraction, ...] = ()  # the display's smallest and largest
    light: tuple[int, ...] = ()  # the largest level of a pixel, and of a frame on average


def read_hdr(frame: Any) -> HDR:
    """The metadata of a decoded frame. FFmpeg's AVMasteringDisplayMetadata is ten fractions and two flags."""
    hdr = HDR()
    display, light = frame.side_data.get("MASTERING_DISPLAY_METADATA"), frame.side_data.get("CONTENT_LIGHT_LEVEL")
    if display is not None:
        *numbers, has_primaries, has_luminance = struct.unpack("22i", bytes(display)[:88])
        values = tuple(Fraction(*pair) if pair[1] else Fraction(0) for pair in zip(numbers[::2], numbers[1::2]))
        hdr = hdr._replace(primaries=values[:8] * bool(has_primaries), luminance=values[8:] * bool(has_luminance))
    if light is not None:
        hdr = hdr._replace(light=struct.unpack("2I", bytes(light)[:8]))
    return hdr


def needed_dolby_vision(frame: Any, description: str) -> int | None:
    """The profile of Dolby Vision where colours are wrong without its metadata, because they are IPT and not Y'CbCr; or None.

    Args:
        frame: decoded; its own metadata says so where the file does not.
        description: what FFmpeg prints about the file.
    """
    if record := re.search(r"DOVI configuration.*?profile: (\d+)(.*compatibility id: 0)?", description):
        profile = int(record[1])
        return profile if profile == 5 or profile == 10 and record[2] else None
    rpu = frame.side_data.get("DOVI_RPU_BUFFER")
    # Behind a byte, 6 bits of its type and 11 of its format are four of vdr_rpu_profile, 0 for IPT.
    return 5 if rpu is not None and not bytes(rpu)[3] >> 3 & 15 else None


def hdr_settings(hdr: HDR, codec: str) -> dict[str, str] | None:
    """The settings by which an encoder writes the metadata; None: it does not."""
    if not any(hdr):
        return {}
    if codec not in _SETTINGS:
        return None
    setting, display, light, *units = _SETTINGS[codec]
    parts = [f"{display}={_display(hdr, *units)}"] if hdr.primaries and hdr.luminance else []
    parts += [f"{light}={hdr.light[0]},{hdr.light[1]}"] if hdr.light else []
    return {setting: ":".join(parts)}


def _display(hdr, unit=0, light_unit=0):
    """G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min), as decimals or in whole parts of a unit."""
    places = [f"{round(value * unit)}" if unit else f"{float(value):.5f}" for value in hdr.primaries]
    light = [f"{round(value * light_unit)}" if light_unit else f"{float(value):.4f}" for value in hdr.luminance]
    red, green, blue, white = (f"({x},{y})" for x, y in zip(places[::2], places[1::2]))
    return f"G{green}B{blue}R{red}WP{white}L({light[1]},{light[0]})"
