"""Pictures whose result is larger than memory: the same as the ordinary way, killed and resumed, refused, and their memory.

The threshold is lowered, so that small pictures are upscaled in strips.
"""

import collections
import re
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image, ImageCms
from upscaling import photograph

from srgan.pictures import read_picture
from srgan.pictures.metadata import metadata_of
from srgan.upscale import Upscaler, large_job
from srgan.upscale.picture_job import upscale_files

COMMAND = """
import sys, time
import srgan.upscale.large_job as large_job
from srgan.upscale.upscaler import Upscaler
large_job.LARGE = 20_000
wait, window = float(sys.argv.pop(1)), Upscaler.window
def slowly(self, pixels):
    time.sleep(wait)
    return window(self, pixels)
Upscaler.window = slowly
from srgan.cli.upscale import main
main()
"""
SAID = "made in strips"
_ALL_FORMATS = ("deep.png", "alpha.png", "turned6.jpg")


@pytest.fixture(scope="module")
def upscaler(model):
    return Upscaler(model, tile=64)


def command(*arguments, wait=0.0):
    return [sys.executable, "-c", COMMAND, str(wait), *map(str, arguments)]


def deep(pixels):
    return pixels.astype(np.uint16) * 257 - pixels


def vips(pixels):
    kind = ("b-w", "srgb", "grey16", "rgb16")[2 * (pixels.itemsize > 1) + (pixels.shape[2] > 2)]
    return pyvips.Image.new_from_array(pixels, interpretation=kind)


def with_alpha(lowest):
    image = Image.fromarray(photograph()).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size).point(lambda value: lowest if value < 50 else value))
    return image


def with_exif(orientation, path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "A maker"
    exif.get_ifd(0x8769)[0x9214] = (10, 20)  # subject location
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(photograph()).save(path, exif=exif, dpi=(200, 100), icc_profile=profile)


def gray():
    return Image.fromarray(photograph()).convert("L")


def planes():
    return np.moveaxis(photograph(), -1, 0)


KINDS = {
    "rgb.png": lambda path: Image.fromarray(photograph()).save(path),
    "gray.png": lambda path: gray().save(path),
    "bilevel.png": lambda path: gray().convert("1").save(path),
    "deep.png": lambda path: vips(deep(photograph())).pngsave(str(path)),
    "gray4.png": lambda path: vips(np.asarray(gray())[..., None]).pngsave(str(path), bitdepth=4),
    "palette.png": lambda path: Image.fromarray(photograph()).quantize(20).save(path),
    "gray-palette.png": lambda path: gray().quantize(16).save(path),
    "alpha.png": lambda path: with_alpha(1).save(path),
    "transparent.png": lambda path: with_alpha(0).save(path),
    "interlaced.png": lambda path: vips(photograph()).pngsave(str(path), interlace=True),
    "baseline.jpg": lambda path: Image.fromarray(photograph()).save(path, quality=90),
    "gray.jpg": lambda path: gray().save(path),
    "progressive.jpg": lambda path: Image.fromarray(photograph()).save(path, progressive=True),
    "cmyk.jpg": lambda path: Image.fromarray(photograph()).convert("CMYK").save(path),
    **{f"turned{number}.jpg": lambda path, number=number: with_exif(number, path) for number in range(2, 9)},
    "strips.tif": lambda path: tifffile.imwrite(path, photograph(), rowsperstrip=16, compression="lzw", predictor=True),
    "one-strip.tif": lambda path: tifffile.imwrite(path, deep(photograph()), rowsperstrip=96, byteorder=">"),
    "tiles.tif": lambda path: tifffile.imwrite(path, photograph(), tile=(64, 48), compression="deflate"),
    "jpeg.tif": lambda path: tifffile.imwrite(path, photograph(), tile=(64, 64), compression="jpeg"),
    "planes.tif": lambda path: tifffile.imwrite(path, planes(), planarconfig="separate", photometric="rgb"),
    "big.tif": lambda path: tifffile.imwrite(path, photograph(), bigtiff=True),
    "alpha.tif": lambda path: with_alpha(1).save(path),
    "lab.tif": lambda path: Image.fromarray(photograph()).convert("LAB").save(path),
    "fax.tif": lambda path: gray().convert("1").save(path, compression="group4"),
    "picture.webp": lambda path: Image.fromarray(photograph()).save(path),
}


@pytest.mark.parametrize("name", KINDS)
def test_pixels_and_metadata_are_those_of_the_ordinary_way(name, upscaler, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "srgan")
    source = tmp_path / name
    KINDS[name](source)
    for suffix in (".png", ".tif", ".jpg") if name in _ALL_FORMATS else (".png",):
        ordinary, large = tmp_path / f"ordinary{suffix}", tmp_path / f"large{suffix}"
        assert upscale_files([(source, ordinary)], lambda: upscaler)["done"]
        assert SAID not in caplog.text
        with monkeypatch.context() as patch:
            patch.setattr(large_job, "LARGE", 20_000)
            patch.setattr("srgan.pictures.strips._BAND", 10_000)
            assert upscale_files([(source, large)], lambda: upscaler)["done"], caplog.text
        if name.startswith("transparent"):
            assert "is upscaled in memory: what is under transparent pixels depends" in caplog.text
        else:
            assert SAID in caplog.text
        if suffix == ".tif":
            pictures = read_picture(ordinary), read_picture(large)
            np.testing.assert_array_equal(*(picture.pixels for picture in pictures))
            assert metadata_of(pictures[0]) == metadata_of(pictures[1])
        else:
            assert ordinary.read_bytes() == large.read_bytes()
        caplog.clear()
    assert not list(tmp_path.glob(".*"))


def test_bigtiff_keeps_its_metadata_and_has_a_pyramid(upscaler, tmp_path, monkeypatch):
    with_exif(6, tmp_path / "a.jpg")
    assert upscale_files([(tmp_path / "a.jpg", tmp_path / "small.tif")], lambda: upscaler)["done"]
    monkeypatch.setattr(large_job, "LARGE", 20_000)
    monkeypatch.setattr("srgan.pictures.writing._LARGEST_TIFF", 100_000)
    assert upscale_files([(tmp_path / "a.jpg", tmp_path / "b.tif")], lambda: upscaler, pyramid=True)["done"]
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.is_bigtiff and file.pages[0].is_tiled and len(file.pages[0].subifds) >= 1
        assert file.pages[0].tags[0x8769].value["SubjectLocation"]
        np.testing.assert_array_equal(file.pages[0].pages[0].shape, [256, 192, 3])
    before, after = read_picture(tmp_path / "small.tif"), read_picture(tmp_path / "b.tif")
    np.testing.assert_array_equal(before.pixels, after.pixels)
    assert metadata_of(before) == metadata_of(after) and before.exif


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_killed_while_it_encodes_it_goes_on(suffix, model, upscaler, tmp_path):
    source, target = tmp_path / "in.png", tmp_path / f"out{suffix}"
    Image.fromarray(photograph()).save(source)
    files = [source, target, "--model", model, "--tile", 64, "--overlap", 10]
    killing = COMMAND.replace("main()\n", "") + (
        "import os\nfrom srgan.pictures.raw import RawPixels\nread = RawPixels.__getitem__\n"
        "def read_and_end(pixels, key):\n"
        "    if pixels.path.name == 'result' and len(pixels._ranges(key)[0]) > 1:\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return read(pixels, key)\n"
        "RawPixels.__getitem__ = read_and_end\nmain()\n"
    )
    run = [sys.executable, "-c", killing, "0", *map(str, files)]
    assert subprocess.run(run, check=False).returncode == -signal.SIGKILL
    assert list(tmp_path.glob(".out*/rows")) and not target.exists()
    assert subprocess.run(command(*files), check=False).returncode == 0
    assert upscale_files([(source, tmp_path / f"ordinary{suffix}")], lambda: upscaler)["done"]
    np.testing.assert_array_equal(*(read_picture(each).pixels for each in (target, tmp_path / f"ordinary{suffix}")))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(sys.platform == "win32", reason="limits")
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_a_disk_that_fills_is_said_in_one_line_and_what_is_finished_is_kept(suffix, model, upscaler, tmp_path):
    """A limit for the size of files fails as a full disk does, in the midst of writing. It is set before one of the steps."""
    source, target = tmp_path / "in.jpg", tmp_path / f"out{suffix}"
    Image.fromarray(photograph()).save(source)
    files = [source, target, "--model", model, "--tile", 64, "--overlap", 10]
    limited = COMMAND.replace("main()\n", "") + (
        "import resource\nfrom srgan import pictures\n"
        "name, size = sys.argv.pop(1).split()\n"
        "place = pictures if name == 'write_picture' else large_job\n"
        "step = getattr(place, name)\n"
        "def on_full_disk(*arguments, **options):\n"
        "    if name != 'write_picture' or isinstance(arguments[0].pixels, pictures.RawPixels):  # not the part that is timed\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), resource.RLIM_INFINITY))\n"
        "    return step(*arguments, **options)\n"
        "setattr(place, name, on_full_disk)\nmain()\n"
    )
    for step, left in (("decode 10000", 0), ("_compute 400000", 192), ("write_picture 5000", 384)):
        run = [sys.executable, "-c", limited, "0", step, *map(str, files)]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "done, 0 skipped, 1 failed" in done.stderr, done.stderr
        line = done.stderr.splitlines()[-2]
        assert line.endswith(
            f"{target}: no space left for it; what is finished is kept, and the same command goes on from there"
        )
        rows = list(tmp_path.glob(".*/rows"))
        assert [int(file.read_text()) for file in rows] == [left] * bool(left) and not target.exists()
    assert upscale_files([(source, tmp_path / f"ordinary{suffix}")], lambda: upscaler)["done"]
    assert subprocess.run(command(*files), check=False).returncode == 0
    np.testing.assert_array_equal(*(read_picture(each).pixels for each in (target, tmp_path / f"ordinary{suffix}")))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_stopped_and_started_again_it_goes_on_to_the_same_file(number, model, upscaler, tmp_path):
    source, target = tmp_path / "in.jpg", tmp_path / "out.png"
    with_exif(8, source)
    options = ["--model", model, "--tile", 64, "--overlap", 10]
    process = subprocess.Popen(command(source, target, *options, wait=0.3), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*/rows")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    begun = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate()
    assert time.monotonic() - begun < 2 and not target.exists()
    if number == signal.SIGTERM:
        assert re.search(r"interrupted: .*out.png: the same command goes on after \d+ rows", said), said
    done = subprocess.run(command(source, target, *options), capture_output=True, text=True, check=False)
    assert done.returncode == 0 and re.search(r"out.png: goes on after \d+ of 512 rows", done.stderr), done.stderr
    assert upscale_files([(source, tmp_path / "ordinary.png")], lambda: upscaler)["done"]
    assert target.read_bytes() == (tmp_path / "ordinary.png").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_the_time_that_is_said_has_that_of_encoding(upscaler, tmp_path, monkeypatch, caplog):
    """A clock goes on by a minute for each picture that is encoded, of which a tile is first."""
    caplog.set_level("INFO", "srgan")
    clock, write = [0], large_job.pictures.write_picture

    def slowly(picture, *arguments, **options):
        write(picture, *arguments, **options)
        clock[0] += 60

    monkeypatch.setattr(large_job, "LARGE", 20_000)
    monkeypatch.setattr(large_job.pictures, "write_picture", slowly)
    monkeypatch.setattr(large_job, "time", types.SimpleNamespace(perf_counter=lambda: clock[0]))
    KINDS["rgb.png"](tmp_path / "a.png")
    assert upscale_files([(tmp_path / "a.png", tmp_path / "b.tif")], lambda: upscaler)["done"]
    assert re.search(r"takes about [3-6] minutes", caplog.text)  # a tile is a fourth of the picture


def test_too_little_disk_is_refused_before_the_work(upscaler, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(large_job, "LARGE", 20_000)
    free = collections.namedtuple("usage", "total used free")(2**20, 0, 2**20)
    monkeypatch.setattr("srgan.upscale.large_job.shutil.disk_usage", lambda path: free)
    monkeypatch.setattr("srgan.upscale.large_job.decode", lambda *_: pytest.fail("work began"))
    KINDS["rgb.png"](tmp_path / "a.png")
    assert upscale_files([(tmp_path / "a.png", tmp_path / "b.png")], lambda: upscaler)["failed"]
    assert re.search(r"b.png: takes 0.0 GB on disk while it is made, and 0.0 GB are free there", caplog.text)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_what_a_format_or_the_memory_cannot_hold_is_refused_before_the_work(upscaler, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(large_job, "LARGE", 20_000)
    monkeypatch.setattr("srgan.upscale.large_job.decode", lambda *_: pytest.fail("work began"))
    Image.new("L", (20_000, 60)).save(tmp_path / "wide.png")
    assert upscale_files([(tmp_path / "wide.png", tmp_path / "b.jpg")], lambda: upscaler)["failed"]
    assert "JPEG holds 65500 pixels a side, and the result would be 80000 x 240; use .png or .tif" in caplog.text
    monkeypatch.setattr("srgan.upscale.picture_job.pictures.read_picture", lambda *_, **__: pytest.fail("it was read"))
    assert upscale_files([(tmp_path / "wide.png", tmp_path / "b.webp")], lambda: upscaler)["failed"]
    assert "WebP holds 16383 pixels a side, and the result would be 80000 x 240; use .png or .tif" in caplog.text
    Image.new("L", (250_001, 10)).save(tmp_path / "wider.png")
    assert upscale_files([(tmp_path / "wider.png", tmp_path / "b.png")], lambda: upscaler)["failed"]
    assert "PNG holds 1000000 pixels a side, and the result would be 1000004 x 40; use .tif" in caplog.text
    monkeypatch.undo()
    monkeypatch.setattr(large_job, "LARGE", 20_000)
    KINDS["progressive.jpg"](tmp_path / "a.jpg")
    monkeypatch.setattr("srgan.memory.psutil.virtual_memory", lambda: collections.namedtuple("m", "available")(0))
    monkeypatch.setattr("srgan.memory._SMALL", 0)
    assert upscale_files([(tmp_path / "a.jpg", tmp_path / "b.png")], lambda: upscaler)["failed"]
    assert "not enough memory for decoding progressive JPEG" in caplog.text
    assert not list(tmp_path.glob(".*"))


def test_the_limit_of_pixels_is_higher_in_strips(model, upscaler, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(large_job, "LARGE", 20_000)
    KINDS["rgb.png"](tmp_path / "a.png")
    pair, limits = (tmp_path / "a.png", tmp_path / "b.png"), {"max_pixels": 10_000}
    assert upscale_files([pair], lambda: upscaler, **limits)["done"]
    assert upscale_files([pair], lambda: upscaler, max_strip_pixels=12_000)["failed"]
    assert "128 x 96 are more than 0.012 million pixels; raise --max-pixels" in caplog.text
    assert upscale_files([pair], lambda: Upscaler(model, wrap=True), **limits)["failed"]
    assert "128 x 96 are more than 0.01 million pixels" in caplog.text


def test_a_damaged_file_is_said(upscaler, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(large_job, "LARGE", 20_000)
    for name in ("rgb.png", "baseline.jpg", "strips.tif"):
        KINDS[name](tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
        caplog.clear()
        assert upscale_files([(tmp_path / name, tmp_path / "out.png")], lambda: upscaler)["failed"]
        assert re.search(rf"{name}: cannot be read as a picture \(.*\)", caplog.text)
    assert not list(tmp_path.glob(".*")) and not (tmp_path / "out.png").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_memory_does_not_grow_with_the_picture(model, tmp_path):
    script = COMMAND.replace("main()\n", "") + (
        "import os\nend = os._exit\n"
        "def leave(status):\n"
        "    print(*[line for line in open('/proc/self/status') if line.startswith('VmHWM')], flush=True)\n"
        "    end(status)\n"
        "os._exit = leave\nmain()\n"
    )
    peaks = {}
    for height in (300, 1500):
        pixels = np.tile(photograph(300, 250), (height // 300, 4, 1))
        tifffile.imwrite(tmp_path / f"{height}.tif", pixels, rowsperstrip=16)
        files = tmp_path / f"{height}.tif", tmp_path / f"{height}.png"
        run = subprocess.run(
            [sys.executable, "-c", script, "0", *map(str, files), "--model", str(model)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert SAID in run.stderr
        peaks[height] = int(run.stdout.split()[1]) / 1024
    assert peaks[1500] < 1500 and peaks[1500] - peaks[300] < 40, peaks  # MiB; the larger result is 72 MB
