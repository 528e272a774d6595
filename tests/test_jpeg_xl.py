"""JPEG XL as other programs write it: samples of any number of bits, and profiles."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from upscaling import photograph

from srgan.errors import SRGANError
from srgan.pictures import read_picture
from srgan.pictures.profiles import ADOBE_RGB


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [1, 5, 8, 10, 12, 14, 16])
def test_samples_of_any_number_of_bits_reach_from_black_to_white(bits, channels):
    kind = np.uint8 if bits <= 8 else np.uint16
    values = np.random.default_rng(0).integers(0, 2**bits, (12, 17, channels)).astype(kind)
    data = imagecodecs.jpegxl_encode(values.squeeze(), bitspersample=bits, lossless=True)
    pixels = read_picture(data).pixels
    assert pixels.dtype == kind and pixels.shape == values.shape
    np.testing.assert_array_equal(pixels, np.rint(values * (np.iinfo(kind).max / (2**bits - 1))))


def test_a_profile_is_read_of_what_was_a_jpeg():
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Nikon", 6
    file = io.BytesIO()
    image = Image.fromarray(photograph(24, 40))
    image.save(file, "JPEG", quality=95, icc_profile=ADOBE_RGB, exif=exif, comment=b"mine")
    picture = read_picture(imagecodecs.jpegxl_encode_jpeg(file.getvalue()))
    as_jpeg = read_picture(file.getvalue())
    np.testing.assert_array_equal(picture.pixels, as_jpeg.pixels)
    assert picture.icc == ADOBE_RGB and picture.exif[0x010F] == "Nikon" and picture.text == as_jpeg.text
    with pytest.raises(SRGANError, match="raise --max-pixels"):
        read_picture(imagecodecs.jpegxl_encode_jpeg(file.getvalue()), max_pixels=100)


def test_any_other_profile_is_refused():
    # Small, 8 x 8; nothing as usual; no extra fields; 8 bits; no extra channels; not XYB; colours not as usual: a profile.
    numbers = [(1, 1), (0, 5), (1, 3), (0, 1), (0, 1), (0, 1), (0, 2), (1, 1), (0, 2), (0, 1), (0, 1), (1, 1), (0, 2)]
    place, header = 0, 0
    for value, bits in numbers:
        header |= value << place
        place += bits
    with pytest.raises(SRGANError, match="its colour profile is compressed with the pixels, .* convert it to PNG"):
        read_picture(b"\xff\n" + struct.pack("<Q", header))


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_other_channels_of_gray_are_refused(count):
    planes = np.random.default_rng(0).integers(0, 256, (count, 5, 3), np.uint8)
    data = imagecodecs.jpegxl_encode(planes, photometric="gray", planar=True, lossless=True)
    with pytest.raises(SRGANError, match="channels other than gray or RGB, and alpha, are not supported"):
        read_picture(data)


@pytest.mark.parametrize(
    ("channels", "codestream", "first_pixel", "note"),
    [
        ("RGB, depth", "ff0a41c0040a3c090810100070004b188b1500d48c31dedd451e60ef705ed9805c9089128107702e1600", (200, 100, 50), "1 of its 4"),
        ("RGB, alpha, depth, thermal", "ff0a4140a34081470248080001100080004b188b1500d48c316666461e60ef704c58832c108cb28784890016006c200000", (200, 100, 50, 128), "2 of its 6"),
        ("gray, alpha, optional", "ff0a4140211d80e246084000010054004b188b1500d4176330ee0e2022525101c018014000", (200, 128), "1 of its 3"),
        ("RGB, alpha, alpha", "ff0a4140610908400001007c004b188b1500d48c31dedd451e602f70f40120bb848ce2eb02792016702e0000", (200, 100, 50, 128), "1 of its 5"),
    ],
)  # fmt: skip
def test_other_channels_that_are_left_out_are_said(channels, codestream, first_pixel, note):
    picture = read_picture(bytes.fromhex(codestream))
    assert (picture.pixels == first_pixel).all()
    assert picture.note == f"{note} channels, neither colour nor alpha, are left out"


def test_spot_colours_and_black():
    head, body = "ff0a41c0", "90810100070004b188b1500d48c31dedd451e60ef705ed9805c9089128107702e1600"
    picture = read_picture(bytes.fromhex(f"{head}0800001e00000000001e0{body}"))
    assert (
        np.abs(picture.pixels - (227.0, 49, 24)).max() <= 1
        and picture.note == "its spot colours are laid over the others"
    )
    with pytest.raises(SRGANError, match="its colours are coded as CMYK, which is not supported; convert it to PNG"):
        read_picture(bytes.fromhex(f"{head}28000{body}"))
