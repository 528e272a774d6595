"""The curves of a run as a picture: validation scores and losses over all steps."""

import contextlib
import math
from pathlib import Path

from PIL import Image, ImageDraw

from srgan.files import atomic_path

WIDTH, HEIGHT, MARGIN = 960, 240, 60  # of a panel
PANELS = {
    "validation PSNR-Y in dB (gray: bicubic)": ("validation/psnr_y", "validation/bicubic_psnr_y"),
    "validation LPIPS": ("validation/lpips",),
    "loss": ("loss",),
}
COLOURS = ("#1f5fa8", "#999999")


def draw_curves(rows: list[dict[str, str]], file: Path) -> None:
    """Draw the lines of a log to a PNG file: a panel for each score, over the steps of both stages.

    Args:
        rows: from srgan.train.log.read_log.
        file: its path; it is whole or as it was.
    """
    panels = {title: [_points(rows, column) for column in columns] for title, columns in PANELS.items()}
    panels = {title: curves for title, curves in panels.items() if curves[0]}
    if not panels:
        return
    last = max(step for curves in panels.values() for curve in curves for step, _ in curve)
    gan = [row for row in rows if row["stage"] == "gan" and row.get("total_step") and row.get("step")]
    begun = [int(row["total_step"]) - int(row["step"]) for row in gan]
    picture = Image.new("RGB", (WIDTH, HEIGHT * len(panels)), "white")
    draw = ImageDraw.Draw(picture)
    for index, (title, curves) in enumerate(panels.items()):
        _draw_panel(draw, index * HEIGHT, title, curves, last, begun[0] if begun else None)
    with atomic_path(file) as temporary:
        picture.save(temporary)


def _points(rows, column):
    """(step, value) pairs, without the lines that lack either, or have what a spreadsheet made of it, such as a date."""
    points = []
    for row in rows:
        with contextlib.suppress(KeyError, ValueError):
            points.append((int(row["total_step"]), float(row[column])))
    return [point for point in points if math.isfinite(point[1])]


def _draw_panel(draw, top, title, curves, last, gan):
    values = [value for curve in curves for _, value in curve]
    low, high = min(values), max(values)
    span = high - low or 1.0
    left, right, upper, lower = MARGIN, WIDTH - 20, top + 30, top + HEIGHT - 30

    def place(step, value):
        return left + step / last * (right - left), lower - (value - low) / span * (lower - upper)

    draw.rectangle((left, upper, right, lower), outline="#cccccc")
    draw.text((left, top + 10), title, "black")
    for value in (low, high):
        draw.text((4, place(0, value)[1] - 6), f"{value:.4g}", "black")
    draw.text((right - 90, lower + 6), f"{last} steps", "black")
    if gan:
        draw.line([place(gan, low), place(gan, high)], "#cccccc")
        draw.text((place(gan, low)[0] + 4, upper + 2), "GAN", "#999999")
    for curve, colour in zip(curves, COLOURS):
        places = [place(*point) for point in curve]
        if len(places) > 1:
            draw.line(places, colour, 2)
        for x, y in places if len(places) < 50 else ():
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), colour)
