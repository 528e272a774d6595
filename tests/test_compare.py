"""srgan-compare on real pictures and saved networks: the files it writes, the figures in them, and what it refuses."""

import csv
import hashlib
import json
import math
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from srgan.cli.compare import main
from srgan.compare import scenes
from srgan.compare.inputs import find_pictures
from srgan.compare.methods import Method
from srgan.compare.report import compare, draw_sheet
from srgan.compare.scenes import Scene, pipelined, read_scene
from srgan.compare.scores import WITH_ORIGINAL, WITHOUT_ORIGINAL, mean_scores, scores_without_original
from srgan.compare.tables import Table, as_text
from srgan.errors import SRGANError
from srgan.metrics.pixels import blur, lattice, psnr_rgb, psnr_y, ssim_rgb, ssim_y
from srgan.pictures import read_rgb
from srgan.pictures.arrays import crop_to_multiple, downscale, resize_bicubic
from srgan.pictures.exif import Entry, Exif
from srgan.runtime import load_keras


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two tiny networks of scale 4 and one of scale 2, as srgan-train leaves them: runs/NAME/generator.keras."""
    keras = load_keras()
    from srgan.networks.generators import srresnet

    paths = {}
    for name, scale in (("first", 4), ("second", 4), ("half", 2)):
        keras.utils.set_random_seed(len(paths))
        paths[name] = tmp_path_factory.mktemp("runs") / name / "generator.keras"
        paths[name].parent.mkdir()
        srresnet(filters=4, blocks=1, scale=scale, normalization="none", skip="bilinear").save(paths[name])
    return {name: str(path) for name, path in paths.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three photographs of odd sizes and file formats, one of them named like markup, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.fromarray(data.chelsea()[50:213, 100:289]).save(folder / "cat.png")
    Image.fromarray(data.coffee()[100:261, 200:330]).save(folder / "coffee & <b>.jpg", quality=95)
    Image.fromarray(data.astronaut()[0:130, 160:290]).convert("L").save(folder / "gray.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing more")
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.fixture(scope="module")
def compared(models, folder, tmp_path_factory):
    """The output folder of one run of the command, its exit status, and its report."""
    output = tmp_path_factory.mktemp("compared") / "new" / "folder"
    arguments = [str(folder), "--model", models["first"], "--model", models["second"], "--precision", "float32"]
    status = main([*arguments, "--output", str(output)])
    return output, status, json.loads((output / "scores.json").read_text(encoding="utf-8"))


def test_everything_is_written_and_nothing_else(compared):
    output, _, report = compared
    written = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
    sheets = [f"sheets/{name}.png" for name in ("cat", "coffee & <b>", "gray")]
    assert written == ["index.html", "scores.csv", "scores.json", *sheets]
    assert [picture["name"] for picture in report["pictures"]] == ["cat", "coffee & <b>", "gray"]


def test_a_bad_picture_is_named_and_sets_the_exit_status(compared):
    _, status, report = compared
    assert status == 1
    (skipped,) = report["skipped"]
    assert skipped["path"].endswith("broken.png") and "cannot be read as a picture" in skipped["reason"]


def test_the_figures_are_those_of_the_models_own_pictures(compared, models, folder):
    from srgan.metrics.lpips import lpips
    from srgan.upscale.upscaler import Upscaler

    picture = compared[2]["pictures"][0]
    original = read_rgb(folder / "cat.png")[:160, :188]
    assert (picture["width"], picture["height"]) == (188, 160)
    made = Upscaler(model=models["second"], precision="float32")(downscale(original, 4))
    expected = {
        "psnr_y": psnr_y(original, made),
        "ssim_y": ssim_y(original, made),
        "lpips": lpips(original, made),
        "lattice": lattice(original, made),
        "psnr_rgb": psnr_rgb(original, made),
        "ssim_rgb": ssim_rgb(original, made),
    }
    assert picture["scores"]["second"] == pytest.approx(expected, rel=1e-3)
    assert picture["scores"]["second"] != pytest.approx(picture["scores"]["first"], rel=1e-3)
    bicubic = resize_bicubic(downscale(original, 4), 188, 160)
    assert picture["scores"]["bicubic"]["psnr_y"] == pytest.approx(psnr_y(original, bicubic))


def test_the_report_says_what_was_measured_with_what(compared, models):
    report = compared[2]
    hashes = {name: hashlib.sha256(Path(models[name]).read_bytes()).hexdigest() for name in ("first", "second")}
    assert {model["name"]: model["sha256"] for model in report["models"]} == hashes
    assert all("float32" in model["engine"] for model in report["models"])
    assert {"srgan", "python", "numpy", "pillow", "keras"} <= report["versions"].keys()
    assert report["protocol"]["scale"] == 4
    assert WITH_ORIGINAL.keys() <= report["protocol"].keys()
    for label in ("bicubic", "first", "second"):
        for key in WITH_ORIGINAL:
            values = [picture["scores"][label][key] for picture in report["pictures"]]
            assert report["means"][label][key] == pytest.approx(np.mean(values))


def test_the_csv_holds_the_same_figures(compared):
    output, _, report = compared
    with open(output / "scores.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    scores = {picture["name"]: picture["scores"] for picture in report["pictures"]} | {"mean": report["means"]}
    assert len(rows) == 4 * 3
    for row in rows:
        assert {key: float(row[key]) for key in WITH_ORIGINAL} == pytest.approx(scores[row["picture"]][row["method"]])
    hashes = {model["name"]: model["sha256"] for model in report["models"]}
    assert {row["method"]: row["sha256"] for row in rows} == {"bicubic": "", **hashes}
    assert all(row["srgan version"] and "studio luma" in row["protocol"] for row in rows)


def test_the_sheet_shows_the_detail_four_times_as_large(compared, folder):
    output = compared[0]
    pixels = np.asarray(Image.open(output / "sheets" / "cat.png").convert("RGB"))
    original = read_rgb(folder / "cat.png")[:160, :188]
    panel = pixels[-16 - 480 : -16, -16 - 480 : -16][2::4, 2::4]  # the last one below: the original's detail
    places = [(y, x) for y in range(0, 41, 4) for x in range(0, 69, 4)]
    assert any((original[y : y + 120, x : x + 120] == panel).all() for y, x in places)
    assert pixels.shape[1] == 2 * 16 + 5 * 480 + 4 * 8


def test_the_terminal_prints_the_table(models, folder, tmp_path, capsys):
    arguments = [str(folder / "cat.png"), "--model", models["first"], "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    report = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))
    head, bicubic, first, last = printed.out.splitlines()
    titles = [
        ("PSNR-Y", "↑"),
        ("SSIM-Y", "↑"),
        ("LPIPS", "↓"),
        ("Checker", "↓"),
        ("PSNR-RGB", "↑"),
        ("SSIM-RGB", "↑"),
    ]
    assert head.split() == [word for title in titles for word in title]
    figures = report["means"]["first"]
    expected = ["first", f"{figures['psnr_y']:.2f}", f"{figures['ssim_y']:.4f}", f"{figures['lpips']:.3f}"]
    assert [cell.rstrip("*") for cell in first.split()[:4]] == expected
    assert (bicubic + first).count("*") >= 5
    assert last == f"{tmp_path / 'out' / 'index.html'}: 1 compared"
    assert printed.err == ""  # no bar in a pipe, no start-up noise


def test_low_compares_without_an_original(models, folder, tmp_path):
    report = compare([folder / "cat.png"], tmp_path / "out", [models["first"]], low=True, precision="float32")
    (picture,) = report["pictures"]
    assert (picture["width"], picture["height"]) == (4 * 189, 4 * 163)
    assert picture["scores"]["bicubic"].keys() == WITHOUT_ORIGINAL.keys()
    low = read_rgb(folder / "cat.png")
    bicubic = resize_bicubic(low, 4 * 189, 4 * 163)
    again = resize_bicubic(bicubic, 189, 163)
    assert picture["scores"]["bicubic"]["lr_psnr_y"] == pytest.approx(psnr_y(low, again, 1))
    assert picture["scores"]["bicubic"]["blur"] == pytest.approx(blur(bicubic))
    sheet = Image.open(tmp_path / "out" / "sheets" / "cat.png")
    assert sheet.width == 2 * 16 + 3 * 480 + 2 * 8
    assert '"original"' not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8").split("<script>")[0]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["nowhere.png"], 2, "nowhere.png: no such picture or folder"),
        (["{folder}/notes.txt"], 1, "none of the pictures could be compared"),
        (["{folder}/cat.png", "--model", "{half}"], 2, "different factors (half x2, first x4)"),
        (["{folder}/cat.png", "--model", "{folder}/none.keras"], 2, "none.keras: no such model"),
        (["{folder}/cat.png", "--output", "{folder}/notes.txt"], 1, "notes.txt: cannot be written"),
        (["{empty}"], 2, "empty: no pictures there"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(models, folder, tmp_path, capsys, arguments, status, words):
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments = [argument.format(folder=folder, empty=empty, **models) for argument in arguments]
    output = [] if "--output" in arguments else ["--output", str(tmp_path / "out")]
    assert main([*arguments, "--model", models["first"], *output]) == status
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out" / "index.html").exists()


def test_pictures_of_one_name_are_told_apart(models, folder, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "cat.jpg").write_bytes((folder / "coffee & <b>.jpg").read_bytes())
    paths = [folder / "cat.png", tmp_path / "a", folder / "cat.png"]
    report = compare(paths, tmp_path / "out", [models["first"], models["first"]])
    assert [picture["name"] for picture in report["pictures"]] == ["cat", "cat-2"]
    assert [model["name"] for model in report["models"]] == ["first", "first-2"]
    assert {path.name for path in (tmp_path / "out" / "sheets").iterdir()} == {"cat.png", "cat-2.png"}


def sharpen(pixels):
    """A method that needs no network: bicubic with a bright patch, 40 pixels wide, put at (80, 120)."""
    enlarged = resize_bicubic(pixels, 4 * pixels.shape[1], 4 * pixels.shape[0]).copy()
    enlarged[80:120, 120:160] ^= 255
    return enlarged


def test_one_odd_photograph_costs_nothing_but_itself(models, tmp_path, capsys, monkeypatch):
    """Whatever the reader takes is compared, and what it refuses is reported; names may have any bytes."""
    folder = tmp_path / "in"
    folder.mkdir()
    image = Image.fromarray(data.astronaut()[40:104, 160:240])
    altitude = Entry(10, 1, struct.pack("<ii", -3, 1))  # signed, which Pillow cannot write
    exif = Exif("<", {0x0112: Entry(3, 1, struct.pack("<H", 6))}, gps={6: altitude})
    image.save(folder / "phone.jpg", exif=b"Exif\0\0" + exif.tobytes())
    image.convert("CMYK").save(folder / "print.tif")
    image.convert("LA").save(folder / "gray.png")
    Image.fromarray(np.asarray(image)[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    image.save(folder / os.fsdecode(b"odd\xff.png"))
    image.save(folder / "a<b>&'.png")
    Image.new("RGB", (1, 1)).save(folder / "small.png")
    (folder / "cut.jpg").write_bytes((folder / "phone.jpg").read_bytes()[:900])
    (folder / "empty.webp").touch()
    image.resize((96, 96)).save(folder / "large.png")
    real = scenes.read_rgb

    def read(path):
        if path.name == "large.png":
            raise MemoryError
        return real(path)

    monkeypatch.setattr(scenes, "read_rgb", read)
    arguments = [str(folder), "--model", models["first"], "--output", str(tmp_path / "out")]
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert "6 compared, 4 skipped" in said.out and "Traceback" not in said.err
    report = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))
    assert len(report["pictures"]) == 6 and len(report["skipped"]) == 4
    sizes = {each["name"]: (each["width"], each["height"]) for each in report["pictures"]}
    assert sizes["phone"] == (64, 80) and sizes["print"] == (80, 64)  # the phone's is upright
    assert "index.html" in os.listdir(tmp_path / "out")


def test_the_detail_is_where_the_models_differ_most():
    from srgan.compare.report import detail_box

    low = downscale(data.chelsea()[:300, :448], 4)
    scene = Scene(None, 4, low, {"bicubic": resize_bicubic(low, 448, 300), "model": sharpen(low)})
    top, left, height, width = detail_box(scene)
    assert (height, width) == (120, 120)
    assert top <= 80 and left <= 120 and top + height >= 120 and left + width >= 160
    assert top % 4 == left % 4 == 0


def test_a_picture_too_small_is_refused(tmp_path):
    Image.new("RGB", (11, 40)).save(tmp_path / "thin.png")
    with pytest.raises(SRGANError, match="thin.png: 11x40 pixels are too few"):
        read_scene(tmp_path / "thin.png", 4)


def test_a_very_tall_picture_has_a_sheet_of_its_detail_only():
    low = np.random.default_rng(0).integers(0, 256, (300, 12, 3), dtype=np.uint8)
    large = resize_bicubic(low, 48, 1200)
    scene = Scene(None, 4, low, {"bicubic": large, "model": large[::-1]})
    drawn = draw_sheet(scene, scene.scores(), (400, 0, 120, 48))
    assert drawn.height < 700
    panel = np.asarray(drawn)[-16 - 480 : -16, -16 - 192 : -16][2::4, 2::4]
    assert (panel == large[::-1][400:520]).all()


def test_figures_that_are_not_defined_do_not_spoil_the_rest(tmp_path, monkeypatch):
    Image.fromarray(data.chelsea()[50:68, 60:80]).save(tmp_path / "tiny.png")  # 18 pixels: no SSIM, no LPIPS
    Image.new("RGB", (64, 64), "gray").save(tmp_path / "flat.png")  # bicubic gives it back: infinite PSNR
    method = Method(
        "model", tmp_path, "0", "numpy", lambda low: resize_bicubic(low, 4 * low.shape[1], 4 * low.shape[0])
    )
    monkeypatch.setattr("srgan.compare.report.load_methods", lambda models, **options: ([method], 4))
    report = compare([tmp_path], tmp_path / "out", [])
    flat, tiny = (picture["scores"]["bicubic"] for picture in report["pictures"])
    assert flat["psnr_y"] == math.inf and flat["lpips"] == 0
    assert tiny["psnr_y"] > 10 and all(math.isnan(tiny[key]) for key in ("ssim_y", "lpips", "lattice"))
    assert report["means"]["bicubic"]["ssim_y"] == flat["ssim_y"]
    strict = json.loads((tmp_path / "out" / "scores.json").read_text(), parse_constant=pytest.fail)
    assert strict["pictures"][0]["scores"]["bicubic"]["psnr_y"] is None


def test_work_goes_on_past_a_failure_and_stays_in_order():
    made = []

    def make(number):
        made.append(number)
        if number == 3:
            raise SRGANError("made badly")
        return number

    def finish(number):
        if number == 5:
            raise SRGANError("finished badly")
        return number * number

    outcomes = list(pipelined(range(40), make, finish))
    assert made == [number for number, _ in outcomes] == list(range(40))
    assert [str(outcomes[3][1]), str(outcomes[5][1])] == ["made badly", "finished badly"]
    assert [outcome for number, outcome in outcomes if number not in (3, 5)] == [
        n * n for n in range(40) if n not in (3, 5)
    ]


def test_only_a_few_pictures_are_held_at_a_time():
    made = []
    steps = pipelined(range(100), lambda number: made.append(number), lambda _: None)
    next(steps)
    assert len(made) < 20
    steps.close()


def test_a_folder_gives_its_pictures_sorted_and_once(folder):
    names = [path.name for path in find_pictures([folder, folder / "cat.png"])]
    assert names == ["broken.png", "cat.png", "coffee & <b>.jpg", "gray.png"]


def test_scores_that_print_alike_are_equally_good():
    means = {
        "a": {"psnr_y": 30.001, "lpips": 0.2},
        "b": {"psnr_y": 29.999, "lpips": 0.1},
        "c": {"psnr_y": math.nan, "lpips": 0.3},
    }
    lines = [line.split() for line in as_text(Table({"": means})).splitlines()]
    assert lines[1:] == [["a", "30.00*", "0.200"], ["b", "30.00*", "0.100*"], ["c", "–", "0.300"]]


def test_means_leave_out_what_is_not_defined():
    pictures = [
        {"scores": {"a": {"psnr_y": 1.0}}},
        {"scores": {"a": {"psnr_y": math.nan}}},
        {"scores": {"a": {"psnr_y": 2.0}}},
    ]
    assert mean_scores(pictures, ["a"], ["psnr_y"]) == {"a": {"psnr_y": 1.5}}


def test_being_sharp_and_being_true_to_the_input_are_told_apart():
    low = downscale(data.coffee()[:200, :200], 4)
    soft = resize_bicubic(low, 200, 200)
    wrong = np.random.default_rng(0).integers(0, 256, soft.shape, dtype=np.uint8)
    scores = [scores_without_original(low, picture, 4) for picture in (soft, wrong)]
    assert scores[0]["lr_psnr_y"] > scores[1]["lr_psnr_y"] + 10
    assert scores[0]["blur"] > scores[1]["blur"]


def test_low_resolutions_can_be_jpegs(models, folder, tmp_path, capsys):
    arguments = [str(folder / "cat.png"), "--model", models["first"], "--output"]
    assert main([*arguments, str(tmp_path / "out"), "--jpeg", "30"]) == 0
    report = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))
    original = crop_to_multiple(read_rgb(folder / "cat.png"), 4)
    height, width = original.shape[:2]
    Image.fromarray(downscale(original, 4)).save(tmp_path / "low.jpg", quality=30, subsampling="4:2:0")
    bicubic = resize_bicubic(read_rgb(tmp_path / "low.jpg"), width, height)
    assert report["means"]["bicubic"]["psnr_y"] == pytest.approx(psnr_y(original, bicubic, 4))
    assert "JPEG of quality 30" in report["protocol"]["low"] and report["jpeg"] == 30
    capsys.readouterr()
    for option, *wrong in (
        ["jpeg", "0"],
        ["jpeg", "101"],
        ["jpeg", "90", "--low"],
        ["blur", "0.8", "--low"],
        ["noise", "-1"],
    ):
        assert main([*arguments, str(tmp_path / "none"), f"--{option}", *wrong]) == 2
        assert capsys.readouterr().err.count(f"{option}: ") == 1
    assert not (tmp_path / "none").exists()
