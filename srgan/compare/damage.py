"""What low resolutions suffer before they are enlarged and measured: blur, noise and JPEG, as pictures have them."""

import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from srgan.errors import UsageError
from srgan.pictures.arrays import through_jpeg, to_uint8


@dataclass(frozen=True)
class Damage:
    """Blur, then noise, then JPEG, done to a low resolution; the defaults leave it as it is.

    Args:
        blur: the deviation of a Gaussian (Pillow's GaussianBlur), pixels of the low resolution; 0: none.
        noise: the deviation of Gaussian noise, levels of 255, drawn for each channel from the picture itself, so that
            the same picture gets the same noise; 0: none.
        jpeg: libjpeg's quality, 1 to 100, with 4:2:0; None: no JPEG.

    Raises:
        UsageError: a value is out of its range.
    """

    blur: float = 0.0
    noise: float = 0.0
    jpeg: int | None = None

    def __post_init__(self):
        for name, least, most in (("blur", 0, 20), ("noise", 0, 255), ("jpeg", 1, 100)):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise UsageError(f"{name}: {value} is not between {least} and {most}")

    def __bool__(self):
        return self != Damage()

    def __call__(self, low: np.ndarray) -> np.ndarray:
        """uint8 (h, w, 3) to the same, damaged."""
        seed = zlib.crc32(low.tobytes())
        if self.blur:
            low = np.asarray(Image.fromarray(low).filter(ImageFilter.GaussianBlur(self.blur)))
        if self.noise:
            noise = np.random.default_rng(seed).normal(0, self.noise, low.shape)
            low = to_uint8((low + noise) / 255)
        return low if self.jpeg is None else through_jpeg(low, self.jpeg)

    def __str__(self):
        """What is done, in words that go on a sentence: ", then ..."; nothing where nothing is done."""
        blur = f", then blurred by a Gaussian of {self.blur:g} pixels (Pillow's)" if self.blur else ""
        noise = f", then with Gaussian noise of {self.noise:g} levels in each channel" if self.noise else ""
        jpeg = "" if self.jpeg is None else f", then as JPEG of quality {self.jpeg} (libjpeg's, 4:2:0)"
        return blur + noise + jpeg
