"""scripts/draw_options.py: the crops that were asked for, beside what they are compared with."""

import numpy as np
import pytest
from helpers import SAMPLE, load_script
from PIL import Image
from upscaling import make_model

from srgan import Upscaler
from srgan.pictures.arrays import downscale
from srgan.pictures.reading import read_rgb

draw_options = load_script("draw_options")
CROP = f"{SAMPLE / 'val' / 'chelsea.jpg'}@100,60,48,40"


@pytest.fixture
def model(tmp_path):
    return str(make_model(tmp_path / "small.keras", skip="bilinear"))


def drawn(tmp_path, *arguments):
    output = tmp_path / "drawn.png"
    assert draw_options.main([str(output), *arguments, "--crops", CROP]) == 0
    return np.asarray(Image.open(output).convert("RGB"))


def panel(sheet, index, width, height):
    return sheet[-16 - height : -16, 16 + index * (width + 8) :][:, :width]


def test_a_crop_is_enlarged_as_it_is(tmp_path, model):
    low = read_rgb(SAMPLE / "val" / "chelsea.jpg")[60:100, 100:148]
    sheet = drawn(tmp_path, "model", model)
    np.testing.assert_array_equal(panel(sheet, 1, 192, 160), Upscaler(model)(low.copy()))


def test_reduced_is_enlarged_whole_and_beside_the_original(tmp_path, model):
    high = read_rgb(SAMPLE / "val" / "chelsea.jpg")
    sheet = drawn(tmp_path, "model", model, "--reduced")
    large = Upscaler(model)(downscale(high[: len(high) // 4 * 4, : high.shape[1] // 4 * 4], 4))
    np.testing.assert_array_equal(panel(sheet, 2, 48, 40), large[60:100, 100:148])
    np.testing.assert_array_equal(panel(sheet, 3, 48, 40), high[60:100, 100:148])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["strength", "much", "--crops", CROP], "much: no number"),
        (["model", "srresnet", "--crops", "photo.jpg"], "photo.jpg: not FILE@LEFT,TOP,WIDTH,HEIGHT"),
        (["model", "srresnet", "--crops", CROP.replace("100,", "440,")], "the picture has 451 x 300 pixels"),
        (["model", "srresnet", "--reduced", "--crops", CROP.replace("100,", "98,")], "with --reduced, multiples of 4"),
    ],
)
def test_a_mistake_is_said_in_one_line(arguments, says, tmp_path, capsys):
    assert draw_options.main([str(tmp_path / "drawn.png"), *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
