"""The light install, `pip install .`: upscaling, clips, comparing and a model of one's own without any framework.

CI runs this module in such an environment, and in the full one, where the commands run as if no framework were installed.
"""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from fractions import Fraction

import av
import numpy as np
import psutil
import pytest
from helpers import ROOT, SAMPLE, WITHOUT_FRAMEWORK, run_command, run_python
from PIL import Image

PHOTOGRAPH = SAMPLE / "val" / "chelsea.jpg"
FRAMEWORKS = {"tensorflow", "jax", "torch"}
MAKE = """
import keras, numpy as np, sys
from srgan.networks.generators import srresnet
generator, random = srresnet(filters=4, blocks=1), np.random.default_rng(0)
for variable in generator.variables:
    values = random.normal(0, np.prod(variable.shape[:-1], initial=1.0) ** -0.5, variable.shape)
    variable.assign(values if "kernel" in variable.path else np.abs(values) / 4 + 0.1)
generator.save(sys.argv[1])
np.save(sys.argv[2], keras.ops.convert_to_numpy(generator(np.load(sys.argv[3]), training=False)))
"""


def light(name, *arguments, **options):
    done = run_command(name, *arguments, before=WITHOUT_FRAMEWORK, **options)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.png"
    Image.open(PHOTOGRAPH).crop((100, 60, 140, 92)).save(path)
    return path


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A `.keras` file of one's own, and what Keras makes of a picture with it."""
    folder = tmp_path_factory.mktemp("own")
    low = np.random.default_rng(1).random((1, 20, 24, 3), np.float32)
    np.save(folder / "low.npy", low)
    made = run_python(
        "-c", WITHOUT_FRAMEWORK + MAKE, folder / "own.keras", folder / "high.npy", folder / "low.npy",
        env={"KERAS_BACKEND": "openvino"},
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return folder / "own.keras", low, np.load(folder / "high.npy")


def test_a_picture_is_upscaled(small, tmp_path):
    done = light("upscale", small, tmp_path / "large.jpg", "--model", "srresnet")
    assert done.returncode == 0 and Image.open(tmp_path / "large.jpg").size == (160, 128)


def test_a_clip_is_upscaled(tmp_path):
    with av.open(str(tmp_path / "clip.mp4"), "w") as clip:
        stream = clip.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for _ in range(3):
            frame = np.asarray(Image.open(PHOTOGRAPH).crop((100, 60, 132, 84)))
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        clip.mux(stream.encode())
    done = light("upscale", tmp_path / "clip.mp4", tmp_path / "large.mp4", "--model", "srresnet")
    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / "large.mp4")) as clip:
        assert [(frame.width, frame.height) for frame in clip.decode(video=0)] == [(128, 96)] * 3


def test_a_model_of_ones_own_is_converted_and_computes_what_keras_does(own, small, tmp_path):
    path, low, expected = own
    np.save(tmp_path / "low.npy", low)
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    code = (
        "import sys, numpy as np\nfrom srgan.upscale.engines import load_engine\n"
        "engine = load_engine(sys.argv[1], precision='float32')\nnp.save(sys.argv[3], engine(np.load(sys.argv[2])))\n"
        "assert engine.name == 'OpenVINO' and not {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)"
    )
    done = run_python("-c", WITHOUT_FRAMEWORK + code, path, tmp_path / "low.npy", tmp_path / "high.npy", env=cache)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "high.npy"), expected, atol=2e-5 * np.abs(expected).max())
    done = light("upscale", small, tmp_path / "large.png", "--model", path, env=cache)
    assert done.returncode == 0 and "converting" not in done.stderr  # it is kept
    assert Image.open(tmp_path / "large.png").size == (160, 128)


def test_a_picture_is_denoised_as_its_noise_asks_for(own, small, tmp_path):
    for name in ("own", "own-denoise0", "own-denoise1"):
        shutil.copy(own[0], tmp_path / f"{name}.keras")
    told = []
    for denoise in ("auto", "0.25"):
        options = ["--model", tmp_path / "own.keras", "--json", "--denoise", denoise]
        done = light("upscale", small, tmp_path / f"{denoise}.png", *options)
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout)["denoise"])
    assert told == [0.25, 0.25]
    assert (tmp_path / "auto.png").read_bytes() == (tmp_path / "0.25.png").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals on Windows")
def test_the_conversion_ends_with_its_command(own, small, tmp_path):
    code = f"{WITHOUT_FRAMEWORK}\nfrom srgan.cli.upscale import main; main()"
    command = [sys.executable, "-c", code, small, tmp_path / "large.png", "--model", own[0]]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    process = psutil.Popen(command, stderr=subprocess.PIPE, env=environment, cwd=ROOT)
    end = time.monotonic() + 60
    while not (children := process.children()):
        assert process.is_running() and time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive and list((tmp_path / "tmp").iterdir()) == []


def test_a_file_that_is_no_model_is_said_in_one_line(small, tmp_path):
    (tmp_path / "bad.keras").write_bytes(b"not a model")
    done = light("upscale", small, tmp_path / "large.png", "--model", tmp_path / "bad.keras")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"srgan: {tmp_path / 'bad.keras'}: not a Keras model")


def test_a_model_that_openvino_cannot_run_says_what_to_install(small, tmp_path):
    code = (
        "import keras, sys\ninputs = keras.Input((None, None, 3))\n"
        "outputs = keras.layers.UpSampling2D(2)(keras.layers.DepthwiseConv2D(3, padding='same')(inputs))\n"
        "keras.Model(inputs, outputs).save(sys.argv[1])"
    )
    made = run_python("-c", code, tmp_path / "odd.keras", env={"KERAS_BACKEND": "openvino"})
    assert made.returncode == 0, made.stderr
    done = light("upscale", small, tmp_path / "large.png", "--model", tmp_path / "odd.keras")
    assert done.returncode == 1
    assert re.search(r"odd.keras: OpenVINO cannot run it .*DepthwiseConv2D.*: pip install '\.\[train\]'$", done.stderr)


def test_models_are_compared(own, tmp_path):
    done = light("compare", PHOTOGRAPH, "--model", "srresnet", "--model", own[0], "--output", tmp_path / "page")
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "page" / "scores.json").read_text())["means"]
    assert scores["srresnet"]["psnr_y"] > scores["bicubic"]["psnr_y"] + 0.3
    assert 0 < scores["srresnet"]["lpips"] < scores["bicubic"]["lpips"] - 0.05


def test_a_test_set_is_evaluated_with_the_same_figures(own, tmp_path):
    (tmp_path / "set" / "HR").mkdir(parents=True)
    Image.open(PHOTOGRAPH).crop((80, 40, 208, 168)).save(tmp_path / "set" / "HR" / "cat.png")
    options = ["--model", "srresnet", own[0], "--csv", "-"]
    measured = light("evaluate", "--data", tmp_path / "set", *options)
    compared = light("compare", tmp_path / "set", "--output", tmp_path / "page", *options)
    assert measured.returncode == compared.returncode == 0, measured.stderr + compared.stderr
    measured, compared = (list(csv.DictReader(done.stdout.splitlines())) for done in (measured, compared))
    assert [row["method"] for row in measured] == ["bicubic", "srresnet", "own"]
    for key in ("psnr_y", "ssim_y", "lpips", "lattice"):
        assert [row[key] for row in measured] == [row[key] for row in compared]


def test_a_model_is_exported_to_openvino(own, tmp_path):
    done = light("export", "--model", own[0], tmp_path / "own.xml")
    assert done.returncode == 0 and "differs from Keras by at most" in done.stdout, done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["own.bin", "own.xml"]
    done = light("export", "--model", own[0], tmp_path / "own.onnx")
    assert done.returncode == 1 and "tensorflow" in done.stderr and "pip install '.[export]'" in done.stderr


def test_training_says_what_to_install(tmp_path):
    done = light("train", "--config", "sample.yaml", "--output", tmp_path / "run")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and done.stderr.startswith("srgan: ")
    command = re.search(r"pip install '.*'", done.stderr)[0]
    assert command in (ROOT / "README.md").read_text() and command == "pip install '.[train]'"
    assert not (tmp_path / "run").exists()


def test_a_framework_that_is_not_installed_is_named_with_how_to_get_it(tmp_path):
    for name, command in (("tensorflow", "pip install '.[train]'"), ("jax", "pip install '.[jax]'")):
        done = light("train", "--config", "sample.yaml", "--output", tmp_path, env={"KERAS_BACKEND": name})
        assert done.returncode == 2
        assert done.stderr == f"srgan: KERAS_BACKEND={name}: {name} is not installed: {command}\n"


def test_the_public_names_of_upscaling_touch_no_framework():
    code = (
        "import os, sys\nos.environ.pop('KERAS_BACKEND', None)\nfrom srgan import Config, SRGANError, Upscaler\n"
        "assert not {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules) and 'KERAS_BACKEND' not in os.environ\n"
        "Upscaler('srresnet', engine='openvino')\n"
        "assert not {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules) and 'KERAS_BACKEND' not in os.environ"
    )
    for before in ("", WITHOUT_FRAMEWORK):
        done = run_python("-c", before + code)
        assert done.returncode == 0, done.stderr


def test_what_is_installed_brings_no_framework_but_by_the_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def names(requirements):
        return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}

    assert not FRAMEWORKS & names(project["dependencies"])
    assert {"tensorflow", "tensorboard"} <= names(extras["train"]) & names(extras["gpu"])
    assert names(extras["jax"]) == {"jax"} and "tensorflow" in names(extras["export"])
    assert any(re.match(r"srgan\[.*\btrain\b", requirement) for requirement in extras["test"])
