import keras
import numpy as np
import pytest

from srgan.errors import SRGANError
from srgan.networks.generator import load_generator, save_generator, scale_of, srresnet
from srgan.networks.video import FUSIONS, frames_of, is_recurrent, over_frames, start_from_picture, video_srresnet

SMALL = {"filters": 4, "blocks": 4}


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
    return keras.ops.convert_to_numpy(over_frames(generator, clips.shape[1])(clips))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_starts_as_the_generator_of_pictures(fusion, picture_generator, clips):
    generator = video_srresnet(fusion=fusion, frames=5, **SMALL)
    start_from_picture(generator, picture_generator, "pictures.keras")
    result = upscaled(generator, clips)
    for index in range(5) if is_recurrent(generator) else [2]:
        wanted = keras.ops.convert_to_numpy(picture_generator(clips[:, index]))
        given = result[:, index] if is_recurrent(generator) else result
        np.testing.assert_allclose(given, wanted, atol=1e-6)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_frame_that_it_may_see_counts(fusion, clips):
    generator = video_srresnet(fusion=fusion, frames=5, **SMALL)
    rng = np.random.default_rng(3)
    for variable in generator.variables:  # as after training
        variable.assign_add(0.05 * rng.normal(size=variable.shape).astype("float32"))
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
        ({"skip": "none"}, "its skip_upsample is UpSampling2D, not there"),
        ({"activation": "leaky_relu"}, "head_act/alpha"),
    ):
        generator = video_srresnet(fusion="slow", frames=3, **SMALL, **other)
        with pytest.raises(SRGANError, match=f"p.keras: does not fit .*: .*{said}"):
            start_from_picture(generator, picture_generator, "p.keras")
    generator = video_srresnet(fusion="early", frames=3, filters=6, blocks=4)
    with pytest.raises(SRGANError, match=r"head_conv/kernel is \(9, 9, 9, 6\), the file has \(9, 9, 3, 4\)"):
        start_from_picture(generator, picture_generator, "p.keras")
