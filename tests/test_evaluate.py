"""scripts/evaluate.py: its table, predictions of other programs, and the literature's figures by one command."""

import hashlib

import numpy as np
import pytest
from helpers import load_script, run_python
from PIL import Image
from skimage import data

from srgan import images, metrics
from srgan.errors import SRGANError

evaluate = load_script("evaluate")


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """A test set of two pictures laid out as the literature's, and bicubic's enlargements in two other folders.

    The first has the set's name and other endings; the second has noise in them and is wider than a multiple of 4.
    """
    folder = tmp_path_factory.mktemp("evaluate")
    pictures = {"1": data.chelsea()[50:183, 100:235], "10": data.coffee()[100:228, 200:328]}
    for name in ("Set2/HR", "exact/Set2", "noisy"):
        (folder / name).mkdir(parents=True)
    for name, original in pictures.items():
        Image.fromarray(original).save(folder / "Set2" / "HR" / f"{name}.png")
        original = images.crop_to_multiple(original, 4)
        height, width = original.shape[:2]
        bicubic = images.resize_bicubic(images.downscale(original, 4), width, height)
        Image.fromarray(bicubic).save(folder / "exact" / "Set2" / f"{name}_x4.png")
        noise = np.random.default_rng(0).integers(0, 9, bicubic.shape)
        noisy = np.clip(bicubic.astype(int) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(np.pad(noisy, ((0, 1), (0, 3), (0, 0)))).save(folder / "noisy" / f"{name}.png")
    return folder


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def rows_of(output):
    """The table of an output as {(set, score): {column: cell}}."""
    lines = [cells(line) for line in output.splitlines() if line.startswith("|")]
    head, _, *body = lines
    return {(row[0], row[1].split()[0]): dict(zip(head[2:], row[2:], strict=True)) for row in body}


def test_predictions_are_measured_like_models(benchmark, tmp_path, capsys):
    from srgan.networks.generator import srresnet

    model = tmp_path / "runs" / "mine" / "generator.keras"
    model.parent.mkdir(parents=True)
    srresnet(filters=4, blocks=1, normalization="none", skip="bilinear").save(model)
    status = evaluate.main(
        ["--model", str(model), "--data", f"Set2={benchmark / 'Set2'}"]
        + ["--prediction-dir", f"same={benchmark / 'exact'}", "--prediction-dir", str(benchmark / "noisy")]
    )
    printed = capsys.readouterr().out
    assert status == 0
    rows = rows_of(printed)
    assert list(rows) == [("Set2", "PSNR-Y"), ("Set2", "SSIM-Y"), ("Set2", "LPIPS")]
    assert list(rows["Set2", "PSNR-Y"]) == ["bicubic", "mine", "same", "noisy"]
    for row in rows.values():
        assert row["bicubic"] == row["same"] != row["noisy"]
        assert any(cell.startswith("**") for cell in row.values())
    expected = []
    for path in (benchmark / "Set2" / "HR").iterdir():
        original = images.crop_to_multiple(images.read_rgb(path), 4)
        height, width = original.shape[:2]
        noisy = images.read_rgb(benchmark / "noisy" / path.name)[:height, :width]
        expected.append(metrics.psnr_y(original, noisy))
    assert rows["Set2", "PSNR-Y"]["noisy"] == f"{np.mean(expected):.2f}"
    assert hashlib.sha256(model.read_bytes()).hexdigest() in printed
    assert "float32" in printed and "BT.601" in printed


def test_what_fails_is_named_and_sets_the_exit_status(benchmark, tmp_path, capsys):
    (tmp_path / "1.png").write_bytes((benchmark / "noisy" / "1.png").read_bytes())
    status = evaluate.main(["--data", f"Set2={benchmark / 'Set2'}", "--prediction-dir", f"part={tmp_path}"])
    printed = capsys.readouterr()
    assert status == 1
    assert f"{tmp_path / '10'}: no such picture" in printed.err
    assert rows_of(printed.out)["Set2", "PSNR-Y"]["part"] != "–"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--data", "{folder}/Set2"], 2, "nothing to evaluate"),
        (["--data", "{folder}/none", "--prediction-dir", "{folder}/noisy"], 2, "none: no such picture or folder"),
        (["--data", "{folder}/Set2", "--prediction-dir", "{folder}/none"], 2, "none: no such folder of predictions"),
        (["--data", "{folder}/Set2", "--model", "{folder}/none.keras"], 1, "none.keras: no such model"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(benchmark, capsys, arguments, status, words):
    assert evaluate.main([argument.format(folder=benchmark) for argument in arguments]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_predictions_are_found_by_name_and_checked(tmp_path):
    original = np.zeros((16, 20, 3), np.uint8)
    for name, size in {
        "1_x4": (20, 16),
        "10": (20, 16),
        "twice-a": (20, 16),
        "twice-b": (20, 16),
        "wide": (40, 32),
    }.items():
        Image.new("RGB", size, "white").save(tmp_path / f"{name}.png")
    find = lambda name: evaluate.read_prediction(tmp_path, tmp_path / f"{name}.jpg", original, 4)
    assert find("1").shape == original.shape  # and not 10.png
    for name, words in (
        ("twice", "2 pictures begin so"),
        ("nix", "no such picture"),
        ("wide", "has 40x32 pixels, the original 20x16"),
    ):
        with pytest.raises(SRGANError, match=words):
            find(name)


def test_published_figures_stand_beside_known_sets_only():
    figures = {"psnr_y": 30.0, "ssim_y": 0.9, "lpips": 0.1}
    known = rows_of(evaluate.markdown({"Set14": {"bicubic": figures}}, ["bicubic"]))
    assert known["Set14", "PSNR-Y"]["SRResNet (published)"] == "28.49"
    assert known["Set14", "LPIPS"]["SRGAN (published)"] == "0.166"
    assert known["Set14", "LPIPS"]["SRResNet (published)"] == "–"
    assert list(rows_of(evaluate.markdown({"mine": {"bicubic": figures}}, ["bicubic"]))["mine", "LPIPS"]) == ["bicubic"]


def test_one_command_prints_the_literatures_bicubic(shared, tmp_path):
    """MATLAB's low resolutions, enlarged elsewhere, come out as ours do, in a process of its own."""
    folder = shared / "data" / "benchmarks" / "Set5"
    for path in (folder / "LRx4_matlab").iterdir():
        low = images.read_rgb(path)
        enlarged = images.resize_bicubic(low, 4 * low.shape[1], 4 * low.shape[0])
        Image.fromarray(enlarged).save(tmp_path / path.name)
    ran = run_python("scripts/evaluate.py", "--data", f"Set5={folder}", "--prediction-dir", f"MATLAB={tmp_path}")
    assert (ran.returncode, ran.stderr) == (0, "")
    rows = rows_of(ran.stdout)
    for score, figure in (("PSNR-Y", "28.43"), ("SSIM-Y", "0.8111"), ("LPIPS", "0.340")):
        row = rows["Set5", score]
        assert row["bicubic"].strip("*") == figure
        assert float(row["MATLAB"].strip("*")) == pytest.approx(float(figure), abs=0.011)
