"""srgan-evaluate: its tables, of pictures and of clips, other programs' predictions, and the literature's figures."""

import hashlib
import shutil
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from helpers import SAMPLE, run_command
from PIL import Image
from skimage import data

from srgan.cli import evaluate as command
from srgan.clips.reading import open_clip
from srgan.compare.methods import Method
from srgan.compare.predictions import read_prediction
from srgan.compare.scenes import read_clip, score_frames
from srgan.compare.tables import Table, as_markdown
from srgan.errors import SRGANError
from srgan.metrics.flicker import flicker, follow
from srgan.metrics.pixels import lattice, psnr_y, ssim_y
from srgan.pictures import read_rgb
from srgan.pictures.arrays import crop_to_multiple, downscale, resize_bicubic


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
        original = crop_to_multiple(original, 4)
        height, width = original.shape[:2]
        bicubic = resize_bicubic(downscale(original, 4), width, height)
        Image.fromarray(bicubic).save(folder / "exact" / "Set2" / f"{name}_x4.png")
        noise = np.random.default_rng(0).integers(0, 9, bicubic.shape)
        noisy = np.clip(bicubic.astype(int) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(np.pad(noisy, ((0, 1), (0, 3), (0, 0)))).save(folder / "noisy" / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A network of 4 filters that is called mine."""
    from srgan.networks.generators import srresnet

    path = tmp_path_factory.mktemp("own") / "mine" / "generator.keras"
    path.parent.mkdir()
    srresnet(filters=4, blocks=1, normalization="none", skip="bilinear").save(path)
    return path


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """12 frames of a pan over a photograph, 10 a second: clip.mkv, without loss, and the folder frames/, 1.png to 12.png."""
    folder = tmp_path_factory.mktemp("footage")
    photo = read_rgb(SAMPLE / "val" / "raccoon.jpg")
    (folder / "frames").mkdir()
    with av.open(str(folder / "clip.mkv"), "w") as film:
        stream = film.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 98, 66, "bgr0"
        for index in range(12):
            frame = photo[300 + index : 366 + index, 400 + 2 * index : 498 + 2 * index]
            Image.fromarray(frame).save(folder / "frames" / f"{index + 1}.png")
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        film.mux(stream.encode(None))
    return folder


def main(arguments):
    """The command, with its table as Markdown."""
    return command.main([*arguments, "--markdown", "-"])


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def rows_of(output):
    """The table of an output as {(set, score): {column: cell}}."""
    lines = [cells(line) for line in output.splitlines() if line.startswith("|")]
    head, _, *body = lines
    return {(row[0], row[1].rsplit(" ", 1)[0]): dict(zip(head[2:], row[2:], strict=True)) for row in body}


def test_predictions_are_measured_like_models(benchmark, own, capsys):
    status = main(
        ["--model", str(own), "--data", f"Set2={benchmark / 'Set2'}"]
        + ["--prediction-dir", f"same={benchmark / 'exact'}", "--prediction-dir", str(benchmark / "noisy")]
    )
    printed = capsys.readouterr().out
    assert status == 0
    rows = rows_of(printed)
    scores = ["PSNR-Y", "SSIM-Y", "LPIPS", "Checker", "Flat noise, luma", "Flat noise, chroma"]
    assert list(rows) == [("Set2", score) for score in scores]
    assert list(rows["Set2", "PSNR-Y"]) == ["bicubic", "mine", "same", "noisy"]
    for row in rows.values():
        assert row["bicubic"] == row["same"] != row["noisy"]
        assert any(cell.startswith("**") for cell in row.values())
    expected = []
    for path in (benchmark / "Set2" / "HR").iterdir():
        original = crop_to_multiple(read_rgb(path), 4)
        height, width = original.shape[:2]
        noisy = read_rgb(benchmark / "noisy" / path.name)[:height, :width]
        expected.append(psnr_y(original, noisy))
    assert rows["Set2", "PSNR-Y"]["noisy"] == f"{np.mean(expected):.2f}"
    assert hashlib.sha256(own.read_bytes()).hexdigest() in printed
    assert "float32" in printed and "BT.601" in printed


@pytest.mark.parametrize("source", ["pictures", "clip"])
@pytest.mark.parametrize(
    "steps", [[["--jpeg", "60"], ["--jpeg", "10"]], [["--blur", "0.8"], ["--blur", "0.8", "--noise", "12"]]]
)
def test_the_more_a_low_resolution_suffers_the_harder(source, steps, benchmark, own, footage, capsys):
    sources = {
        "pictures": ["--data", f"Set5={benchmark / 'Set2'}"],
        "clip": ["--clips", str(footage / "clip.mkv"), "--frames", "2"],
    }[source]
    found = []
    for option in ([], *steps):
        assert main(["--model", str(own), *sources, *option]) == 0
        printed = capsys.readouterr().out
        assert ("JPEG of quality" in printed) == ("--jpeg" in option)
        assert ("then blurred by a Gaussian of 0.8 pixels" in printed) == ("--blur" in option)
        assert ("Gaussian noise of 12 levels" in printed) == ("--noise" in option)
        assert ("(published)" in printed) == (source == "pictures" and not option)  # of Set5, but of clean ones
        (figures,) = [cells for (_, score), cells in rows_of(printed).items() if score == "PSNR-Y"]
        found.append(float(figures["bicubic"].strip("*")))
    assert found == sorted(found, reverse=True) and found[0] > found[1] > found[2]
    for wrong in (["--jpeg", "0"], ["--blur", "-1"], ["--noise", "300"]):
        assert main(["--model", str(own), *sources, *wrong]) == 2


def test_what_fails_is_named_and_sets_the_exit_status(benchmark, tmp_path, capsys):
    (tmp_path / "1.png").write_bytes((benchmark / "noisy" / "1.png").read_bytes())
    status = main(["--data", f"Set2={benchmark / 'Set2'}", "--prediction-dir", f"part={tmp_path}"])
    printed = capsys.readouterr()
    assert status == 1
    assert f"{tmp_path / '10'}: no such picture" in printed.err
    assert rows_of(printed.out)["Set2", "PSNR-Y"]["part"] != "–"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--data", "{folder}/Set2"], 2, "nothing to evaluate"),
        (["--data", "{folder}/none", "--prediction-dir", "{folder}/noisy"], 2, "none: no such picture or folder"),
        (["--data", "{folder}/Set2", "--prediction-dir", "{folder}/noisy", "--jpeg", "75"], 2, "--jpeg: "),
        (["--data", "{folder}/Set2", "--prediction-dir", "{folder}/noisy", "--noise", "3"], 2, "--noise: "),
        (["--data", "{folder}/Set2", "--prediction-dir", "{folder}/none"], 2, "none: no such folder of predictions"),
        (["--data", "{folder}/Set2", "--model", "{folder}/none.keras"], 2, "none.keras: no such model"),
        (["--model", "srresnet"], 2, "nothing to evaluate on: pass --data or --clips"),
        (["--clips", "{folder}/none.mp4", "--model", "srresnet"], 2, "none.mp4: no such clip"),
        (["--clips", "{folder}/noisy", "--prediction-dir", "{folder}/noisy"], 2, "nothing to evaluate: pass --model"),
        (["--clips", "{folder}/noisy", "{folder}/noisy", "--model", "srresnet"], 2, "two clips have one name"),
        (["--data", "{folder}/Set2", "--model", "srresnet", "--strip", "strip.png"], 2, "pass --clips"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(benchmark, capsys, arguments, status, words):
    assert main([argument.format(folder=benchmark) for argument in arguments]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_predictions_are_found_by_name_and_checked(tmp_path):
    for name, size in {
        "1_x4": (20, 16),
        "10": (20, 16),
        "twice-a": (20, 16),
        "twice-b": (20, 16),
        "wide": (40, 32),
    }.items():
        Image.new("RGB", size, "white").save(tmp_path / f"{name}.png")

    def find(name):
        return read_prediction(tmp_path, tmp_path / f"{name}.jpg", (16, 20), 4)

    assert find("1").shape == (16, 20, 3)  # and not 10.png
    for name, words in (
        ("twice", "2 pictures begin so"),
        ("nix", "no such picture"),
        ("wide", "has 40x32 pixels, 20x16 are expected"),
    ):
        with pytest.raises(SRGANError, match=words):
            find(name)


def test_published_figures_stand_beside_known_sets_only():
    figures = {"psnr_y": 30.0, "ssim_y": 0.9, "lpips": 0.1, "lattice": 0.0}
    known = rows_of(as_markdown(Table({"Set14": {"bicubic": figures}}, "Set", comparable=True)))
    assert known["Set14", "PSNR-Y"]["SRResNet (published)"] == "28.49"
    assert known["Set14", "LPIPS"]["SRGAN (published)"] == "0.166"
    assert known["Set14", "LPIPS"]["SRResNet (published)"] == "–"
    assert list(
        rows_of(as_markdown(Table({"mine": {"bicubic": figures}}, "Set", comparable=True)))["mine", "LPIPS"]
    ) == ["bicubic"]


def test_one_command_prints_the_literatures_bicubic(shared, tmp_path):
    """MATLAB's low resolutions, enlarged elsewhere, come out as ours do, in a process of its own."""
    folder = shared / "data" / "benchmarks" / "Set5"
    for path in (folder / "LRx4_matlab").iterdir():
        low = read_rgb(path)
        enlarged = resize_bicubic(low, 4 * low.shape[1], 4 * low.shape[0])
        Image.fromarray(enlarged).save(tmp_path / path.name)
    ran = run_command(
        "evaluate", "--data", f"Set5={folder}", "--prediction-dir", f"MATLAB={tmp_path}", "--markdown", "-"
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    rows = rows_of(ran.stdout)
    for score, figure in (("PSNR-Y", "28.43"), ("SSIM-Y", "0.8111"), ("LPIPS", "0.340")):
        row = rows["Set5", score]
        assert row["bicubic"].strip("*") == figure
        assert float(row["MATLAB"].strip("*")) == pytest.approx(float(figure), abs=0.011)


def test_clips_are_measured_frame_by_frame_and_along_their_motion(footage, own, benchmark, capsys):
    """A file and the folder of its frames, beside a test set; bicubic's figures by hand, and a mean over both."""
    paths = [str(footage / "clip.mkv"), f"pictures={footage / 'frames'}"]
    options = ["--model", str(own), "--data", f"Set2={benchmark / 'Set2'}", "--frames", "4"]
    assert main(["--clips", *paths, *options]) == 0
    from srgan.metrics.lpips import lpips

    printed = capsys.readouterr().out
    before, head, after = printed.partition("| Clip |")
    of_sets, of_clips = rows_of(before), rows_of(head + after)
    assert {name for name, _ in of_sets} == {"Set2"}
    assert list(of_clips) == [
        (name, score)
        for name in ("clip", "pictures", "mean")
        for score in ("PSNR-Y", "SSIM-Y", "LPIPS", "Checker", "Flicker")
    ]  # fmt: skip
    assert list(of_clips["clip", "Flicker"]) == ["bicubic", "mine"]
    originals = [read_rgb(footage / "frames" / f"{number}.png")[:64, :96] for number in range(1, 5)]
    results = [resize_bicubic(downscale(frame, 4), 96, 64) for frame in originals]
    pairs = list(zip(originals, results, strict=True))
    expected = {
        "PSNR-Y": np.mean([psnr_y(*pair) for pair in pairs]),
        "SSIM-Y": np.mean([ssim_y(*pair) for pair in pairs]),
        "LPIPS": np.mean([lpips(*pair) for pair in pairs]),
        "Checker": np.mean([lattice(*pair) for pair in pairs]),
        "Flicker": np.mean([
            flicker(follow(*originals[index : index + 2]), *results[index : index + 2]) for index in range(3)
        ]),
    }  # fmt: skip
    for score, value in expected.items():
        rounding = 0.051 if score == "Checker" else 0.0051
        for name in ("clip", "pictures", "mean"):
            printed_value = float(of_clips[name, score]["bicubic"].strip("*"))
            assert printed_value == pytest.approx(value, abs=rounding), (name, score)
    assert "the original's motion does not explain" in printed


def test_a_part_of_a_clip_reduced_and_drawn(footage, own, tmp_path, capsys):
    strip, crop = tmp_path / "new" / "strip.png", ["--crop", "8", "4", "24", "16"]
    status = main(
        ["--model", str(own), "--clips", f"{footage / 'clip.mkv'}@0.5", "--frames", "6", "--reduce", "2"]
        + ["--strip", str(strip), *crop]
    )
    assert status == 0
    assert len(rows_of(capsys.readouterr().out)) == 5
    drawn = np.asarray(Image.open(strip))
    last = read_rgb(footage / "frames" / "11.png")
    shown = downscale(last, 2)[4:20, 8:32]
    rows = [top for top in range(drawn.shape[0] - 15) if (drawn[top : top + 16, -16 - 24 : -16] == shown).all()]
    assert len(rows) == 1  # the last panel, inside the margin, of the fourth row
    below = drawn[rows[0] + 16 + 8 :, -16 - 24 : -16]
    assert (below[5] == shown[8]).all()  # its middle line is the sixth of the six that the last row is made of


def test_a_bad_clip_costs_only_itself(footage, own, tmp_path, capsys):
    (tmp_path / "bad.mp4").write_bytes(b"no film")
    status = main(["--model", str(own), "--frames", "2", "--clips", str(tmp_path / "bad.mp4"), str(footage / "frames")])
    printed = capsys.readouterr()
    assert status == 1
    assert printed.err.startswith(f"srgan: skipped {tmp_path / 'bad.mp4'}: cannot be read as a clip")
    assert {name for name, _ in rows_of(printed.out)} == {"frames"}


def test_methods_see_a_clips_frames_in_order_and_few_are_held(footage, monkeypatch):
    """One that looks two frames ahead, as video models do, beside one that takes each frame by itself."""
    given = []

    class Ahead:
        def clip(self, frames):
            seen = []
            for frame in frames:
                seen.append(frame)
                if len(seen) == 3:
                    yield seen.pop(0).repeat(4, 0).repeat(4, 1)
            yield from (frame.repeat(4, 0).repeat(4, 1) for frame in seen)

    class Alone:
        def clip(self, frames):
            return (frame.repeat(4, 0).repeat(4, 1) for frame in frames)

    def opened(*arguments):
        clip = original(*arguments)
        read = clip.pixels
        monkeypatch.setattr(clip, "pixels", lambda frame: given.append(frame) or read(frame))
        return clip

    original = open_clip
    monkeypatch.setattr("srgan.clips.reading.open_clip", opened)
    methods = [
        Method("ahead", Path("a"), "", "", Ahead()),
        Method("alone", Path("b"), "", "", Alone()),
    ]
    count = 0
    for scene in read_clip(footage / "frames", 4, methods, count=9):
        count += 1
        assert len(given) <= count + 3
        assert (scene.enlarged["ahead"] == scene.enlarged["alone"]).all()
        assert (scene.low == downscale(scene.original, 4)).all()
        assert (scene.original == read_rgb(footage / "frames" / f"{count}.png")[:64, :96]).all()
    assert count == len(given) == 9


def test_a_new_scene_is_no_flicker(footage, tmp_path):
    for number in range(1, 7):
        shutil.copy(footage / "frames" / f"{number}.png", tmp_path)
    for number in (4, 5, 6):
        Image.fromarray(255 - read_rgb(tmp_path / f"{number}.png")).save(tmp_path / f"{number}.png")
    frames = list(score_frames(read_clip(tmp_path, 4), ("psnr_y",)))
    assert [np.isnan(scores["bicubic"]["flicker"]) for scores in frames] == [True, False, False, True, False, False]


def test_without_opencv_it_is_said_before_any_work(footage, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cv2", None)
    for name in ("srgan.metrics.flicker", "srgan.clips.flow"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert main(["--model", "srresnet", "--clips", str(footage / "clip.mkv")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install '.[video]'" in line
