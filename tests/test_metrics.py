"""The metrics against hand-computed values, scikit-image, plain numpy, and the figures of the literature."""

from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from skimage import data
from skimage.measure import blur_effect
from skimage.metrics import structural_similarity

import srgan
from srgan.metrics.pixels import blur, lattice, luma, psnr_rgb, psnr_y, ssim_rgb, ssim_y
from srgan.pictures import read_rgb
from srgan.pictures.arrays import crop_to_multiple, downscale, resize_bicubic


def flat(level, height=40, width=36):
    return np.full((height, width, 3), level, np.uint8)


@pytest.fixture(scope="module")
def pair():
    """A photograph and its enlarged low resolution, of odd proportions and more rows than one strip of the SSIM."""
    original = crop_to_multiple(data.astronaut()[:303, 30:243], 4)
    height, width = original.shape[:2]
    return original, resize_bicubic(downscale(original, 4), width, height)


def test_luma_spans_the_studio_range():
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    assert luma(colours) == pytest.approx([16, 235, 81.481, 144.553, 40.966])


@pytest.mark.parametrize("difference", [1, 2, 7])
def test_psnr_of_flat_pictures_by_hand(difference):
    one, other = flat(100), flat(100 + difference)
    assert psnr_rgb(one, other) == pytest.approx(20 * np.log10(255 / difference))
    assert psnr_y(one, other) == pytest.approx(20 * np.log10(255 / (difference * 219 / 255)))


def test_psnr_rgb_takes_the_channels_together():
    one, other = flat(100), flat(100)
    other[..., 2] = 103  # squared error 9 in a third of the values
    assert psnr_rgb(one, other) == pytest.approx(10 * np.log10(255**2 / 3))


def test_ssim_of_flat_pictures_by_hand():
    a, b, c1 = 100.0, 140.0, (0.01 * 255) ** 2
    assert ssim_rgb(flat(100), flat(140)) == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1))


@pytest.mark.parametrize("border", [0, 4])
def test_ssim_is_scikit_images_of_the_valid_region(pair, border):
    def of(one, other):
        inside = [v[border : v.shape[0] - border, border : v.shape[1] - border] for v in (one, other)]
        settings = {"data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        return structural_similarity(*inside, full=True, **settings)[1][5:-5, 5:-5].mean()

    assert ssim_y(*pair, border) == pytest.approx(of(*map(luma, pair)), abs=1e-9)
    channels = [of(*(picture[..., c].astype(float) for picture in pair)) for c in range(3)]
    assert ssim_rgb(*pair, border) == pytest.approx(np.mean(channels), abs=1e-9)


@pytest.mark.parametrize("measure", [psnr_y, psnr_rgb, ssim_y, ssim_rgb])
class TestEveryMeasure:
    def test_of_equal_pictures(self, measure, pair):
        assert measure(pair[0], pair[0]) == (np.inf if "psnr" in measure.__name__ else pytest.approx(1, abs=1e-12))

    def test_leaves_the_border_out_and_nothing_more(self, measure):
        framed = flat(100)
        framed[:4], framed[-4:], framed[:, :4], framed[:, -4:] = 0, 0, 0, 0
        assert measure(flat(100), framed) == measure(flat(100), flat(100))
        framed[4, 4] = 0
        assert measure(flat(100), framed) < measure(flat(100), flat(100))
        assert measure(flat(100), framed, 5) == measure(flat(100), flat(100))

    def test_refuses_what_cannot_be_compared(self, measure):
        with pytest.raises(ValueError, match="differ in shape"):
            measure(flat(0), flat(0)[1:])
        with pytest.raises(ValueError, match="nothing inside a border of 4"):
            measure(flat(0, 8, 30), flat(0, 8, 30))


def test_ssim_is_not_defined_where_the_window_does_not_fit():
    assert np.isnan(ssim_y(flat(0, 18, 40), flat(0, 18, 40)))
    assert ssim_y(flat(0, 19, 40), flat(0, 19, 40)) == pytest.approx(1)


def test_a_lattice_is_seen_wherever_it_is_and_nothing_else_is_taken_for_one(pair):
    original, enlarged = pair
    block = np.random.default_rng(0).normal(size=(4, 4, 1))
    pattern = np.tile(block - block.mean(), (75, 53, 1))
    height, width = np.indices(pattern.shape[:2])

    def with_it(pattern):
        return np.clip(np.rint(enlarged + pattern), 0, 255).astype(np.uint8)

    assert lattice(original, original) == 0 and lattice(original, enlarged) < 1
    assert lattice(original, with_it(0 * pattern + [4, -2, 3])) < 1
    noise = np.random.default_rng(1).normal(0, 4, pattern.shape)
    assert lattice(original, with_it(noise)) < 1
    stripes = 4 * np.sin(2 * np.pi * width / 5.3)[..., None]
    assert lattice(original, with_it(stripes)) < 1
    everywhere = lattice(original, with_it(4 * pattern))
    another_below = lattice(original, with_it(4 * pattern * np.where(height < 150, 1, -1)[..., None]))
    below = lattice(original, with_it(4 * pattern * (height >= 150)[..., None]))
    assert everywhere > another_below > 0.7 * everywhere > below > 0.3 * everywhere > 3
    checkerboard = 4 * (-1.0) ** (height + width)[..., None]
    assert lattice(original, with_it(checkerboard), 2) > 3
    grainy = with_it(noise)
    assert lattice(grainy, enlarged) < 1  # its noise taken out
    assert lattice(grainy, np.clip(np.rint(grainy + 4 * pattern), 0, 255).astype(np.uint8)) > 3
    assert np.isnan(lattice(flat(7, 63, 80), flat(7, 63, 80)))
    assert np.isnan(lattice(original, enlarged, 1))
    with pytest.raises(ValueError, match="differ in shape"):
        lattice(original, enlarged[4:])
    assert lattice(flat(7, 64, 80), flat(9, 64, 80)) == 0


def test_blur_is_scikit_images(pair):
    for picture in pair:
        assert blur(picture) == pytest.approx(blur_effect(luma(picture)), abs=1e-9)
    assert blur(pair[0]) < blur(pair[1])
    assert np.isnan(blur(flat(7)))


@pytest.fixture(scope="module")
def lpips():
    from srgan.metrics.lpips import lpips

    return lpips


class TestLPIPS:
    def test_is_what_numpy_computes(self, lpips, pair):
        small = [picture[100:179, 60:131] for picture in pair]
        assert lpips(*small) == pytest.approx(lpips_by_numpy(*small), rel=1e-4)

    def test_of_equal_pictures_is_0_and_grows_with_the_difference(self, lpips, pair):
        original, bicubic = pair
        half = ((original.astype(int) + bicubic) // 2).astype(np.uint8)
        assert lpips(original, original) == pytest.approx(0, abs=1e-9)
        assert 1e-3 < lpips(original, half) < lpips(original, bicubic) < 1

    def test_of_small_and_unequal_pictures(self, lpips):
        assert np.isnan(lpips(flat(0, 30, 60), flat(9, 30, 60)))
        assert lpips(flat(0, 31, 60), flat(0, 31, 60)) == pytest.approx(0, abs=1e-6)
        with pytest.raises(ValueError, match="differ in shape"):
            lpips(flat(0), flat(0)[1:])


def lpips_by_numpy(reference, picture):
    """LPIPS from its definition, with the packaged weights and no framework."""
    weights = np.load(Path(srgan.__file__).parent / "weights" / "lpips-alex.npz")

    def pooled(x):
        return sliding_window_view(x, (3, 3), (0, 1))[::2, ::2].max((-2, -1))

    def features(pixels):
        x = (pixels / 127.5 - 1 - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
        for index, padding in enumerate((2, 2, 1, 1, 1), 1):
            kernel = weights[f"conv{index}/kernel"].astype(float)
            x = np.pad(pooled(x) if index in (2, 3) else x, ((padding, padding), (padding, padding), (0, 0)))
            windows = sliding_window_view(x, kernel.shape[:2], (0, 1))
            windows = windows[::4, ::4] if index == 1 else windows
            x = np.einsum("hwcij,ijco->hwo", windows, kernel, optimize=True)
            x = np.maximum(x + weights[f"conv{index}/bias"].astype(float), 0)
            yield x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-10)

    layers = zip(features(reference), features(picture), strict=True)
    return sum(((x - y) ** 2 @ weights[f"lin{i}"].astype(float)).mean() for i, (x, y) in enumerate(layers, 1))


@pytest.mark.parametrize(
    ("name", "psnr", "ssim", "distance"), [("Set5", 28.43, 0.8111, 0.340), ("Set14", 26.09, 0.7048, 0.439)]
)
def test_bicubic_has_the_literatures_figures(shared, lpips, name, psnr, ssim, distance):
    folder = shared / "data" / "benchmarks" / name
    measured, from_matlab, differences = [], [], []
    for path in sorted((folder / "HR").iterdir()):
        original = crop_to_multiple(read_rgb(path), 4)
        low, matlab = downscale(original, 4), read_rgb(folder / "LRx4_matlab" / path.name)
        height, width = original.shape[:2]
        bicubic, other = (resize_bicubic(picture, width, height) for picture in (low, matlab))
        measured.append([measure(original, bicubic) for measure in (psnr_y, ssim_y, lpips)])
        from_matlab.append(psnr_y(original, other))
        differences.append(np.abs(low.astype(float) - matlab).mean())
    means = [float(value) for value in np.mean(measured, axis=0)]
    assert [round(value, digits) for value, digits in zip(means, (2, 4, 3), strict=True)] == [psnr, ssim, distance]
    assert np.mean(differences) < 0.2
    assert np.mean(from_matlab) == pytest.approx(means[0], abs=0.01)
