"""What srgan-compare and srgan-evaluate have in common: names, predictions, folders, and tables in every form."""

import csv
import io
import json
import re
import shutil

import numpy as np
import pytest
from helpers import run_command
from PIL import Image
from skimage import data
from upscaling import in_adobe_rgb, make_model

from srgan.cli import compare, evaluate
from srgan.compare.methods import load_methods, parse_model
from srgan.compare.tables import Table, as_csv, as_latex, as_markdown, as_text
from srgan.errors import UsageError
from srgan.pictures import read_rgb
from srgan.pictures.arrays import crop_to_multiple, downscale, resize_bicubic

SCORES = ("psnr_y", "ssim_y", "lpips", "lattice")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run folder called mine, with both generators."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    folder.mkdir()
    for seed, name in enumerate(("generator", "generator-pixel")):
        make_model(folder / f"{name}.keras", seed=seed, skip="bilinear")
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A test set of two pictures in Set2/HR, one in Set2/LR, and what "another program" made of the two in made/."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("Set2/HR", "Set2/LR", "made"):
        (folder / name).mkdir(parents=True)
    for name, original in {"cat": data.chelsea()[50:179, 100:230], "cup": data.coffee()[100:228, 200:328]}.items():
        Image.fromarray(original).save(folder / "Set2" / "HR" / f"{name}.png")
        original = crop_to_multiple(original, 4)
        bicubic = resize_bicubic(downscale(original, 4), original.shape[1], original.shape[0])
        Image.fromarray(bicubic // 2 + original // 2).save(folder / "made" / f"{name}_out.png")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / "Set2" / "LR" / "cat.png")
    return folder


def rows(text):
    return {row["method"]: row for row in csv.DictReader(io.StringIO(text))}


def test_both_commands_print_the_same_figures(tree, run_folder, tmp_path, capsys):
    """Of the pictures in HR, with several models after one --model, names, strengths and another program's pictures."""
    options = ["--model", f"own={run_folder}@0.5", str(run_folder / "generator-pixel.keras"), f"{run_folder}@0.25"]
    options += ["--prediction-dir", f"theirs={tree / 'made'}", "--csv", "-"]
    assert evaluate.main(["--data", str(tree / "Set2"), *options]) == 0
    measured = rows(capsys.readouterr().out)
    assert compare.main([str(tree / "Set2"), "--output", str(tmp_path / "page"), *options]) == 0
    compared = rows(capsys.readouterr().out)
    assert list(measured) == list(compared) == ["bicubic", "own", "mine-pixel", "mine@0.25", "theirs"]
    for label in measured:
        assert [measured[label][key] for key in SCORES] == [compared[label][key] for key in SCORES]
    assert float(measured["theirs"]["psnr_y"]) > float(measured["bicubic"]["psnr_y"]) + 3
    report = json.loads((tmp_path / "page" / "scores.json").read_text())
    assert [picture["name"] for picture in report["pictures"]] == ["cat", "cup"]
    assert report["predictions"] == [{"name": "theirs", "path": str(tree / "made")}]
    assert all("float32" in model["engine"] for model in report["models"])
    assert "theirs" in (tmp_path / "page" / "index.html").read_text()


def test_two_files_are_compared_by_name(tree, tmp_path):
    """A picture and what another program made of it, without any model; and an enlargement without its original."""
    original, made = tree / "Set2" / "HR" / "cat.png", tree / "made" / "cat_out.png"
    done = run_command("compare", original, "--prediction-dir", f"after={made}", "--output", tmp_path / "page")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "page" / "scores.json").read_text())
    assert list(report["means"]) == ["bicubic", "after"] and report["models"] == []
    Image.fromarray(downscale(crop_to_multiple(read_rgb(original), 4), 4)).save(tmp_path / "low.png")
    options = ["--low", "--prediction-dir", str(made), "--output", str(tmp_path / "low")]
    assert compare.main([str(tmp_path / "low.png"), *options]) == 0
    report = json.loads((tmp_path / "low" / "scores.json").read_text())
    assert list(report["means"]["cat_out"]) == ["lr_psnr_y", "blur", "flat_luma", "flat_chroma"]


def test_what_a_folder_holds_beside_its_pictures_is_said(tree, tmp_path, capsys):
    (tmp_path / "photos" / "a").mkdir(parents=True)
    Image.open(tree / "made" / "cat_out.png").save(tmp_path / "photos" / "cat.png")
    (tmp_path / "photos" / "clip.MOV").touch()
    options = ["--prediction-dir", str(tree / "made"), "--csv", "-"]
    for main, source in ((evaluate.main, ["--data"]), (compare.main, ["--output", str(tmp_path / "page")])):
        assert main([*source, str(tmp_path / "photos"), *options]) == 0
        assert capsys.readouterr().err.splitlines() == [
            "srgan: 1 file of other kinds left out (1 mov)",
            f"srgan: the folder {tmp_path / 'photos' / 'a'} is not looked into; --recursive includes subfolders",
        ]


def test_denoise_is_for_the_models_that_have_weights_for_it(tree, tmp_path, capsys):
    for seed, name in enumerate(("mine", "mine-denoise1", "plain")):
        make_model(tmp_path / f"{name}.keras", seed=seed)
    both = [str(tmp_path / f"{name}.keras") for name in ("mine", "plain")]
    command = ["--data", str(tree / "Set2"), "--denoise", "1", "--csv", "-"]
    assert evaluate.main([*command, "--model", *both]) == 0
    done = capsys.readouterr()
    assert "plain.keras: has no weights for --denoise, which does nothing to it" in done.err
    assert "mine denoise 1" in done.out and "plain denoise" not in done.out
    assert evaluate.main([*command, "--model", both[1]]) == 2
    assert "plain.keras: has no weights for more and less noise" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prediction-dir", "{tree}/none"], "none: no such folder of predictions, nor a file"),
        (["--prediction-dir", "{tree}/made/cat_out.png"], "cat_out.png: is one picture, and 2 are compared"),
        (["--prediction-dir", "{tree}/made", "--jpeg", "50"], "--jpeg: --prediction-dir holds what was made"),
        (["--prediction-dir", "bicubic={tree}/made"], "--prediction-dir: bicubic is taken; name the folder NAME=PATH"),
        (["--model", "srresnet", "--strength", "0.5"], "pass --pixel-model"),
        (["--model", "{tree}/none.keras@0.5"], "none.keras: no such model"),
    ],
)
def test_both_refuse_the_same_in_one_line(options, words, tree, tmp_path, capsys):
    options = [option.format(tree=tree) for option in options]
    for main, source in ((evaluate.main, ["--data"]), (compare.main, ["--output", str(tmp_path / "page")])):
        assert main([*source, str(tree / "Set2"), *options]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
    assert not (tmp_path / "page").exists()


def damage_run(kind, folder):
    """Do something to a run folder; return what is said of it as a model."""
    generator, run = folder / "generator.keras", "a run folder without generator.keras"
    content = bytearray(generator.read_bytes())
    if kind == "cut off":
        generator.write_bytes(content[:3000])
        return 1, "not a Keras model"
    if kind == "zeros":
        half = len(content) // 2
        generator.write_bytes(content[:half] + bytes(400) + content[half + 400 :])
        return 1, "damaged, or cannot be loaded as a Keras model"
    generator.unlink()
    if kind == "a folder":
        generator.mkdir()
    elif kind == "not yet":
        (folder / "generator-pixel.keras").unlink()
        (folder / "config.yaml").touch()
        return 2, f"{run}, which srgan-train writes after each epoch"
    elif kind == "empty":
        (folder / "generator-pixel.keras").unlink()
        return 2, "a folder without generator.keras, so no run folder of srgan-train"
    return 2, f"{run}; name one of its files, such as {folder / 'generator-pixel.keras'}"


@pytest.mark.parametrize("kind", ["cut off", "zeros", "gone", "a folder", "not yet", "empty"])
def test_a_damaged_or_half_run_folder_is_one_line(kind, tree, run_folder, tmp_path):
    folder = shutil.copytree(run_folder, tmp_path / "mine")
    status, words = damage_run(kind, folder)
    for command, *source in (["evaluate", "--data"], ["compare", "-o", tmp_path / "page"]):
        done = run_command(command, *source, tree / "Set2", "-m", folder)
        (line,) = done.stderr.splitlines()
        assert done.returncode == status and line.startswith(f"srgan: {folder}") and words in line


def test_folders_in_a_folder_are_taken_on_request(tree, tmp_path, capsys):
    (tmp_path / "photos" / "a" / ".hidden").mkdir(parents=True)
    for place in ("a", "a/.hidden"):
        Image.open(tree / "made" / "cat_out.png").save(tmp_path / "photos" / place / "cat.png")
    options = ["--prediction-dir", str(tree / "made"), "--csv", "-"]
    for source in (["--data"], ["--output", str(tmp_path / "page")]):
        main = evaluate.main if source == ["--data"] else compare.main
        assert main([*source, str(tmp_path / "photos"), *options]) == 2
        assert "no pictures there; --recursive takes the folders in it" in capsys.readouterr().err
        assert main([*source, str(tmp_path / "photos"), *options, "--recursive"]) == 0
        said = capsys.readouterr()
        assert float(rows(said.out)["made"]["psnr_y"]) > 60 and said.err == ""
    assert len(json.loads((tmp_path / "page" / "scores.json").read_text())["pictures"]) == 1


def test_another_scale_than_the_models(tree, run_folder, capsys):
    two = [make_model(run_folder.parent / "two.keras", scale=2, skip="bilinear"), run_folder]
    arguments = ["--data", str(tree / "Set2"), "--csv", "-", "--model", *map(str, two)]
    assert evaluate.main(arguments) == 2
    assert "two x2, mine x4): pass --scale" in capsys.readouterr().err
    assert evaluate.main([*arguments, "--scale", "2"]) == 0
    at_two = rows(capsys.readouterr().out)
    original = [crop_to_multiple(read_rgb(path), 2) for path in sorted((tree / "Set2" / "HR").iterdir())]
    from srgan.metrics.pixels import psnr_y

    expected = [psnr_y(each, resize_bicubic(downscale(each, 2), each.shape[1], each.shape[0]), 2) for each in original]
    assert float(at_two["bicubic"]["psnr_y"]) == pytest.approx(np.mean(expected))
    assert set(at_two) == {"bicubic", "two", "mine"}


def test_models_are_named(run_folder, tmp_path):
    blend, odd = run_folder / "generator.keras", tmp_path / "a=b@0.5.keras"
    odd.write_bytes(blend.read_bytes())
    assert parse_model(odd) == parse_model(None)[:1] + (odd, None)
    assert parse_model(f"x={blend}@.5") == ("x", str(blend), 0.5)
    assert parse_model("srgan-photo@0.3") == (None, "srgan-photo", 0.3)
    assert parse_model("a@b") == (None, "a@b", None)
    methods, _ = load_methods([run_folder, blend, f"mine={blend}", run_folder / "generator-pixel.keras", odd])
    assert [method.label for method in methods] == ["mine", "mine-2", "mine-3", "mine-pixel", "a=b@0.5"]
    methods, _ = load_methods([run_folder, f"{run_folder}@1"], strength=0.75)
    assert [method.label for method in methods] == ["mine@0.75", "mine"]
    with pytest.raises(UsageError, match="strength: 1.5 is not between"):
        load_methods([f"{run_folder}@1.5"])


LONG = "a-run-folder-with-a-name-that-says-all-about-the-configuration-it-was-trained-with-and-more"
GROUPS = {
    "Set5": {
        "bicubic": dict.fromkeys(SCORES, 0.5) | {"flat_luma": 1.0, "flat_chroma": 1.0},
        LONG: dict.fromkeys(SCORES, 0.7) | {"flat_luma": float("nan"), "flat_chroma": 2.0},
        "50 % & a_b": dict.fromkeys(SCORES, 0.6) | {"flat_luma": 3.0, "flat_chroma": float("inf")},
    }
}


def test_a_terminals_table_fits_80_columns():
    for groups in (GROUPS, {"": {"short": GROUPS["Set5"]["bicubic"], "other": GROUPS["Set5"][LONG]}}):
        text = as_text(Table(groups, "Set", comparable=True))
        assert max(map(len, text.splitlines())) <= 80
        for title in ("PSNR-Y", "SSIM-Y", "LPIPS", "Checker", "Flat noise, luma", "Flat noise, chroma"):
            assert text.count(f"{title} ") == 1
    lines = as_text(Table(GROUPS, "Set", comparable=True)).splitlines()
    assert lines[0] == "Set5"
    (first, *_) = [line for line in lines if line.startswith(LONG[:15])]
    assert "…" in first and "-and-more" in first and "0.70*" in first
    assert any(line.startswith("SRGAN (published)") and "29.40" in line for line in lines)


def test_a_papers_table_is_latex():
    text = as_latex(Table(GROUPS, "Set", comparable=True))
    head, *body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert all(line.count(" & ") == head.count(" & ") == 7 for line in body)
    assert r"50 \% \& a\_b" in text and r"\textbf{0.70}" in text and r"$\infty$" in text
    assert re.fullmatch(r"\\begin\{tabular\}\{llrrrrrr\}.*\\toprule.*\\bottomrule.*\\end\{tabular\}", text, re.DOTALL)
    assert not any(character in text for character in "↑↓–∞")


def test_every_form_has_every_figure():
    table = Table(GROUPS, "Set")
    found = list(csv.DictReader(io.StringIO(as_csv([table]))))
    assert [row["method"] for row in found] == list(GROUPS["Set5"]) and found[1]["flat_luma"] == ""
    assert found[0] == {"set": "Set5", "method": "bicubic"} | {
        key: str(v) for key, v in GROUPS["Set5"]["bicubic"].items()
    }
    assert "| Set5 | PSNR-Y ↑ | 0.50 | **0.70** | 0.60 |" in as_markdown(table)


def test_tables_go_to_files_and_the_terminals_stays(tree, tmp_path, capsys):
    names = {name: tmp_path / f"table.{name}" for name in ("csv", "markdown", "latex")}
    options = [text for name, path in names.items() for text in (f"--{name}", str(path))]
    arguments = ["--data", str(tree / "Set2"), "--prediction-dir", str(tree / "made")]
    assert evaluate.main([*arguments, *options]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Set2\n") and "PSNR-Y: " in printed
    assert names["csv"].read_text().startswith("set,method,psnr_y")
    assert names["markdown"].read_text().startswith("| Set |") and "PSNR-Y: " in names["markdown"].read_text()
    assert names["latex"].read_text().startswith(r"\begin{tabular}")
    assert evaluate.main([*arguments, "--csv", str(tmp_path / "none" / "table.csv")]) == 1
    assert "table.csv: cannot be written" in capsys.readouterr().err.splitlines()[-1]


def test_colours_are_compared_as_their_profile_means_them(tree, tmp_path, capsys):
    """A photograph in Adobe RGB, as cameras save it, and the same in sRGB have the same figures."""
    inside, wide, adobe = in_adobe_rgb(Image.open(tree / "Set2" / "HR" / "cup.png"))
    for name, picture, profile in (("srgb", inside, None), ("adobe", wide, adobe)):
        (tmp_path / name).mkdir()
        picture.save(tmp_path / name / "cup.png", icc_profile=profile)
    assert np.abs(read_rgb(tmp_path / "adobe" / "cup.png").astype(int) - inside).max() <= 2
    found = []
    for name in ("srgb", "adobe"):
        options = ["--prediction-dir", f"same={tmp_path / 'srgb'}", "--csv", "-"]
        assert evaluate.main(["--data", str(tmp_path / name), *options]) == 0
        found.append(rows(capsys.readouterr().out))
    assert float(found[1]["bicubic"]["psnr_y"]) == pytest.approx(float(found[0]["bicubic"]["psnr_y"]), abs=0.1)
    assert float(found[1]["same"]["psnr_y"]) > 45
