"""The realistic degradation: its filters, its noise, what comes out of it, and the batches and stores made with it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from helpers import SAMPLE
from PIL import Image

from srgan.pictures import read_rgb
from srgan.pictures.arrays import downscale, to_float, to_uint8
from srgan.train.data.degradation import (
    REALISTIC,
    Degradation,
    Round,
    _draw_kernel,
    _filter,
    blur_kernel,
    degrade,
    degraded,
    gaussian_noise,
    jpeg,
    photon_noise,
    resize_area,
    sinc_kernel,
)
from srgan.train.data.prepare import prepare

PICTURES = sorted((SAMPLE / "train").iterdir())
NOTHING = Round(
    blur=0, sigma=(1, 1), shrink=0, enlarge=0, noise=0, noise_level=(1, 1), jpeg=0, quality=(75, 75)
)  # a round that leaves everything as it is
STILL = Degradation(clean=0, first=NOTHING, second=NOTHING, last_sinc=0)  # and a degradation that only resizes


@pytest.fixture(scope="module")
def pictures():
    """Crops of 192 pixels from the middle of photographs."""
    found = []
    for name in ("val/chelsea", "val/raccoon", "val/hopper", "train/coffee", "train/astronaut", "train/brick-1"):
        pixels = read_rgb(SAMPLE / f"{name}.jpg")
        top, left = ((side - 192) // 2 for side in pixels.shape[:2])
        found.append(pixels[top : top + 192, left : left + 192])
    return found


def seeded(*seed):
    return np.random.default_rng(seed)


# -- filters


@pytest.mark.parametrize("side", [7, 13, 21])
@pytest.mark.parametrize("beta, plateau", [(1.0, False), (0.6, False), (3.0, False), (1.0, True), (2.0, True)])
def test_blur_kernels_sum_to_one_and_are_symmetric(side, beta, plateau):
    isotropic = blur_kernel(side, 1.4, 1.4, beta=beta, plateau=plateau)
    assert isotropic.shape == (side, side) and isotropic.sum() == pytest.approx(1, abs=1e-5)
    for turned in (np.rot90(isotropic), isotropic[::-1], isotropic.T):
        assert np.allclose(isotropic, turned, atol=1e-7)
    slanted = blur_kernel(side, 2.5, 0.7, 0.5, beta=beta, plateau=plateau)
    assert slanted.sum() == pytest.approx(1, abs=1e-5)
    assert np.allclose(slanted, slanted[::-1, ::-1], atol=1e-7)  # seen from both sides, but from no other
    assert not np.allclose(slanted, slanted[::-1], atol=1e-3) and not np.allclose(slanted, slanted.T, atol=1e-3)
    assert np.allclose(np.rot90(slanted, -1), blur_kernel(side, 2.5, 0.7, 0.5 + np.pi / 2, beta, plateau=plateau))
    assert slanted.min() >= 0 and slanted.argmax() == side * side // 2


def test_a_gaussian_has_the_standard_deviations_that_were_asked_for():
    kernel, x = blur_kernel(21, 2.5, 1.0), np.arange(-10, 11)
    assert np.sqrt((kernel.sum(0) * x**2).sum()) == pytest.approx(2.5, rel=0.01)  # along x
    assert np.sqrt((kernel.sum(1) * x**2).sum()) == pytest.approx(1.0, rel=0.01)
    peaked, gaussian, flat = (blur_kernel(21, 2, 2, beta=beta) for beta in (0.6, 1, 3))
    drops = [kernel[10, 11] / kernel[10, 10] for kernel in (peaked, gaussian, flat)]
    assert drops == sorted(drops) and drops[1] == pytest.approx(np.exp(-1 / 8), abs=1e-5)


@pytest.mark.parametrize("cutoff", [np.pi / 4, np.pi / 2])
def test_a_sinc_kernel_passes_what_is_below_its_cutoff_and_rings(cutoff):
    special = pytest.importorskip("scipy.special")
    kernel, radii = sinc_kernel(41, cutoff), np.hypot(*np.mgrid[-20:21, -20:21]) + 1e-9
    exact = cutoff * special.j1(cutoff * radii) / (2 * np.pi * radii)
    assert np.allclose(kernel, exact / exact.sum(), atol=1e-7)
    assert kernel.sum() == pytest.approx(1, abs=1e-5) and kernel.min() < 0
    for turned in (np.rot90(kernel), kernel[::-1], kernel.T):
        assert np.allclose(kernel, turned, atol=1e-8)
    response = np.abs(np.fft.fft2(kernel, (256, 256)))
    frequency = np.hypot(*np.meshgrid(*[2 * np.pi * np.fft.fftfreq(256)] * 2))
    passed, stopped = response[frequency < 0.7 * cutoff], response[frequency > 1.3 * cutoff]
    assert passed.min() > 0.7 and passed.max() < 1.3 and stopped.max() < 0.2  # the kernel is cut off: a soft edge


def test_each_kernel_that_is_drawn_can_shift_nothing():
    for draw in range(200):
        kernel = _draw_kernel(4 if draw % 2 else 1.3, (0.05, 0.6), replace(REALISTIC, sinc=0.3), seeded(draw))
        assert kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 and 7 <= kernel.shape[0] <= 21
        assert kernel.sum() == pytest.approx(1, abs=1e-5) and kernel.dtype == np.float32
        assert np.allclose(kernel, kernel[::-1, ::-1], atol=1e-7)


@pytest.mark.parametrize("shape", [(40, 33), (5, 9)])
def test_filtering_is_convolution_with_reflected_borders(shape):
    planes, kernel = seeded(0).random((3, *shape), dtype=np.float32), blur_kernel(9, 2.5, 0.8, 0.6)
    padded = np.pad(planes, ((0, 0), (4, 4), (4, 4)), "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9), axis=(1, 2))
    found = _filter(planes, kernel)
    assert found.dtype == np.float32
    assert np.allclose(found, (windows * kernel).sum((-2, -1)), atol=1e-5)


def test_area_is_the_average_of_what_is_covered(pictures):
    planes = to_float(pictures[0].transpose(2, 0, 1))
    box = np.asarray(Image.fromarray(pictures[0]).resize((48, 64), Image.Resampling.BOX))
    assert np.abs(resize_area(planes, 64, 48).transpose(1, 2, 0) * 255 - box).max() < 1.01
    smaller = resize_area(planes, 131, 77)
    assert smaller.shape == (3, 131, 77) and np.allclose(
        *(a.mean((1, 2), np.float64) for a in (smaller, planes)), atol=1e-5
    )
    ramp = np.broadcast_to(np.arange(90, dtype=np.float32), (3, 90, 90))
    # What is there stays there, which a box that counts whole pixels does not manage: it is wrong by 0.25.
    assert np.allclose(resize_area(ramp, 60, 60)[0, 0], (np.arange(60) + 0.5) * 1.5 - 0.5, atol=0.1)


# -- noise and JPEG


def test_noise_has_the_level_that_was_asked_for():
    planes = np.empty((3, 256, 256), np.float32)
    planes[:] = np.float32([0.04, 0.25, 1])[:, None, None]
    noise = gaussian_noise(planes, 6 / 255, seeded(0))
    assert noise.std((1, 2)) * 255 == pytest.approx([6, 6, 6], rel=0.03) and abs(noise.mean()) < 1e-3
    noise = photon_noise(planes, 6 / 255, seeded(0))
    assert noise.std((1, 2)) * 255 == pytest.approx([6 * 0.2, 6 * 0.5, 6], rel=0.03)  # by the square root
    assert noise.dtype == np.float32 and noise.mean((1, 2)) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("gray", [0, 1])
def test_noise_comes_in_gray_and_in_colour(gray):
    noisy = replace(NOTHING, noise=1, noise_level=(8, 8))
    ranges = replace(STILL, first=noisy, photon_noise=0, gray_noise=gray)
    noise = degrade(np.full((256, 256, 3), 128, np.uint8), 1, seeded(0), ranges).astype(float) - 128
    assert noise.std((0, 1)) == pytest.approx([8, 8, 8], rel=0.05)
    between = np.corrcoef(noise.reshape(-1, 3).T)[0, 1]
    assert between == pytest.approx(gray, abs=0.02)


@pytest.mark.parametrize("subsampled", [0, 1])
def test_the_last_jpeg_is_a_real_one(subsampled, pictures, tmp_path):
    ranges = replace(STILL, second=replace(NOTHING, jpeg=1, quality=(60, 60)), subsampled=subsampled)
    ranges = replace(ranges, last_jpeg_before_resize=0)
    lr = degrade(pictures[0], 4, seeded(3), ranges)
    options = {"quality": 60, "subsampling": 2 if subsampled else 0}
    differences = []
    for method in (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX):
        Image.fromarray(pictures[0]).resize((48, 48), method).save(tmp_path / "lr.jpg", **options)
        differences.append(np.abs(read_rgb(tmp_path / "lr.jpg").astype(int) - lr).mean())
    assert min(differences) < 0.5  # Pillow resizes uint8 to whole levels and float32 not
    planes = to_float(downscale(pictures[0], 4).transpose(2, 0, 1))
    assert np.abs(jpeg(planes, 95, False) - planes).mean() < np.abs(jpeg(planes, 60, False) - planes).mean() / 2


# -- the chain: one step on and all others off. At scale 1 nothing is resized, and STILL gives the picture back

FIXED = replace(  # what a step does when it is on
    STILL, kernel_sides=(13, 13), sinc=0, generalised=0, plateau=0, isotropic=1, cutoff=(0.5, 0.5), subsampled=0
)
BLUR, SINC = blur_kernel(13, 1.5, 1.5), sinc_kernel(13, np.pi / 2)
BLURRED, COMPRESSED = replace(NOTHING, blur=1, sigma=(1.5, 1.5)), replace(NOTHING, jpeg=1, quality=(30, 30))


def planes_of(picture):
    return to_float(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def picture_of(planes):
    return to_uint8(planes).transpose(1, 2, 0)


@pytest.mark.parametrize(
    "changes, step",
    [
        ({"first": BLURRED, "two_rounds": 0}, lambda planes: _filter(planes, BLUR)),
        ({"second": BLURRED, "two_rounds": 1}, lambda planes: _filter(planes, BLUR)),
        ({"first": COMPRESSED, "two_rounds": 0}, lambda planes: jpeg(planes, 30, False)),
        ({"second": COMPRESSED, "two_rounds": 0, "last_jpeg_before_resize": 0}, lambda planes: jpeg(planes, 30, False)),
        ({"second": COMPRESSED, "two_rounds": 0, "last_jpeg_before_resize": 1}, lambda planes: jpeg(planes, 30, False)),
        ({"last_sinc": 1, "two_rounds": 0}, lambda planes: _filter(planes, SINC)),
    ],
)
def test_a_step_alone_makes_what_it_should(changes, step, pictures):
    picture = pictures[0]
    assert np.array_equal(degrade(picture, 1, seeded(0), FIXED), picture)
    expected = picture_of(step(planes_of(picture)))
    assert np.array_equal(degrade(picture, 1, seeded(0), replace(FIXED, **changes)), expected)
    assert np.abs(expected.astype(float) - picture).mean() > 1


@pytest.mark.parametrize("before", [0, 1])
def test_the_steps_come_in_their_order(before, pictures):
    first, second = (
        replace(NOTHING, blur=1, sigma=(sigma, sigma), jpeg=1, quality=(quality, quality))
        for sigma, quality in ((1.5, 30), (0.8, 50))
    )
    ranges = replace(FIXED, first=first, second=second, two_rounds=1, last_sinc=1, last_jpeg_before_resize=before)
    planes = _filter(planes_of(pictures[0]), BLUR)
    planes = jpeg(planes, 30, False)
    planes = _filter(planes, blur_kernel(13, 0.8, 0.8))
    planes = _filter(jpeg(planes, 50, False), SINC) if before else jpeg(_filter(planes, SINC), 50, False)
    assert np.array_equal(degrade(pictures[0], 1, seeded(0), ranges), picture_of(planes))


def resized(planes, side):
    """By each of the three ways that may be drawn."""
    yield resize_area(planes, side, side)
    for method in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC):
        yield np.stack([np.asarray(Image.fromarray(plane).resize((side, side), method)) for plane in planes])


def nearest(lr, candidates):
    """The mean difference, in levels, from that of the candidates which is the most alike."""
    return min(np.abs(picture_of(planes).astype(float) - lr).mean() for planes in candidates)


@pytest.mark.parametrize("draw", range(3))
def test_a_jpeg_before_the_resize_is_not_one_after_it(draw, pictures):
    planes = planes_of(pictures[draw])
    early = list(resized(jpeg(planes, 30, False), 96))
    late = [jpeg(smaller, 30, False) for smaller in resized(planes, 96)]
    ranges = replace(FIXED, second=COMPRESSED)
    for before, right, wrong in ((1, early, late), (0, late, early)):
        lr = degrade(pictures[draw], 2, seeded(draw), replace(ranges, last_jpeg_before_resize=before))
        assert nearest(lr, right) < 0.01 and nearest(lr, wrong) > 1 and nearest(lr, resized(planes, 96)) > 1


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_blur_is_measured_in_low_resolution_pixels_and_comes_before_the_resize(name, pictures):
    ranges = replace(FIXED, two_rounds=1, **{name: replace(BLURRED, sigma=(0.75, 0.75))})
    planes = planes_of(pictures[0])
    lr = degrade(pictures[0], 2, seeded(0), ranges)
    assert nearest(lr, resized(_filter(planes, BLUR), 96)) < 0.01 and nearest(lr, resized(planes, 96)) > 1


@pytest.mark.parametrize("photon", [0, 1])
@pytest.mark.parametrize("name", ["first", "second"])
def test_each_round_has_its_noise(name, photon):
    flat = np.full((128, 128, 3), 64, np.uint8)
    noisy = replace(NOTHING, noise=1, noise_level=(8, 8))
    ranges = replace(FIXED, two_rounds=1, photon_noise=photon, gray_noise=0, **{name: noisy})
    level = 8 * (64 / 255) ** 0.5 if photon else 8
    assert degrade(flat, 1, seeded(0), ranges).std() == pytest.approx(level, rel=0.05)
    # After the blur, which would take it away, and before the JPEG, which does.
    blurred = replace(ranges, **{name: replace(noisy, blur=1, sigma=(1.5, 1.5))})
    assert degrade(flat, 1, seeded(0), blurred).std() == pytest.approx(level, rel=0.05)
    compressed = replace(ranges, **{name: replace(noisy, jpeg=1, quality=(10, 10))})
    assert degrade(flat, 1, seeded(0), compressed).std() < level / 2


@pytest.mark.parametrize("two_rounds, least, most", [(0, 0, 0), (0.5, 20, 40), (1, 60, 60)])
def test_a_second_round_is_as_frequent_as_was_asked_for(two_rounds, least, most):
    flat = np.full((16, 16, 3), 128, np.uint8)
    ranges = replace(FIXED, two_rounds=two_rounds, second=replace(NOTHING, noise=1, noise_level=(8, 8)))
    assert least <= sum(degrade(flat, 1, seeded(draw), ranges).std() > 4 for draw in range(60)) <= most


@pytest.mark.parametrize("name", ["first", "second"])
def test_each_round_shrinks_or_enlarges(name, pictures):
    def sharpness(picture):
        return np.abs(np.diff(picture.astype(float), axis=1)).mean()

    def after(**changes):  # relative to the picture's
        ranges = replace(FIXED, two_rounds=1, smallest=0.3, largest=1.5, **{name: replace(NOTHING, **changes)})
        lrs = [degrade(pictures[0], 1, seeded(draw), ranges) for draw in range(8)]
        return np.array([sharpness(lr) for lr in lrs]) / sharpness(pictures[0])

    shrunk, enlarged = after(shrink=1), after(enlarge=1)
    assert shrunk.min() < 0.5 and shrunk.max() < 0.9
    assert enlarged.min() > 0.6 and enlarged.max() < 0.9


# -- the whole


@pytest.mark.parametrize("scale", [2, 4])
def test_a_degradation_is_a_function_of_its_generator(scale, pictures):
    results = []
    for draw in range(20):
        hr = pictures[draw % len(pictures)]
        before = hr.copy()
        first = degrade(hr, scale, seeded(5, draw))
        np.random.seed(draw)  # no other randomness counts
        assert np.array_equal(first, degrade(hr, scale, seeded(5, draw)))
        assert np.array_equal(hr, before)
        results.append(first)
    assert not np.array_equal(results[0], degrade(pictures[0], scale, seeded(6, 0)))


@pytest.mark.parametrize("scale, height, width", [(4, 52, 92), (2, 26, 46), (4, 4, 8), (2, 2, 2), (4, 100, 36)])
def test_any_multiple_of_the_scale_does(scale, height, width, pictures):
    for draw in range(12):
        lr = degrade(pictures[0][:height, :width], scale, seeded(draw))
        assert lr.shape == (height // scale, width // scale, 3) and lr.dtype == np.uint8


def test_other_sides_are_refused(pictures):
    with pytest.raises(ValueError, match=r"\(50, 48, 3\): must be \(h, w, 3\), h and w multiples of 4"):
        degrade(pictures[0][:50, :48], 4, seeded(0))


def shift(picture, reference):
    """By how much `picture` lies to the lower right of `reference`, pixels (y, x): least squares over the gradients."""
    a, b = (pixels.astype(float).mean(2) for pixels in (picture, reference))
    gradients = np.stack([gradient[2:-2, 2:-2].ravel() for gradient in np.gradient((a + b) / 2)])
    return np.linalg.lstsq(gradients.T, -(a - b)[2:-2, 2:-2].ravel(), rcond=None)[0]


@pytest.mark.parametrize("scale", [2, 4])
def test_nothing_is_shifted(scale, pictures):
    shifts = []
    for index, hr in enumerate(pictures):
        reference = downscale(hr, scale)
        moved = downscale(np.roll(hr, 1, axis=1), scale)
        assert shift(moved, reference) == pytest.approx([0, 1 / scale], abs=0.5 / scale)  # it would be seen
        shifts += [shift(degrade(hr, scale, seeded(index, draw)), reference) for draw in range(12)]
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.015
    assert np.abs(shifts).max() < 0.08


def blockiness(lr):
    """Steps over the borders of 8 x 8 blocks, relative to those between the other columns and rows."""
    luma = lr.astype(float).mean(2)
    steps = [np.abs(np.diff(turned, axis=1)).mean(0) for turned in (luma, luma.T)]
    return np.mean([step[7::8].mean() / np.delete(step, np.s_[7::8]).mean() for step in steps])


def test_clean_pictures_and_poor_ones_are_part_of_the_mixture(pictures):
    errors, blocks, plain = [], [], [blockiness(downscale(hr, 4)) for hr in pictures]
    for draw in range(180):
        hr = pictures[draw % len(pictures)]
        lr, reference = degrade(hr, 4, seeded(1, draw)), downscale(hr, 4)
        errors.append(np.sqrt(np.mean((lr.astype(float) - reference) ** 2)))
        blocks.append(blockiness(lr) / plain[draw % len(pictures)])
    errors = np.array(errors)
    assert 0.04 < np.mean(errors == 0) < 0.18  # a tenth is bicubic and no more
    assert np.mean((errors > 0) & (errors < 5)) > 0.05 and np.mean(errors > 10) > 0.1
    assert 4 < np.median(errors) < 14 and errors.max() < 45  # decent pictures: none is ruined
    assert np.mean(np.array(blocks) > 1.15) > 0.1
    mean_colour = np.mean([degrade(hr, 4, seeded(2)).mean() - hr.mean() for hr in pictures])
    assert abs(mean_colour) < 1


# -- batches and stores


@pytest.fixture(scope="module", params=[2, 4])
def store(request, tmp_path_factory):
    return prepare(PICTURES[:6], tmp_path_factory.mktemp("stores"), size=128, scale=request.param)


def batches(store, **options):
    from srgan.train.data.batches import Batches

    defaults = {"size": 4, "crop": 48, "steps": 5, "seed": (0, 1), "degradation": "realistic"}
    return Batches(store, **{**defaults, **options})


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_either_degradation_cuts_the_same_crops(store):
    realistic, bicubic, alike = batches(store), batches(store, degradation="bicubic"), []
    for step in range(5):
        (degraded_lr, hr), (lr, same_hr) = realistic[step], bicubic[step]
        assert np.array_equal(hr, same_hr)
        assert degraded_lr.shape == lr.shape and degraded_lr.dtype == np.uint8
        assert not np.array_equal(degraded_lr, lr)
        alike += [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(degraded_lr, lr)]
    assert np.median(alike) > 0.9 and min(alike) > 0.5  # the same picture, at the same place, turned alike


@pytest.mark.parametrize("crop", [16, 48, 104, 128])
def test_a_window_is_cut_where_the_crop_is(store, crop, monkeypatch):
    import srgan.train.data.batches

    monkeypatch.setattr(srgan.train.data.batches, "degrade", lambda hr, scale, random: downscale(hr, scale))
    for step in range(5):
        (lr, hr), (own_lr, own_hr) = (
            batches(store, crop=crop, degradation=name)[step] for name in ("realistic", "bicubic")
        )
        assert np.array_equal(hr, own_hr)
        # Also at the borders. Pillow rounds between rows and columns, and begins with what is quicker for the shape.
        assert np.abs(lr.astype(int) - own_lr).max() <= 1


def test_jpeg_blocks_lie_as_in_the_whole_picture(store, monkeypatch):
    import srgan.train.data.batches

    def coarse(hr, scale, random):
        planes = to_float(hr[::scale, ::scale].transpose(2, 0, 1))
        return to_uint8(jpeg(planes, 10, False)).transpose(1, 2, 0)

    whole = {picture: coarse(store.hr[picture], store.scale, None) for picture in range(store.count)}
    plain = batches(store, augment=False, degradation="bicubic")
    monkeypatch.setattr(srgan.train.data.batches, "degrade", coarse)
    cut, half = batches(store, augment=False), 24 // store.scale
    for step in range(5):
        for lr, own in zip(cut[step][0], plain[step][0]):
            side = own.shape[0]
            windows = np.lib.stride_tricks.sliding_window_view(store.lr, (side, side), axis=(1, 2))
            picture, top, left = np.argwhere((windows == own.transpose(2, 0, 1)).all((3, 4, 5)))[0]
            # The last block of a window may be cut off.
            assert np.array_equal(lr[:half, :half], whole[picture][top : top + half, left : left + half])


def test_batches_are_a_function_of_seed_epoch_and_step(store):
    first, again = batches(store), batches(store)
    first.epoch = 3
    list(again)
    again.epoch = 3
    assert same(first[2], again[2])
    again.epoch = 4
    assert not np.array_equal(first[2][0], again[2][0])
    other = batches(store, seed=(1, 1))
    other.epoch = 3
    assert not np.array_equal(first[2][0], other[2][0])


def test_threads_make_no_difference(store):
    alone = list(batches(store))
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(batches(store).__getitem__, range(5)))
    assert all(same(a, b) for a, b in zip(alone, together))


@pytest.mark.parametrize("store", [4], indirect=True)
def test_keras_workers_hand_on_the_same_batches_in_the_same_order(store, tiny):
    import keras

    from srgan.train.build import build_generator, build_model

    config = tiny(f"network.scale={store.scale}")
    fitted = []
    for workers in (0, 2):
        keras.utils.set_random_seed(0)
        model = build_model("pixel", config, build_generator(config))
        cut = batches(store, workers=workers)
        set_epoch = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs, cut=cut: setattr(cut, "epoch", epoch)
        )
        model.fit(cut, epochs=2, shuffle=False, verbose=0, callbacks=[set_epoch])
        fitted.append(np.concatenate([weights.ravel() for weights in model.generator.get_weights()]))
    assert np.abs(fitted[0] - fitted[1]).max() < 1e-6  # other crops would make over 1e-5


def test_an_unknown_degradation_is_refused(store):
    with pytest.raises(KeyError, match="realistik"):
        batches(store, degradation="realistik")


def test_a_degraded_store_is_the_store_with_other_low_resolutions(store):
    from srgan.pictures.arrays import resize_bicubic
    from srgan.train.validation import validation_psnr_y

    first, again, other = degraded(store, (7, 2)), degraded(store, (7, 2)), degraded(store, (8, 2))
    for name in ("names", "size", "scale", "count", "folder", "skipped"):
        assert getattr(first, name) == getattr(store, name)
    assert np.array_equal(first.hr, store.hr) and len(first.lr) == store.count
    last = again.lr[-1]  # whatever was asked for before makes no difference
    assert same(first.lr, again.lr) and np.array_equal(first.lr[store.count - 1], last)
    assert same(first.lr[:2], again.lr[:2]) and len(first.lr[:2]) == 2 and len(first.lr[2:100]) == store.count - 2
    assert first.lr[0].shape == store.lr[0].shape and first.lr[0].dtype == np.uint8
    assert not same(first.lr, other.lr) and not same(first.lr, store.lr)
    bicubic, poorer = (validation_psnr_y(s, lambda lr: resize_bicubic(lr, 128, 128)) for s in (store, first))
    assert poorer < bicubic
    with pytest.raises(IndexError):
        first.lr[store.count]
