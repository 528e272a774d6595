import keras
import numpy as np
import pytest
from helpers import SAMPLE

from srgan.clips.flow import move_memory, origin, places
from srgan.errors import SRGANError
from srgan.metrics.pixels import psnr_y
from srgan.models import find_model
from srgan.networks.files import load_generator, save_generator, scale_of
from srgan.networks.generators import srresnet
from srgan.networks.layers import PixelShuffle, PixelUnshuffle
from srgan.networks.over_time import FUSIONS, frames_of, is_recurrent, over_frames, start_from_picture, video_srresnet
from srgan.networks.recurrent import DownscaleResidual, EnlargingInitializer, MoveAlong
from srgan.pictures import read_rgb
from srgan.pictures.arrays import downscale, resize_bicubic, to_float, to_uint8
from srgan.train.objective import SRGAN

SMALL = {"filters": 4, "blocks": 4}
PHOTO = read_rgb(SAMPLE / "val" / "raccoon.jpg")[100:500, 200:700]


@pytest.fixture(scope="module")
def picture_generator():
    keras.utils.set_random_seed(0)
    generator = srresnet(**SMALL, normalization="none", skip="bilinear")
    for variable in generator.variables:  # biases and slopes that are not what they start with
        variable.assign_add(0.05 * np.random.default_rng(1).normal(size=variable.shape).astype("float32"))
    return generator


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(2).random((2, 5, 10, 12, 3)).astype("float32")


def upscaled(generator, clips):
    count, frames, height, width, _ = clips.shape
    still = np.broadcast_to(places(4 * height, 4 * width), (count, frames - 1, 4 * height, 4 * width, 2))
    given = [clips, still] if is_recurrent(generator) else clips
    return keras.ops.convert_to_numpy(over_frames(generator, frames)(given))


@pytest.mark.parametrize("fusion", sorted({*FUSIONS} - {"recurrent"}))
def test_starts_as_the_generator_of_pictures(fusion, picture_generator, clips):
    generator = video_srresnet(fusion=fusion, frames=5, **SMALL)
    start_from_picture(generator, picture_generator, "pictures.keras")
    wanted = keras.ops.convert_to_numpy(picture_generator(clips[:, 2]))
    np.testing.assert_allclose(upscaled(generator, clips), wanted, atol=1e-6)


def test_a_recurrent_one_starts_better_than_the_generator_of_pictures():
    """On a pan over a photograph: what the frames before tell counts before anything is learnt."""
    path = find_model("srresnet")
    generator, pictures = video_srresnet(fusion="recurrent"), load_generator(path)
    start_from_picture(generator, pictures, path)
    hr = [PHOTO[60:220, 100 + 3 * index : 260 + 3 * index] for index in range(6)]
    lr = [downscale(np.ascontiguousarray(frame), 4) for frame in hr]
    memory, gains = np.zeros((40, 40, 48), np.float32), []
    for index, (low, high) in enumerate(zip(lr, hr)):
        if index:
            memory = move_memory(memory, lr[index - 1], low)
        given = to_float(low)[None]
        sr, memory = generator.predict_on_batch([given, memory[None]])
        memory = np.array(memory[0])
        alone = to_uint8(np.array(pictures.predict_on_batch(given)[0]))
        gains.append(psnr_y(high, to_uint8(np.array(sr[0]))) - psnr_y(high, alone))
    assert gains[0] > 0 and min(gains[2:]) > gains[0] + 0.05, gains


def test_in_training_motion_keeps_its_fractions_in_bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = SRGAN(over_frames(video_srresnet(fusion="recurrent", **SMALL), 2), pixel_weight=1.0, content_weight=0.0)
    finally:
        keras.config.set_dtype_policy("float32")
    lr = np.stack([PHOTO[40:80, 60:100], PHOTO[41:81, 61:101]])[None]
    origins = (places(160, 160) + np.float32(0.3))[None, None]
    given, wanted = model((lr, origins)), model.generator([lr.astype("float32") / 255, origins])
    np.testing.assert_allclose(np.array(given), np.array(wanted), atol=1e-5)
    coarse = np.array(keras.ops.cast(keras.ops.cast(origins, "bfloat16"), "float32"))
    assert np.abs(np.array(model((lr, coarse))) - np.array(wanted)).max() > 1e-3


@pytest.mark.parametrize(("height", "width"), [(3, 40), (3, 200), (40, 3), (4, 4), (3, 3), (1, 1)])
def test_motion_of_tiny_frames(height, width):
    """OpenCV's flow crashes on some of these."""
    random = np.random.default_rng(0)
    before, after = random.integers(0, 256, (2, height, width, 3), np.uint8)
    memory = random.random((height, width, 48)).astype("float32")
    assert move_memory(memory, before, after).shape == memory.shape


@pytest.mark.parametrize("scale", [2, 4])
def test_the_original_lacks_nothing(scale):
    """A back-projection is by the kernel that the low resolution is made with, at the borders, too."""
    hr = np.ascontiguousarray(PHOTO[:96, :128])
    unshuffled = PixelUnshuffle(scale)(to_float(hr)[None])
    lr = to_float(downscale(hr, scale))[None]
    assert np.abs(DownscaleResidual(scale)([unshuffled, lr])).max() <= 1 / 255  # the low resolution is rounded, twice
    shifted = to_float(downscale(np.roll(hr, 1, 1), scale))[None]
    assert np.abs(DownscaleResidual(scale)([unshuffled, shifted])).max() > 20 / 255


@pytest.mark.parametrize("scale", [2, 4])
def test_enlarging_kernels_start_as_bicubic_interpolation(scale):
    lr = np.ascontiguousarray(PHOTO[:24, :32])
    enlarge = keras.layers.Conv2D(
        3 * scale**2, 5, padding="same", use_bias=False, kernel_initializer=EnlargingInitializer(1.0)
    )  # fmt: skip
    given = to_uint8(np.array(PixelShuffle(scale)(enlarge(to_float(lr)[None]))[0])).astype(int)
    wanted, inner = resize_bicubic(lr, 32 * scale, 24 * scale), np.s_[2 * scale : -2 * scale, 2 * scale : -2 * scale]
    assert np.abs(given - wanted)[inner].max() <= 1


def test_in_training_a_memory_moves_as_in_upscaling():
    random = np.random.default_rng(0)
    before, after = PHOTO[40:64, 60:92], PHOTO[41:65, 62:94]
    memory = random.random((24, 32, 48)).astype("float32")
    picture = PixelShuffle(4)(memory[None])
    given = PixelUnshuffle(4)(MoveAlong()([picture, origin(before, after, 4)[None]]))
    np.testing.assert_allclose(np.array(given)[0], move_memory(memory, before, after), atol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_frame_that_it_may_see_counts(fusion, clips):
    generator = video_srresnet(fusion=fusion, frames=5, **SMALL)
    rng = np.random.default_rng(3)
    for variable in generator.variables:  # as after training
        variable.assign_add(0.05 * rng.normal(size=variable.shape).astype("float32"))
        if variable.path == "recall_blend/slope":
            variable.assign(0.0)  # these frames have nothing to do with each other, which it would notice
    before = upscaled(generator, clips)
    for index in range(5):
        changed = clips.copy()
        changed[:, index] = 1 - changed[:, index]
        difference = np.abs(upscaled(generator, changed) - before)
        if is_recurrent(generator):  # the past counts, the future does not
            assert difference[:, :index].max(initial=0) == 0
            assert all(difference[:, later].max() > 0 for later in range(index, 5))
        else:
            assert difference.max() > 0


@pytest.mark.parametrize("fusion", FUSIONS)
def test_is_the_same_when_saved_and_loaded(fusion, clips, tmp_path):
    generator = video_srresnet(fusion=fusion, frames=5, **SMALL)
    save_generator(generator, tmp_path / "generator.keras")
    loaded = load_generator(tmp_path / "generator.keras")
    np.testing.assert_array_equal(upscaled(loaded, clips), upscaled(generator, clips))
    assert frames_of(loaded) == (1 if fusion == "recurrent" else 5) and scale_of(loaded) == 4


def test_early_fusion_costs_no_more_than_pictures():
    picture, early = srresnet(normalization="none"), video_srresnet(fusion="early", frames=5)
    assert early.count_params() - picture.count_params() == 9 * 9 * 4 * 3 * 64


def test_a_generator_of_pictures_that_does_not_fit_is_refused(picture_generator):
    generator = video_srresnet(fusion="slow", frames=3, filters=4, blocks=3)
    with pytest.raises(SRGANError, match="p.keras: does not fit .*: it also has block4_conv1/kernel"):
        start_from_picture(generator, picture_generator, "p.keras")
    for other, said in (
        ({"skip": "none"}, "its skip_upsample is BilinearUpsampling, not there"),
        ({"activation": "leaky_relu"}, "head_act/alpha"),
    ):
        generator = video_srresnet(fusion="slow", frames=3, **SMALL, **other)
        with pytest.raises(SRGANError, match=f"p.keras: does not fit .*: .*{said}"):
            start_from_picture(generator, picture_generator, "p.keras")
    generator = video_srresnet(fusion="early", frames=3, filters=6, blocks=4)
    with pytest.raises(SRGANError, match=r"head_conv/kernel is \(9, 9, 9, 6\), the file has \(9, 9, 3, 4\)"):
        start_from_picture(generator, picture_generator, "p.keras")
