"""Sheets: labelled panels side by side in one picture, such as low | bicubic | GAN | high."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT = "#ffffff", "#16181d", "#667085"
_MARGIN, _GAP = 16, 8


def sheet(
    rows: Sequence[Sequence[np.ndarray]],
    labels: Sequence[str],
    scores: Sequence[Sequence[str | None] | None] | None = None,
    *,
    panel_width: int | None = None,
) -> Image.Image:
    """Draw one row of panels a scene, the labels above the columns and the scores, if any, above the panels.

    Args:
        rows: for each scene its panels, uint8 (height, width, 3), one a label. The panels of a row show the same part of
            the scene, each at its own resolution.
        labels: what each column shows.
        scores: for each row None or a text (or None) a panel, such as "28.43 dB"; or None for no scores at all.
        panel_width: how wide the panels are drawn, in pixels; None for the widest panel. A smaller picture is enlarged
            by repeating its pixels, so that they show; a larger one is reduced.

    Raises:
        ValueError: a row has not one panel and one score a label.
    """
    scores = scores or [None] * len(rows)
    if not rows or any(len(row) != len(labels) for row in [*rows, *filter(None, scores)]):
        raise ValueError(f"every row needs {len(labels)} panels: {', '.join(labels)}")
    width = panel_width or max(panel.shape[1] for row in rows for panel in row)
    size = min(22, max(10, width // 18))
    label_font, score_font = (ImageFont.load_default(size=s) for s in (size, max(9, round(size * 0.8))))
    line = round(size * 1.6)

    heights = [max(round(panel.shape[0] * width / panel.shape[1]) for panel in row) for row in rows]
    above = [line if score else 0 for score in scores]
    total_width = 2 * _MARGIN + len(labels) * width + (len(labels) - 1) * _GAP
    total_height = 2 * _MARGIN + line + sum(heights) + sum(above) + (len(rows) - 1) * _GAP
    paper = Image.new("RGB", (total_width, total_height), PAPER)
    draw = ImageDraw.Draw(paper)

    columns = [_MARGIN + index * (width + _GAP) for index in range(len(labels))]
    for x, label in zip(columns, labels, strict=True):
        draw.text((x, _MARGIN + size // 2), _fit(label, label_font, width), INK, label_font, anchor="lm")
    y = _MARGIN + line
    for row, score, height, space in zip(rows, scores, heights, above, strict=True):
        for x, text in zip(columns, score or [], strict=False):
            draw.text((x, y + space // 2 - 2), _fit(text or "", score_font, width), FAINT, score_font, anchor="lm")
        y += space
        for x, panel in zip(columns, row, strict=True):
            paper.paste(panel_at(panel, width, height), (x, y))
        y += height + _GAP
    return paper


def panel_at(panel: np.ndarray, width: int, height: int) -> Image.Image:
    """A uint8 (h, w, 3) picture at another size: enlarged by repeating pixels, or reduced smoothly."""
    enlarging = panel.shape[1] <= width
    kernel = Image.Resampling.NEAREST if enlarging else Image.Resampling.LANCZOS
    return Image.fromarray(np.asarray(panel)).resize((width, height), kernel)


def _fit(text, font, width):
    """`text`, cut off with an ellipsis where it is wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
