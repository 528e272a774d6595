"""The commands by the habits of their users: what is listed, left out, of no effect, and said of a mistake."""

import json
import os
import struct

import numpy as np
import pytest
from helpers import ROOT, import_main, run_command, run_python
from PIL import Image
from upscaling import photograph
from videos import make_video, scene

from srgan.models import SHIPPED, shipped_models
from srgan.pictures import read_picture
from srgan.pictures.drawings import is_drawing


def save(path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(20, 30)).save(path, **options)
    return path


def test_help_and_a_list_name_the_models_and_what_they_are_for(tmp_path):
    (tmp_path / "mine.pth").touch()
    shown = run_command("upscale", "--help").stdout
    listed = run_command("upscale", "--list-models", env={"SRGAN_MODELS": str(tmp_path)}).stdout.splitlines()
    for name in shipped_models():
        assert f"{name:12} {SHIPPED[name]}" in shown
        assert any(line.split(maxsplit=1) == [name, SHIPPED[name]] for line in listed)
    assert listed[-1].split() == ["mine", str(tmp_path / "mine.pth")]


@pytest.mark.parametrize(("names", "hint"), [(["a.png", "b.tga"], True), (["a.png", "b.jpg"], False), ([], False)])
def test_the_notice_of_the_default_says_what_it_is_for(names, hint):
    from srgan.models import default_notice

    notice = default_notice(names)
    assert notice.startswith("model srgan-photo, for photographs")
    assert ("--model srresnet suits what was never a JPEG, as most PNG, TGA files" in notice) == hint


def test_the_notice_of_the_default_names_the_fast_model_for_clips():
    from srgan.models import default_notice

    assert "--model srgan-fast" in default_notice(["a.mp4", "b.jpg"], clips=True)
    assert "srgan-fast" not in default_notice(["b.jpg"])


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_of_16_bits_of_gray_a_photograph_is_no_drawing(name, tmp_path):
    gray = photograph(60, 90)[..., 1].astype(np.uint16) * 257
    Image.fromarray(gray).save(tmp_path / name)
    assert not is_drawing(tmp_path / name)
    Image.fromarray(gray // 16).save(tmp_path / name)  # 12 bits of them
    assert not is_drawing(tmp_path / name)
    gray[:50] = 40000
    Image.fromarray(gray).save(tmp_path / name)
    assert is_drawing(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize("kind", ["palette", "few colours", "even areas", "photograph"])
def test_the_notice_of_the_default_tells_drawings_by_their_pixels(kind, name, tmp_path):
    image = Image.fromarray(photograph(60, 90))
    if kind == "palette":
        image = image.quantize(16)
    elif kind == "few colours":
        image = image.quantize(200, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")
    elif kind == "even areas":
        image.paste((250, 250, 250), (0, 0, 90, 50))
    lossless = {"lossless": True} if name.endswith("webp") else {}
    image.save(tmp_path / name, **lossless)
    done = run_command("upscale", tmp_path / name, tmp_path / "out.png", "--dry-run")
    assert done.returncode == 0 and not done.stderr
    done = run_command("upscale", tmp_path / name, tmp_path / "out.png")
    assert ("srresnet suits sprites and drawings, which these seem to be" in done.stderr) == (kind != "photograph")
    assert ("what was never a JPEG" in done.stderr) == (kind == "photograph" and name == "a.png")


def test_kinds_that_are_no_pictures_are_counted(upscale, tmp_path):
    save(tmp_path / "in" / "a.jpg")
    for name in ("b.mov", "c.CR2", "d.cr2", "README"):
        (tmp_path / "in" / name).touch()
    status, lines = upscale(tmp_path / "in", tmp_path / "out")
    assert status == 0
    assert lines[0] == "srgan: 4 files of other kinds left out (2 cr2, 1 mov, 1 without a suffix)" or sorted(
        lines[0].split("(")[1].rstrip(")").split(", ")
    ) == ["1 mov", "1 without a suffix", "2 cr2"]
    (tmp_path / "in" / "a.jpg").unlink()
    assert "no pictures there (2 cr2" in upscale(tmp_path / "in", tmp_path / "out")[1][0]


def test_folders_that_are_not_looked_into_are_said(upscale, tmp_path):
    for name in ("a.png", "2021/b.png", "2022/c.png", ".hidden/d.png"):
        save(tmp_path / "in" / name)
    remedy = "--recursive includes subfolders"
    status, lines = upscale(tmp_path / "in", tmp_path / "in" / "large")
    line = f"srgan: 2 folders, the first {tmp_path / 'in' / '2021'}, are not looked into; {remedy}"
    assert status == 0 and lines == [line, "srgan: 1 done, 0 skipped, 0 failed"]
    status, lines = upscale(tmp_path / "in", tmp_path / "in" / "large", "-r")
    assert status == 0 and lines == ["srgan: 3 done, 0 skipped, 0 failed"]
    (tmp_path / "in" / "a.png").unlink()
    status, lines = upscale(tmp_path / "in", tmp_path / "other")
    assert status == 2 and lines[-1].endswith("no pictures there; --recursive looks deeper")


@pytest.mark.parametrize("suffix", [".tga", ".dds", ".bmp"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_textures_keep_their_format(suffix, channels, upscale, tmp_path):
    pixels = np.dstack([photograph(20, 30), np.full((20, 30), 255, np.uint8)])[..., :channels]
    pixels[:9, :9, -1] = 0
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels.squeeze()).save(tmp_path / "in" / f"a{suffix}")
    status, lines = upscale(tmp_path / "in", tmp_path / "out")
    assert status == 0 and lines[-1] == "srgan: 1 done, 0 skipped, 0 failed"
    result = read_picture(tmp_path / "out" / f"a{suffix}").pixels
    before = read_picture(tmp_path / "in" / f"a{suffix}").pixels
    assert result.shape == (80, 120, before.shape[2] if suffix != ".bmp" else min(before.shape[2], 3))
    small = np.asarray(Image.fromarray(result.squeeze()).resize((30, 20), Image.Resampling.BOX), int)
    if channels != 4:
        assert np.abs(small - before.squeeze()).mean() < 12


def test_compression_and_mipmaps_of_dds_are_said_to_be_left_out(upscale, tmp_path):
    image = Image.fromarray(photograph(32, 32))
    image.save(tmp_path / "plain.dds")
    image.save(tmp_path / "block.dds", pixel_format="DXT1")
    block = bytearray((tmp_path / "block.dds").read_bytes())
    block[8:12] = struct.pack("<I", struct.unpack("<I", block[8:12])[0] | 0x20000)
    block[28:32] = struct.pack("<I", 6)
    (tmp_path / "mipmaps.dds").write_bytes(block)  # Pillow reads the first of them, whatever follows
    for name, line in {
        "plain": [],
        "block": ["its compression (DXT1) is left out"],
        "mipmaps": ["its compression (DXT1) and set of 6 mipmaps are left out"],
    }.items():
        status, lines = upscale(tmp_path / f"{name}.dds", tmp_path / "out.dds")
        expected = [f"srgan: {tmp_path / name}.dds: {each}" for each in line]
        assert status == 0 and lines == [*expected, "srgan: 1 done, 0 skipped, 0 failed"]
        assert Image.open(tmp_path / "out.dds").size == (128, 128)


def test_what_is_said_of_many_pictures_is_said_once_and_counted(upscale, tmp_path):
    (tmp_path / "in").mkdir()
    for name in "abc":
        Image.fromarray(photograph(32, 32)).save(tmp_path / "in" / f"{name}.dds", pixel_format="DXT1")
    Image.fromarray(photograph(32, 32)).save(tmp_path / "in" / "d.dds")
    status, lines = upscale(tmp_path / "in", tmp_path / "out")
    assert status == 0 and lines == [
        f"srgan: {tmp_path / 'in' / 'a.dds'}: its compression (DXT1) is left out",
        "srgan: 2 more pictures: its compression (DXT1) is left out",
        "srgan: 4 done, 0 skipped, 0 failed",
    ]


def test_options_without_effect_are_said(upscale, tmp_path):
    source = save(tmp_path / "a.png")
    status, lines = upscale(source, tmp_path / "b.png", "--crf", 20, "--quality", 90)
    assert status == 0 and [line.split(": ")[1].split(" has")[0] for line in lines[:2]] == ["--crf", "--quality"]
    status, lines = upscale(source, tmp_path / "b.png", "--range", 255)
    assert status != 0 and "--range 255: a .keras file leaves nothing open there" in lines[-1]
    assert len(upscale(source, tmp_path / "b.jpg", "--quality", 90)[1]) == 1
    lines = upscale(source, tmp_path / "b.jpg", "--compression", 9)[1]
    assert lines[0] == "srgan: --compression has no effect: it is for PNG"


EVERY_OPTION = [  # of srgan-upscale: the option, inputs and output for which it does nothing, and what is said then
    ("--codec libx264", "a.png", "b.png", "it is for clips"),
    ("--crf 20", "a.png", "b.png", "it is for clips"),
    ("--start 1", "a.png", "b.png", "it is for clips"),
    ("--end 1", "in", "out", "it is for clips"),
    ("--fps 12", "in", "out", "it is for clips"),
    ("--deinterlace on", "in", "out", "it is for clips"),
    ("--deinterlace off", "in", "frames.mkv", "it is for video files"),
    ("--quality 90", "a.png", "-", "it is for AVIF, JPEG, JPEG XL, WebP"),
    ("--quality 90", "in", "frames.mkv", "it is for AVIF, JPEG, JPEG XL, WebP"),
    ("--lossless", "a.png", "b.tif", "it is for JPEG XL, WebP"),
    ("--compression 9", "in --format jpg", "out", "it is for PNG"),
    ("--compression 9", "clip.mkv", "b.mkv", "it is for PNG"),
    ("--palette", "a.png", "b.jpg", "it is for PNG"),
    ("--palette", "clip.mkv", "b.mkv", "it is for PNG"),
    ("--palette", "a.png", "b.png", "a.png: is without a palette, on which --palette has no effect"),
    (
        "--palette",
        "in",
        "out",
        "2 pictures, the first in/b.png, are without a palette, on which --palette has no effect",
    ),
    ("--alpha data", "a.png", "b.png", "a.png: is without transparency, on which --alpha has no effect"),
    ("--alpha network", "a.jpg", "b.png", "a.jpg: is without transparency, on which --alpha has no effect"),
    ("--alpha network", "clip.mp4", "b.mkv", "MP4 has no transparency"),
    ("--strip-metadata", "clip.mkv", "b.mkv", "it is for pictures"),
    ("--strip-metadata", "a.png", "b.tga", "TGA has no metadata"),
    ("--format jpg", "clip.mkv", "b.mkv", "it is for pictures"),
    ("--keep-time", "-", "b.png", "it is for files that become files"),
    ("--keep-time", "a.png", "-", "it is for files that become files"),
    ("--keep-time", "in", "b%03d.png", "it is for files that become files"),
    ("--skip-existing", "a.png", "-", "it is for files"),
    ("--recursive", "a.png", "b.png", "no input is a folder of pictures"),
    ("--recursive", "in", "frames.mkv", "no input is a folder of pictures"),
    ("--pixel-model srresnet", "a.png", "b.png", "it is what --strength below 1 blends with"),
]


@pytest.mark.parametrize("case", EVERY_OPTION, ids=lambda case: " ".join(case[:3]))
def test_every_option_that_has_no_effect_is_said(case, model, tmp_path):
    option, inputs, output, said = case
    for name in ("a.png", "a.jpg", "in/b.png", "in/c.png"):
        save(tmp_path / name)
    make_video(tmp_path / "clip.mkv", scene(2))
    make_video(tmp_path / "clip.mp4", scene(2))
    arguments = [*option.split(), *inputs.split(), output]
    line = f"srgan: {said}\n" if " has no effect" in said else f"srgan: {option.split()[0]} has no effect: {said}\n"
    before = f"import os; os.chdir({str(tmp_path)!r})"
    options = {"before": before, "stdin": (tmp_path / "a.png").open("rb"), "encoding": "latin-1"}
    done = run_command("upscale", *arguments, "-m", model, **options)
    assert done.returncode == 0 and done.stderr.count(line) == 1, done.stderr
    assert done.stderr.count("no effect") == 1


WITH_EFFECT = [  # where the same options do something, nothing is said
    ("--quality 90 --strip-metadata --keep-time --skip-existing", "a.png", "b.jpg"),
    ("--compression 9 --palette --alpha data", "sprite.png", "b.png"),
    ("--recursive --format webp --lossless --keep-time", "in", "out"),
    ("--crf 30 --codec libx264 --start 0 --end 1 --deinterlace on --keep-time", "clip.mkv", "b.mkv"),
    ("--fps 12", "in", "frames.mkv"),
    ("--compression 9", "clip.mkv", "b%03d.png"),
    ("--strength 0.5 --pixel-model {model} --tile 64 --overlap 8 --threads 1 --device CPU", "a.png", "b.png"),
    ("--wrap --max-pixels 0 --engine openvino --precision float32 -v", "a.png", "b.png"),
]


@pytest.mark.parametrize("case", WITH_EFFECT, ids=lambda case: case[0])
def test_options_that_have_an_effect_are_not_said(case, model, tmp_path):
    option, source, output = case
    for name in ("a.png", "in/b.png", "in/c.png"):
        save(tmp_path / name)
    sprite = np.dstack([photograph(20, 30) // 128 * 255, np.full((20, 30), 255, np.uint8)])
    sprite[:5, ..., 3] = 0
    Image.fromarray(sprite).quantize(9).save(tmp_path / "sprite.png")
    make_video(tmp_path / "clip.mkv", scene(2))
    before = f"import os; os.chdir({str(tmp_path)!r})"
    arguments = [*option.format(model=model).split(), source, output, "-m", model]
    done = run_command("upscale", *arguments, before=before)
    assert done.returncode == 0 and "no effect" not in done.stderr, done.stderr


def test_short_options(model, tmp_path):
    source = save(tmp_path / "in" / "deep" / "a.png")
    done = run_command("upscale", "-m", model, "-s", "2", "-r", "-v", "-o", tmp_path / "out", tmp_path / "in")
    target = tmp_path / "out" / "deep" / "a.png"
    assert done.returncode == 0 and done.stderr.splitlines()[0] == f"srgan: 1/1 {source} -> {target}"
    assert Image.open(target).size == (60, 40)
    quiet = run_command("upscale", "-q", "-m", model, source, target)
    assert (quiet.returncode, quiet.stderr) == (0, "")


def test_every_command_has_the_short_options(tmp_path):
    printed = run_command("train", "-c", "sample", "-p", tmp_path, "-o", tmp_path / "run", "--print")
    assert printed.returncode == 0 and f"pictures: {tmp_path}" in printed.stdout
    save(tmp_path / "in" / "deep" / "a.png")
    done = run_command("compare", "-r", tmp_path / "in", "-m", "nothing", "-s", "2", "-o", tmp_path / "out")
    assert done.returncode == 2 and "nothing: no such model" in done.stderr
    done = run_command("evaluate", "-r", "--data", tmp_path / "in", "-m", "nothing", "-s", "2")
    assert done.returncode == 2 and "nothing: no such model" in done.stderr
    done = run_command("export", "-m", "nothing", tmp_path / "a.onnx")
    assert done.returncode == 2 and "nothing: no such model" in done.stderr


@pytest.mark.parametrize("arguments", [["--scale", "big", "a", "b"], ["--colour", "a", "b"], ["a.png"], []])
def test_a_usage_error_is_two_lines(arguments):
    done = run_command("upscale", *arguments)
    lines = done.stderr.splitlines()
    assert done.returncode == 2 and len(lines) == 2 and lines[0].startswith("srgan: ")
    assert lines[1] == "usage: srgan-upscale --help shows what there is"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("a.png b.png --outscale 2", "unrecognized arguments: --outscale 2 (did you mean --scale?)"),
        ("a.png b.png --model-name srgan", "unrecognized arguments: --model-name srgan (did you mean --model?)"),
        ("a.png b.png --qualty=90", "unrecognized arguments: --qualty=90 (did you mean --quality?)"),
        ("a.png b.png --fit 100", "argument --fit: '100' is no size; write WIDTHxHEIGHT, such as 3840x2160"),
        ("a.png b.png --long-side 5k", "argument --long-side: '5k' is no number of pixels; write 5000"),
        ("a.png b.png --start 1m", "argument --start: '1m' is no time; write seconds or h:mm:ss, such as 12.5 or 1:30"),
        ("a.png b.png -s twice", "argument -s/--scale: 'twice' is no scale; write 2, 2x or 2.5"),
        ("a.png b.png -v -q", "argument -q/--quiet: not allowed with argument -v/--verbose"),
        ("a.png b.png -m srgan-foto", "srgan-foto: no such model; did you mean srgan-photo? Else pass the path of a"),
        ("frames/%03d.png b/%03d.png", "frames/%03d.png: no such file; of numbered frames name the folder, frames/"),
    ],
)
def test_a_mistake_is_said_with_what_to_write(arguments, said, tmp_path):
    save(tmp_path / "a.png")
    done = run_command("upscale", *arguments.split(), before=f"import os; os.chdir({str(tmp_path)!r})")
    assert done.returncode == 2 and f"srgan: {said}" in done.stderr, done.stderr


@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_bicubic_is_no_model_to_be_named(command, tmp_path):
    save(tmp_path / "a.png")
    where = [tmp_path, "-o", tmp_path / "out"] if command == "compare" else ["--data", tmp_path]
    done = run_command(command, *where, "-m", "bicubic", "srresnet")
    line = "srgan: bicubic: is part of every comparison and no model; leave it out\n"
    assert (done.returncode, done.stderr) == (2, line)


def test_a_run_named_without_its_folder_is_what_was_meant(tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "generator.keras").touch()
    done = run_command("upscale", "a.png", "b.png", "-m", "mine", before=f"import os; os.chdir({str(tmp_path)!r})")
    meant = os.path.join("runs", "mine")
    assert done.returncode == 2 and f"mine: no such model; did you mean {meant}? Else pass" in done.stderr


def test_a_rehearsal_says_sizes_and_speaks_json(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    save(tmp_path / "in" / "a.jpg", exif=exif)
    (tmp_path / "in" / "b.jpg").write_bytes(b"none")
    save(tmp_path / "out" / "a.jpg")
    arguments = [tmp_path / "in", tmp_path / "out", "--dry-run", "--skip-existing", "--long-side", 5000]
    lines = run_command("upscale", *arguments).stdout.splitlines()
    assert lines[0] == f"{tmp_path}/in/a.jpg 20x30 -> {tmp_path}/out/a.jpg 3333x5000  (is there: left alone)"
    assert lines[1] == f"{tmp_path}/in/b.jpg -> {tmp_path}/out/b.jpg"
    facts = [json.loads(line) for line in run_command("upscale", *arguments, "--json").stdout.splitlines()]
    assert [(each["status"], each["source_size"], each["target_size"]) for each in facts] == [
        ("skipped", [20, 30], [3333, 5000]),
        ("planned", None, None),
    ]


def test_a_palette_that_is_lost_is_said(upscale, tmp_path):
    Image.fromarray(photograph(20, 30)).quantize(9).save(tmp_path / "a.png")
    line = f"srgan: {tmp_path / 'a.png'}: is of a palette and written in true colours; --palette keeps the palette"
    assert upscale(tmp_path / "a.png", tmp_path / "b.png")[1][0] == line
    assert len(upscale(tmp_path / "a.png", tmp_path / "b.png", "--palette")[1]) == 1


def test_a_shell_completes_options(tmp_path):
    pytest.importorskip("argcomplete")
    line = "srgan-upscale --list"
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    asked |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "answer")}
    run_python("-c", f"{import_main('upscale')}\nmain()", env=asked)
    assert (tmp_path / "answer").read_text().split() == ["--list-models"]


def test_an_upscaler_says_what_it_is(model):
    from srgan import Upscaler

    assert repr(Upscaler(model, scale=2.5)).startswith("<Upscaler generator, x2.5, ")


def test_a_saved_generator_loads_in_keras_without_a_warning(tmp_path):
    code = """
import sys, warnings
warnings.simplefilter("error", UserWarning)
import keras, numpy as np
import srgan, srgan.networks
from srgan.networks.files import save_generator
from srgan.networks.generators import srresnet
run = sys.argv[1]
generator = srresnet(filters=4, blocks=1)
generator.compile(jit_compile=False)  # as a run's is, to predict
save_generator(generator, run + "/generator.keras")
assert generator.compiled
assert keras.models.load_model(run + "/generator.keras").predict(np.zeros((1, 8, 9, 3)), verbose=0).shape == (1, 32, 36, 3)
names = [run, run + "/generator.keras", "srresnet"]
assert [srgan.load_generator(name).count_params() > 0 for name in names] == [True] * 3
"""
    run = run_python("-c", code, tmp_path)
    assert run.returncode == 0 and "optimizer" not in run.stderr, run.stderr


def test_formats_and_suffixes_that_are_not_written_have_one_exit_code(upscale, tmp_path):
    source = save(tmp_path / "a.png")
    assert upscale(source, tmp_path / "out.xyz")[0] == upscale(source, f"{tmp_path}/out/", "--format", "xyz")[0] == 2
    assert os.listdir(tmp_path) == ["a.png"] and ROOT.is_dir()


def test_a_print_keeps_its_inches_in_exif_too(upscale, tmp_path):
    exif = Image.Exif()
    exif[33432] = "(c) A. Photographer"
    save(tmp_path / "a.jpg", exif=exif, dpi=(300, 300))
    assert upscale(tmp_path / "a.jpg", tmp_path / "b.jpg")[0] == 0
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.info["dpi"] == (300, 300) and {*map(image.getexif().get, (282, 283))} == {300}
        assert image.getexif()[33432] == "(c) A. Photographer"
