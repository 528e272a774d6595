"""The Upscaler: tiles without seams, every kind of array, alpha, memory, numbers that are none, threads."""

import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from upscaling import make_model, photograph

import srgan
from srgan.errors import SRGANError, UsageError
from srgan.memory import free_memory
from srgan.upscale.engines.description import Description
from srgan.upscale.engines.openvino_engine import OpenVINOEngine
from srgan.upscale.tiles import OVERLAP, SMALLEST_TILE, affordable_tile, tiles
from srgan.upscale.upscaler import Upscaler


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "generator.keras", skip="bilinear")


@pytest.fixture(scope="module")
def upscaler(model):
    return Upscaler(model)


class Nearest:
    """An engine that repeats pixels, with what a test wants to go wrong."""

    name, device, description = "Nearest", "CPU", Description(4, 0, 1)
    bytes_per_pixel, largest_tile, weights = 1000, 384, {Path("nearest.keras"): 1.0}

    def __init__(self, precision="bfloat16", most_pixels=10**9, wrong=()):
        self.precision, self.most_pixels, self.wrong, self.sizes = precision, most_pixels, wrong, []

    def with_precision(self, precision):
        return Nearest(precision, self.most_pixels, self.wrong)

    def __call__(self, lr):
        height, width = lr.shape[1:3]
        if height * width > self.most_pixels:
            raise MemoryError("std::bad_alloc")
        self.sizes.append((height, width))
        sr = lr.repeat(4, axis=1).repeat(4, axis=2)
        if self.precision in self.wrong:
            sr[0, 1, 1, 1] = np.nan
        return sr


@pytest.fixture
def nearest(monkeypatch):
    """A function that makes an Upscaler with a `Nearest` engine."""

    def make(tile=None, scale=None, **settings):
        engine = Nearest(**settings)
        monkeypatch.setattr("srgan.upscale.upscaler.load_engine", lambda *args, **kwargs: engine)
        return Upscaler("nearest", tile=tile, scale=scale)

    return make


# Tiles.


@settings(deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(SMALLEST_TILE, 300), st.integers(0, 20))
def test_tiles_cover_a_picture_once_and_see_far_enough(width, height, tile, overlap):
    covered = np.zeros((height, width), np.uint8)
    sizes = set()
    for window, core in tiles(width, height, tile, overlap):
        assert window.width <= tile and window.height <= tile
        sizes.add((window.width, window.height))
        covered[core.slices()] += 1
        assert 0 <= window.left <= core.left < core.right <= window.right <= width
        assert 0 <= window.top <= core.top < core.bottom <= window.bottom <= height
        assert core.left - window.left >= overlap or window.left == core.left == 0
        assert core.top - window.top >= overlap or window.top == core.top == 0
        assert window.right - core.right >= overlap or window.right == core.right == width
        assert window.bottom - core.bottom >= overlap or window.bottom == core.bottom == height
    assert (covered == 1).all()
    assert len(sizes) == 1  # backends compile for each size


@settings(deadline=None)
@given(st.integers(1, 6000), st.integers(1, 6000))
def test_the_overlap_costs_a_quarter_at_most(width, height):
    """And another 1.5 % where rows of a quick length are a little longer than they need to be."""
    windows = [window for window, _ in tiles(width, height, OpenVINOEngine.largest_tile, OVERLAP)]
    if width > OpenVINOEngine.largest_tile:
        assert {window.width % 8 for window in windows} == {0}  # the quick ones
    assert sum(window.width * window.height for window in windows) < 1.266 * width * height


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("picture", ["chelsea", "coffee", "rocket"])
def test_tiles_leave_no_seams(picture, precision, model):
    pixels = getattr(data, picture)()[:200, 100:330]
    whole = Upscaler(model, precision=precision, tile=1024)(pixels)
    tiled = Upscaler(model, precision=precision, tile=96)
    assert np.abs(tiled(pixels).astype(int) - whole).max() <= 1
    tiled.overlap = 0
    assert np.abs(tiled(pixels).astype(int) - whole).max() > 8  # or this test would see nothing


def test_the_papers_depth_leaves_no_seams(tmp_path):
    path = make_model(tmp_path / "deep.keras", blocks=16, filters=8)
    pixels = photograph(150, 150)
    whole = Upscaler(path, precision="float32", tile=256)(pixels)
    assert np.abs(Upscaler(path, precision="float32", tile=96)(pixels).astype(int) - whole).max() <= 1


def test_a_model_that_tiles_change_takes_the_whole_picture_or_says_so(tmp_path, caplog, monkeypatch):
    path = make_model(tmp_path / "instance.keras", normalization="instance")
    monkeypatch.setattr(OpenVINOEngine, "largest_tile", 64)
    pixels, whole = photograph(60, 150), []
    with caplog.at_level(logging.WARNING, "srgan"):
        Upscaler(path)(pixels, on_tile=lambda done, total: whole.append(total))
        assert whole == [1, 1] and not caplog.text
    upscaler = Upscaler(path, tile=96)
    with caplog.at_level(logging.WARNING, "srgan"):
        upscaler(photograph(90, 90))
        assert not caplog.text
        upscaler(photograph(90, 120))
    assert "looks at the whole picture at once" in caplog.text


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 2), (37, 5000), (5000, 1), (2, 400)])
def test_odd_sizes(height, width, upscaler):
    row = np.resize(photograph(50, 100), (height, width, 3))
    result = upscaler(row)
    assert result.shape == (4 * height, 4 * width, 3) and result.std() > 0
    again = Upscaler.__call__(upscaler, row[:, ::-1])
    assert again.shape == result.shape


def test_the_tile_is_chosen_by_the_memory_that_is_free(monkeypatch):
    engine = Nearest()
    engine.bytes_per_pixel = 5000
    sides = []
    for free in (0, 100 << 20, 200 << 20, 64 << 30):
        monkeypatch.setattr("srgan.upscale.tiles.free_memory", lambda free=free: free)
        sides.append(affordable_tile(engine))
        assert sides[-1] == SMALLEST_TILE or sides[-1] ** 2 * engine.bytes_per_pixel <= free
    assert sides[0] == SMALLEST_TILE and sides[0] < sides[1] < sides[2] < sides[3] == engine.largest_tile
    assert affordable_tile(engine, overlap=96) == 576  # or most of what is computed would be overlap


def test_free_memory_knows_the_limit_of_the_process():
    resource = pytest.importorskip("resource")
    free = free_memory()
    assert 2**20 < free < 2**45
    limits = resource.getrlimit(resource.RLIMIT_AS)
    try:
        used = 4096 * int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, limits[1]))
        assert free_memory() <= 2**28
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize("version", [1, 2])
def test_free_memory_knows_the_control_groups(version, tmp_path, monkeypatch):
    """That of the process and all above it; files in memory that can go are free."""
    top = tmp_path / "groups" / ("memory" if version == 1 else "")
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    unlimited = str(2**63 - 4096) if version == 1 else "max"
    kept = "total_inactive_file" if version == 1 else "inactive_file"
    for folder, limit, used, files in [("", unlimited, 5000, 0), ("a", 900, 600, 100), ("a/b", 800, 100, 0)]:
        (top / folder).mkdir(parents=True, exist_ok=True)
        (top / folder / names[0]).write_text(f"{limit}\n")
        (top / folder / names[1]).write_text(f"{used}\n")
        (top / folder / "memory.stat").write_text(f"anon 7\n{kept} {files}\n")
    own = tmp_path / "own"
    own.write_text("3:cpuset:/\n4:memory:/a/b\n0::/\n" if version == 1 else "0::/a/b\n")
    monkeypatch.setattr("srgan.memory.OWN_GROUPS", own)
    monkeypatch.setattr("srgan.memory.CGROUPS", tmp_path / "groups")
    assert free_memory() == 400
    own.write_text(own.read_text().replace("/a/b", "/a/elsewhere"))  # in a container: the host's name
    assert free_memory() == 400


def test_out_of_memory_halves_the_tile_and_goes_on(nearest, caplog):
    pixels = photograph(200, 300)
    progress = []
    with caplog.at_level(logging.WARNING, "srgan"):
        upscaler = nearest(tile=256, most_pixels=100 * 100)
        result = upscaler(pixels, on_tile=lambda done, total: progress.append((done, total)))
    np.testing.assert_array_equal(result, pixels.repeat(4, axis=0).repeat(4, axis=1))
    assert "out of memory: going on with tiles of" in caplog.text
    assert progress[-1][0] == progress[-1][1] and [done for done, _ in progress] == sorted(done for done, _ in progress)
    caplog.clear()
    frames = upscaler.clip([pixels, pixels.copy()[::-1], pixels.copy()])
    assert len(list(frames)) == 3 and caplog.text.count("out of memory") == 1  # once halved, the clip keeps its size
    caplog.clear()
    upscaler(pixels)
    assert upscaler.tile == 256 and "out of memory" in caplog.text  # it is that picture's only


def test_out_of_memory_gives_what_smaller_tiles_give(model):
    pixels = photograph(130, 160)
    expected = Upscaler(model, precision="float32", tile=64)(pixels)
    upscaler = Upscaler(model, precision="float32", tile=160)

    class Cramped:
        def __getattr__(self, name):
            return getattr(upscaler_engine, name)

        def __call__(self, lr):
            if lr.shape[1] * lr.shape[2] > 80 * 80:
                raise MemoryError
            return upscaler_engine(lr)

    upscaler_engine, upscaler.engine = upscaler.engine, Cramped()
    assert np.abs(upscaler(pixels).astype(int) - expected).max() <= 1


def test_no_memory_at_all_is_an_error(nearest):
    with pytest.raises(SRGANError, match="not enough memory, even for the smallest tile"):
        nearest(most_pixels=100)(photograph(100, 100))


# Kinds of pictures.


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.float16])
@pytest.mark.parametrize("shape", [(), (1,), (2,), (3,), (4,)])
def test_arrays_come_back_as_they_were(dtype, shape, nearest):
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    array = (photograph(20, 30) / 255 * top).astype(dtype)
    array = array[..., 0] if shape == () else np.concatenate([array, array[..., :1]], axis=2)[..., : shape[0]]
    result = nearest()(array)
    assert result.dtype == dtype and result.shape == (80, 120, *shape)
    colours = {(): ..., (1,): ..., (2,): np.s_[..., :1], (3,): ..., (4,): np.s_[..., :3]}[shape]
    expected = array.repeat(4, axis=0).repeat(4, axis=1)[colours].astype(float)
    np.testing.assert_allclose(
        result[colours].astype(float), expected, atol=top * 1e-3 if np.dtype(dtype).kind == "f" else 0
    )


@pytest.mark.parametrize("bad", [np.zeros((4, 4, 5), np.uint8), np.zeros(7, np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(bad, upscaler):
    with pytest.raises(UsageError, match="a picture has the shape"):
        upscaler(bad)


def test_integers_without_a_range_are_refused(upscaler):
    with pytest.raises(UsageError, match="int64"):
        upscaler(np.zeros((4, 4, 3), np.int64))


def test_gray_is_the_mean_of_what_the_network_makes_of_it(upscaler):
    gray = photograph(30, 40)[..., 1]
    colour = upscaler(np.stack([gray] * 3, axis=-1).astype(np.float32) / 255)
    result, unclipped = upscaler(gray.astype(np.float32) / 255), ((colour > 0) & (colour < 1)).all(-1)
    assert unclipped.mean() > 0.5
    np.testing.assert_allclose(result[unclipped], colour.mean(-1)[unclipped], atol=1e-5)
    assert upscaler(gray).shape == (120, 160)


def test_16_bits_are_more_than_8_even_with_bfloat16(model):
    ramp = np.linspace(20000, 21000, 64 * 64).reshape(64, 64, 1).repeat(3, axis=2).astype(np.uint16)
    result = Upscaler(model, precision="bfloat16")(ramp)
    assert len(np.unique(result)) > 2000
    exact = Upscaler(model, precision="float32")(ramp.astype(np.float32) / 65535)
    assert np.abs(result - exact * 65535.0).max() < 1


def test_pillow_in_pillow_out(upscaler):
    picture = Image.fromarray(photograph(30, 40))
    result = upscaler(picture)
    assert isinstance(result, Image.Image) and result.mode == "RGB" and result.size == (160, 120)
    np.testing.assert_array_equal(np.asarray(result), upscaler(photograph(30, 40)))
    assert upscaler(picture.convert("L")).mode == "L"
    assert upscaler(picture.convert("RGBA")).mode == "RGBA"
    assert upscaler(picture.convert("P")).mode == "RGB"


def test_alpha_edges_do_not_bleed(upscaler):
    """A bright disk on transparent black: on a bright ground, no dark rim may show."""
    y, x = np.mgrid[:64, :64]
    inside = (x - 31.5) ** 2 + (y - 31.5) ** 2 < 24**2
    colour = np.where(inside[..., None], [230, 220, 210], 0).astype(np.uint8)
    sprite = np.dstack([colour, np.where(inside, 255, 0).astype(np.uint8)])
    result = upscaler(sprite)
    opaque = upscaler(np.full((64, 64, 3), [230, 220, 210], np.uint8))
    visible = result[..., 3] > 0
    difference = np.abs(result[..., :3].astype(int) - opaque)[visible]
    assert difference.max() <= 3
    assert visible.mean() == pytest.approx(inside.mean(), abs=0.03)
    naive = upscaler(colour)
    assert np.abs(naive.astype(int) - opaque)[visible].max() > 50  # the filling is what prevents it


def test_alpha_stays_exact_where_it_is_flat(upscaler):
    alpha = np.full((40, 40), 255, np.uint8)
    alpha[:, :20] = 0
    result = upscaler(np.dstack([photograph(40, 40), alpha]))
    assert (result[:, :70, 3] == 0).all() and (result[:, 90:, 3] == 255).all()


def test_a_picture_that_is_not_there_at_all(upscaler):
    result = upscaler(np.zeros((9, 9, 4), np.uint8))
    assert result.shape == (36, 36, 4) and (result[..., 3] == 0).all()


@pytest.mark.parametrize(
    ("scale", "size"), [(None, (160, 120)), (2, (80, 60)), (1, (40, 30)), (2.5, (100, 75)), (6, (240, 180))]
)
def test_other_scales_are_resized(scale, size, nearest):
    pixels = photograph(30, 40)
    result = nearest(scale=scale)(pixels)
    assert result.shape == (size[1], size[0], 3)
    expected = Image.fromarray(pixels.repeat(4, axis=0).repeat(4, axis=1)).resize(size, Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(result, np.asarray(expected))


def test_a_model_of_scale_2_makes_twice_the_size(tmp_path):
    path = make_model(tmp_path / "two.keras", scale=2)
    assert Upscaler(path)(photograph(20, 30)).shape == (40, 60, 3)
    assert Upscaler(path, scale=4)(photograph(20, 30)).shape == (80, 120, 3)


@pytest.mark.parametrize("wrong", [{"tile": 10}, {"scale": 0}, {"scale": -2}, {"scale": 100}])
def test_impossible_settings_are_refused(wrong, model):
    with pytest.raises(UsageError):
        Upscaler(model, **wrong)


# Numbers that are none.


def test_what_bfloat16_breaks_is_computed_again_in_float32(nearest, caplog):
    pixels = photograph(20, 30)
    with caplog.at_level(logging.WARNING, "srgan"):
        result = nearest(wrong=["bfloat16"])(pixels)
    np.testing.assert_array_equal(result, pixels.repeat(4, axis=0).repeat(4, axis=1))
    assert "computing again in float32" in caplog.text


def test_a_model_that_gives_no_numbers_is_an_error(tmp_path):
    from srgan.networks.files import load_generator

    path = make_model(tmp_path / "nan.keras")
    generator = load_generator(path)
    generator.get_layer("tail_conv").bias.assign([0.0, np.nan, 0.0])
    generator.save(path)
    for engine in ("openvino", "keras"):
        with pytest.raises(SRGANError, match="NaN or infinity"):
            Upscaler(path, engine=engine)(photograph(20, 30))


def test_values_beyond_the_range_are_clipped(tmp_path):
    from srgan.networks.files import load_generator

    path = make_model(tmp_path / "bright.keras")
    generator = load_generator(path)
    generator.get_layer("tail_conv").bias.assign([30.0, 0.0, -30.0])
    generator.save(path)
    result = Upscaler(path)(photograph(20, 30))
    assert (result[..., 0] == 255).all() and (result[..., 2] == 0).all()


# Together.


def test_one_upscaler_serves_many_threads(upscaler):
    pictures = [photograph(20 + index, 40, top=index) for index in range(4)]
    pictures += [picture.astype(np.uint16) * 257 for picture in pictures]
    expected = [upscaler(picture) for picture in pictures]
    results = {}

    def work(index):
        results[index] = [upscaler(picture) for picture in pictures]

    threads = [threading.Thread(target=work, args=[index]) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results.values():
        for one, other in zip(result, expected):
            np.testing.assert_array_equal(one, other)


def test_keras_and_openvino_agree_to_a_level(model):
    pixels = photograph(60, 70)
    both = [Upscaler(model, engine=engine, precision="float32")(pixels).astype(int) for engine in ("openvino", "keras")]
    assert np.abs(both[0] - both[1]).max() <= 1


def test_the_public_name(model):
    assert srgan.Upscaler is Upscaler
    with pytest.raises(SRGANError, match="no-such"):
        srgan.Upscaler("no-such")
