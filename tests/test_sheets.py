"""Sheets: every panel is where it belongs and shows its own pixels."""

import numpy as np
import pytest
from skimage import data

from srgan.pictures.arrays import downscale, resize_bicubic
from srgan.pictures.sheets import sheet

LABELS = ["low", "bicubic", "GAN", "high"]


@pytest.fixture
def row():
    high = data.chelsea()[40:136, 120:216]
    low = downscale(high, 4)
    return [low, resize_bicubic(low, 96, 96), high[::-1], high]


def panels(drawn, columns, width, height, top):
    """The panels that begin `top` pixels down, cut out of a sheet by its margins."""
    pixels = np.asarray(drawn)
    return [pixels[top : top + height, 16 + i * (width + 8) :][:, :width] for i in range(columns)]


def test_panels_keep_their_pixels_and_low_shows_its_own(row):
    drawn = sheet([row], LABELS)
    low, *others = panels(drawn, 4, 96, 96, drawn.height - 16 - 96)
    assert (low == row[0].repeat(4, 0).repeat(4, 1)).all()
    for shown, given in zip(others, row[1:], strict=True):
        assert (shown == given).all()


def test_rows_of_different_shapes_follow_each_other(row):
    wide = [panel[: len(panel) // 2] for panel in row]
    drawn = sheet([row, wide], LABELS)
    assert drawn.width == 2 * 16 + 4 * 96 + 3 * 8
    above, below = drawn.height - 16 - 48 - 8 - 96, drawn.height - 16 - 48
    assert (panels(drawn, 4, 96, 96, above)[3] == row[3]).all()
    assert (panels(drawn, 4, 96, 48, below)[3] == wide[3]).all()


def test_panel_width_enlarges_by_whole_pixels_and_reduces_smoothly(row):
    drawn = sheet([row], LABELS, panel_width=192)
    assert (panels(drawn, 4, 192, 192, drawn.height - 16 - 192)[3] == row[3].repeat(2, 0).repeat(2, 1)).all()
    drawn = sheet([row], LABELS, panel_width=48)
    reduced = panels(drawn, 4, 48, 48, drawn.height - 16 - 48)[3]
    means = row[3].reshape(48, 2, 48, 2, 3).mean((1, 3))
    assert np.abs(reduced - means).mean() < 4


def test_text_stands_above_its_panel_and_does_not_run_into_the_next(row):
    bare, scored = sheet([row], LABELS), sheet([row], LABELS, [[None, "28.43 dB", None, None]])
    assert scored.height > bare.height
    head = np.asarray(scored)[: scored.height - 16 - 96]
    columns = [head[:, 16 + i * 104 : 16 + i * 104 + 96] for i in range(4)]
    ink = [(column < 200).any((1, 2)) for column in columns]
    assert all(rows.any() for rows in ink)
    assert ink[1].nonzero()[0][-1] > ink[0].nonzero()[0][-1] + 8  # the score is below the labels

    long = sheet([row], ["a label much too long for so narrow a column", *LABELS[1:]])
    gap = np.asarray(long)[: long.height - 16 - 96, 16 + 96 : 16 + 104]
    assert (gap == 255).all()


@pytest.mark.parametrize("arguments", [([[np.zeros((4, 4, 3), np.uint8)]], ["a", "b"]), ([], ["a"])])
def test_ragged_rows_are_refused(arguments):
    with pytest.raises(ValueError, match="every row needs"):
        sheet(*arguments)


def test_a_score_too_few_is_refused(row):
    with pytest.raises(ValueError, match="every row needs 4"):
        sheet([row], LABELS, [["28.43 dB"]])
