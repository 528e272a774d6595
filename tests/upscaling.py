"""What the tests of upscaling share: small models whose every weight counts, and a real photograph."""

import io

import numpy as np
from PIL import Image, ImageCms
from skimage import data

from srgan.pictures.profiles import rgb_profile
from srgan.runtime import load_keras


def make_model(path, seed=0, network="srresnet", **settings):
    """Save a small generator. Random weights, statistics and slopes everywhere, so that a seam or a mistake would show,
    and every frame counts; with the setting `fusion` it is one over time.
    """
    load_keras()
    from srgan.networks.generators import GENERATORS
    from srgan.networks.over_time import video_srresnet

    make = video_srresnet if "fusion" in settings else GENERATORS[network]
    generator = make(**{"filters": 4, "blocks": 1} | settings)
    random = np.random.default_rng(seed)
    for variable in generator.variables:
        shape = variable.shape
        if variable.path.startswith("recall_enlarge"):
            variable.assign_add(random.normal(0, 0.01, shape))  # they start as what they are to be
        elif variable.path.startswith("recall_blend"):
            variable.assign(0.1)  # so that a memory is trusted where these weights make something else of every frame
        elif "kernel" in variable.path:
            # As in trained networks, where blocks add details.
            gain = 0.5 if "block" in variable.path else 0.1 if "recall" in variable.path else 1.0
            variable.assign(random.normal(0, gain * np.prod(shape[:-1]) ** -0.5, shape))
        elif "variance" in variable.path or "gamma" in variable.path:
            variable.assign(random.uniform(0.7, 1.3, shape))
        elif "alpha" in variable.path:
            variable.assign(random.uniform(0.1, 0.4, shape))
        else:
            variable.assign(random.normal(0, 0.05, shape))
    generator.save(path)
    return path


def photograph(height=96, width=128, top=40, left=160):
    """A part of a real photograph, uint8 (height, width, 3)."""
    return data.astronaut()[top : top + height, left : left + width]


def in_adobe_rgb(picture):
    """A photograph of muted colours in sRGB, the same in Adobe RGB, whose values differ, and the profile of that."""
    adobe = rgb_profile((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), (0.3127, 0.329), (0, 2.19921875))
    inside = Image.fromarray((np.asarray(picture.convert("RGB")) * 0.6 + 40).astype(np.uint8))  # what both can show
    wide = ImageCms.profileToProfile(
        inside, ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(adobe)), outputMode="RGB"
    )
    assert np.abs(np.asarray(wide).astype(int) - inside).max() > 8
    return inside, wide, adobe


def has_bfloat16():
    """Whether this machine's processor computes in bfloat16, so that OpenVINO does."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
