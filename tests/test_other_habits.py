"""What users of other programs type, and what lies beside their files."""

import json

import pytest
from helpers import run_command
from PIL import Image
from upscaling import photograph


def save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(20, 30)).save(path)
    return path


def run(name, folder, arguments):
    return run_command(name, *arguments.split(), before=f"import os; os.chdir({str(folder)!r})")


@pytest.mark.parametrize(
    "arguments",
    ["-i a.png -o b.png", "-i a.png b.png", "-o b.png a.png", "-i a.png -i c.png -o b/", "-i a.png c.png b/"],
)
def test_inputs_and_outputs_may_be_options(arguments, model, tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "c.png")
    done = run("upscale", tmp_path, f"{arguments} -m {model}")
    assert done.returncode == 0, done.stderr
    several = "c.png" in arguments
    made = sorted(tmp_path.glob("b/*")) if several else [tmp_path / "b.png"]
    assert [Image.open(path).size for path in made] == [(120, 80)] * (2 if several else 1)
    assert Image.open(tmp_path / "a.png").size == (30, 20)


@pytest.mark.parametrize("arguments", ["-i a.png", "-o b.png", "a.png", ""])
def test_an_input_without_an_output_is_a_usage_error(arguments, tmp_path):
    save(tmp_path / "a.png")
    done = run("upscale", tmp_path, arguments)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "srgan: give an INPUT and an OUTPUT")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("name", "arguments", "meant"),
    [
        ("upscale", "-i a.png -o b.png -n srresnet", "--model"),
        ("upscale", "-i a.png -o b.png -n=srresnet -t 200 -f jpg -g 0", "--model, --tile, --format, --device"),
        ("upscale", "a.png b.png --model_name srresnet --gpu-id 0", "--model, --device"),
        ("upscale", "a.png b.png --fp32", "--precision float32"),
        ("compare", "a.png -o page -n srresnet", "--model"),
        ("evaluate", "photos -m srresnet", "--data photos"),
        ("train", "-c coco-cpu --epochs 3", "--set pixel.epochs=... or gan.epochs=..."),
        ("train", "-c coco-cpu --batch_size 8", "--set batches.size=..."),
        ("train", "-c coco-cpu --lr 1e-4", "--set pixel.learning_rate=... or gan.learning_rate=..."),
        ("train", "-c coco-cpu --resume", "the same command without it, which resumes"),
        ("train", "-c coco-cpu --output-dir run", "--output"),
        ("train", "-c coco-cpu photos", "--pictures photos"),
        ("train", "photos", "--pictures photos"),
        ("train", "-c coco-cpu seed=3", "--set seed=3"),
    ],
)
def test_options_of_other_programs_are_answered_by_ours(name, arguments, meant, tmp_path):
    save(tmp_path / "a.png")
    (tmp_path / "photos").mkdir()
    done = run(name, tmp_path, arguments)
    first, second = done.stderr.splitlines()
    assert done.returncode == 2 and first.endswith(f" (did you mean {meant}?)"), first
    assert second == f"usage: srgan-{name} --help shows what there is"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("-c cocoo", "did you mean coco?"),
        ("-c coco-cpu.yml", "did you mean coco-cpu?"),
        ("-c runs/min", "did you mean runs/mine?"),
        ("-c coco-cpu --set epochs=3", "coco-cpu: epochs = 3: unknown key, did you mean pixel.epochs or gan.epochs?"),
        ("-c coco-cpu --set batch_size=3", "coco-cpu: batch_size = 3: unknown key, did you mean batches.size?"),
        ("-p photos", "give a configuration by -c, such as coco-cpu for two cores"),
    ],
)
def test_what_a_configuration_or_a_key_was_meant_to_be(arguments, said, tmp_path):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    done = run("train", tmp_path, arguments)
    assert done.returncode == 2 and said in done.stderr, done.stderr


def test_what_a_strength_or_a_folder_was_meant_to_be(tmp_path):
    save(tmp_path / "photos" / "a.png")
    done = run("upscale", tmp_path, "photos/a.png b.png -m srgan@0.5")
    assert done.returncode == 2 and "srgan@0.5: no such model; did you mean srgan with --strength 0.5?" in done.stderr
    for name, arguments in (("compare", "photo -o page"), ("evaluate", "--data photo")):
        done = run(name, tmp_path, f"{arguments} -m srresnet")
        line = "srgan: photo: no such picture or folder; did you mean photos?\n"
        assert (done.returncode, done.stderr) == (2, line)


def test_a_missing_input_is_told_before_a_model(tmp_path):
    save(tmp_path / "photo1.png")
    done = run("upscale", tmp_path, "photo.png nothing.jpg out/ --json")
    first, second, last = done.stderr.splitlines()
    assert done.returncode == 1 and last == "srgan: 0 done, 0 skipped, 2 failed"
    assert first == "srgan: photo.png: No such file; did you mean photo1.png?"
    assert second == "srgan: nothing.jpg: No such file"
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["source"], each["status"]) for each in found] == [("photo.png", "failed"), ("nothing.jpg", "failed")]
    planned = run("upscale", tmp_path, "photo.png photo1.png clip.mp4 out/ --dry-run")
    assert planned.returncode == 1 and planned.stdout == "photo1.png 30x20 -> out/photo1.png\n"
    assert planned.stderr.splitlines() == [first, "srgan: clip.mp4: No such file"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["-s 0", "--alpha foo", "--strength 2", "--engine magic", "--tile 3"])
def test_an_option_that_makes_no_sense_is_told_before_a_model(option, tmp_path):
    save(tmp_path / "a.png")
    done = run("upscale", tmp_path, f"a.png b.png {option}")
    name = option.replace("-s ", "scale ").split()[0].strip("-")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and name in line and "--model picks" not in line


def test_xmp_files_beside_pictures_are_said(model, tmp_path):
    for name in ("in/a.png", "in/deep/b.png", "in/c.png"):
        save(tmp_path / name)
    for name in ("in/a.xmp", "in/deep/b.png.xmp", "in/alone.xmp"):
        (tmp_path / name).write_text("<x:xmpmeta/>")
    done = run("upscale", tmp_path, f"-r in out -m {model}")
    assert done.returncode == 0 and done.stderr.splitlines() == [
        "srgan: 1 file of other kinds left out (1 xmp)",
        "srgan: 2 XMP files beside pictures, the first in/a.xmp, are not copied or applied; their tags and edits are not in "
        "the results",
        "srgan: 3 done, 0 skipped, 0 failed",
    ]
    done = run("upscale", tmp_path, f"in/a.png b.png -m {model}")
    line = "srgan: in/a.xmp: is not copied or applied; its tags and edits are not in the result\n"
    assert done.stderr == f"{line}srgan: 1 done, 0 skipped, 0 failed\n"
    assert "xmp" not in run("upscale", tmp_path, f"in/a.png b.png -m {model} --strip-metadata").stderr
    assert "xmp" not in run("upscale", tmp_path, f"in/c.png b.png -m {model}").stderr
