"""Draw the networks to model.png, in the arrangement of figure 4 of the SRGAN paper (Ledig et al., arXiv 1609.04802).

    python scripts/draw_model.py                    # the paper's networks, to model.png
    python scripts/draw_model.py --output other.png

Nothing in the picture is typed in: `read` walks the Keras graph from its output to its input and takes kernel sizes,
filters, strides, skip connections and sizes from the layers, `fold` draws equal residual blocks only once, and `draw`
lays the result out. The same description goes into the PNG's text.
"""

import argparse
import json
import math
import sys
from itertools import groupby
from pathlib import Path

from common.one_line import errors_in_one_line
from drawing.canvas import LINE, SMOOTH, Canvas, font
from drawing.graph import describe, fold, read
from PIL import Image, ImageDraw, PngImagePlugin

from srgan.errors import SRGANError
from srgan.files import atomic_path
from srgan.runtime import load_keras

ROOT = Path(__file__).parents[1]

# Lengths are in units of half a pixel of the README's page; the picture has a pixel a unit and is drawn SMOOTH as large.
MARGIN, BAR, CLOSE, GAP, WIDEST_GAP = 36, 40, 6, 30, 84
NARROWEST = 1740  # of a row: twice the README's 900 pixels with the margins
TALLEST, STEP, LOWEST = 300, 40, 172  # bar heights: at the largest size, less for each halving, and the least
PANEL, SOFT, BRACKET = "#e9edf6", "#69748a", "#b4bccb"
COLOURS = {  # kind: (bar, text)
    "convolution": ("#3f66d6", "#ffffff"),
    "normalization": ("#f6c453", "#4a3505"),
    "activation": ("#57c4a6", "#07382b"),
    "upsampling": ("#9069d8", "#ffffff"),
    "dense": ("#44506b", "#ffffff"),
    "sum": ("#e4604e", "#ffffff"),
    "other": ("#a3adbf", "#1d2433"),
}


def bar_height(block, largest):
    """Taller at a larger picture; a dense layer, which has no size, is the least."""
    if not block.scale:
        return LOWEST
    return max(LOWEST, TALLEST - STEP * math.ceil(math.log2(largest / block.scale)))


def starts_stack(block, before):
    """Whether `block` stands apart from the one before it; what belongs to a convolution stands close to it."""
    return block.kind in ("convolution", "dense", "sum", "other") or before.kind == "sum"


class Row:
    """Where everything of one network lies: x of each block, heights, levels of the skips."""

    def __init__(self, network, head, tail):
        self.network, self.head, self.tail = network, head, tail  # widths of what is drawn before and behind
        self.largest = max(block.scale for block in network.blocks)
        self.heights = [bar_height(block, self.largest) for block in network.blocks]
        self.level = {}
        for skip in sorted(network.skips, key=lambda skip: skip.end - skip.start):
            inside = [other for other in self.level if skip.start <= other.start and other.end <= skip.end]
            self.level[skip] = 1 + max((self.level[other] for other in inside), default=0)
        self.above = max((44 if level == 1 else 54 * level for level in self.level.values()), default=16)
        self.below = max(self.heights) / 2 + 112  # from the middle to the lower edge
        for first, last, _ in network.repeats:
            self.below = max(self.below, max(self.heights[first : last + 1]) / 2 + 176)
        self.gap = GAP

    def spaces(self):
        """The spaces before each block and behind the last, as numbers of (gaps, fixed units)."""
        blocks, found = self.network.blocks, []
        first, last = {first for first, _, _ in self.network.repeats}, {last for _, last, _ in self.network.repeats}
        for index, block in enumerate(blocks):
            apart = index == 0 or starts_stack(block, blocks[index - 1])
            around = 22 * (index in first) + 22 * (index - 1 in last)
            found.append((1, around) if apart else (0, CLOSE))
        return [*found, (1, 0)]

    def width(self):
        blocks = len(self.network.blocks) * BAR
        return self.head + blocks + sum(gaps * self.gap + fixed for gaps, fixed in self.spaces()) + self.tail

    def spread(self, width):
        """Widen the gaps until the row fills `width`, within reason."""
        self.gap += (width - self.width()) / sum(gaps for gaps, _ in self.spaces())
        self.gap = min(self.gap, WIDEST_GAP)

    def place(self, left):
        """Settle the left edge of each block."""
        self.start = left + self.head
        self.x, x = [], self.start
        for gaps, fixed in self.spaces()[:-1]:
            x += gaps * self.gap + fixed
            self.x.append(x)
            x += BAR
        self.end = x + self.gap  # where what is drawn behind begins


def size_text(network, block):
    """The picture's size at `block`, as the README's reader would write it."""
    if network.size:
        side = -(-network.size * block.scale.numerator // block.scale.denominator)
        return f"{side} x {side}"
    if block.scale == 1:
        return "h x w"
    if block.scale > 1:
        return f"{block.scale}h x {block.scale}w"
    return f"h/{1 / block.scale} x w/{1 / block.scale}"


def draw_row(canvas, row, middle):
    """Draw the blocks, skips, labels and sizes of `row` around the height `middle`."""
    network, blocks = row.network, row.network.blocks
    tallest = max(row.heights)
    for first, last, count in network.repeats:
        half = max(row.heights[first : last + 1]) / 2
        left, right = row.x[first] - 22 - row.gap * 0.5, row.x[last] + BAR + 22
        canvas.box(left, middle - half - 62, right, middle + half + 104, PANEL, 18)
        text = f"{count} residual blocks" if count > 1 else "residual block"
        canvas.text((left + right) / 2, middle + half + 74, text, 28)
    canvas.line(row.start, middle, row.end, middle)
    for skip, level in row.level.items():
        held = row.heights[skip.start + 1 : skip.end + 1]
        y = middle - max(held) / 2 - 34 if level == 1 else middle - tallest / 2 - 34 - 54 * (level - 1) - 10
        begin = (row.x[skip.start] + BAR if skip.start >= 0 else row.start) + row.gap * 0.3
        if skip.start >= 0 and any(first == skip.start + 1 for first, _, _ in network.repeats) and level == 1:
            begin = row.x[skip.start + 1] - 22 - row.gap * 0.18
        finish, radius = row.x[skip.end] + BAR / 2, 16
        draw_skip(canvas, begin, finish, y, middle, radius)
        for place, block in enumerate(skip.via, start=1):
            x = begin + (finish - begin) * place / (len(skip.via) + 1)
            bar, ink = COLOURS[block.kind]
            text = f"{block.text} {block.label}".strip()
            half = font(24).getlength(text) / SMOOTH / 2 + 20
            canvas.box(x - half, y - 21, x + half, y + 21, bar, 10)
            canvas.text(x, y, text, 24, ink)
    for index, (block, x, height) in enumerate(zip(blocks, row.x, row.heights, strict=True)):
        bar, ink = COLOURS[block.kind]
        centre = x + BAR / 2
        if index == 0 or starts_stack(block, blocks[index - 1]):
            canvas.arrow(x - 2 if block.kind != "sum" else x, middle, "right")
        if block.kind == "sum":
            canvas.disc(centre, middle, BAR / 2, bar)
            canvas.line(centre - 11, middle, centre + 11, middle, colour=ink, width=4)
            canvas.line(centre, middle - 11, centre, middle + 11, colour=ink, width=4)
            continue
        canvas.box(x, middle - height / 2, x + BAR, middle + height / 2, bar)
        canvas.upright(centre, middle, block.text, 27, ink)
    draw_labels(canvas, row, middle)
    draw_sizes(canvas, row, middle + row.below - 46)


def draw_skip(canvas, begin, finish, y, middle, radius):
    """A line from (begin, middle) up to `y`, along and down onto a sum, with round corners."""
    canvas.disc(begin, middle, 6, LINE)
    canvas.line(begin, middle, begin, y + radius)
    canvas.line(begin + radius, y, finish - radius, y)
    canvas.line(finish, y + radius, finish, middle - BAR / 2 - 8)
    for x, start in ((begin, 180), (finish - 2 * radius, 270)):
        corners = canvas.scaled(
            (x - 1.5 * (start == 180), y - 1.5, x + 2 * radius + 1.5 * (start == 270), y + 2 * radius)
        )
        canvas.pen.arc(corners, start, start + 90, LINE, 3 * SMOOTH)
    canvas.arrow(finish, middle - BAR / 2 - 1, "down")


def draw_labels(canvas, row, middle):
    """Each block's label below it, in the middle of the bars that stand close together."""
    blocks = row.network.blocks
    for index, block in enumerate(blocks):
        if not block.label or block.kind == "upsampling":
            continue
        last = index
        while last + 1 < len(blocks) and not starts_stack(blocks[last + 1], blocks[last]):
            last += 1
        below = middle + max(row.heights[index : last + 1]) / 2
        canvas.text((row.x[index] + row.x[last] + BAR) / 2, below + 26, block.label, 24)


def draw_sizes(canvas, row, y):
    """A bracket with the picture's size below each run of blocks of one size."""
    for scale, run in groupby(zip(row.x, row.network.blocks, strict=True), key=lambda pair: pair[1].scale):
        places, blocks = zip(*run, strict=True)
        if scale:
            left, right = places[0] + 2, places[-1] + BAR - 2
            canvas.line(left, y - 10, left, y, right, y, right, y - 10, colour=BRACKET, width=2)
            canvas.text((left + right) / 2, y + 24, size_text(row.network, blocks[-1]), 24, SOFT)


def draw_picture(canvas, left, middle, side, pixels, caption):
    """A small picture of `pixels` x `pixels` visible pixels: the sample's cat."""
    with Image.open(ROOT / "data" / "sample" / "val" / "chelsea.jpg") as cat:
        face = cat.convert("RGB").crop((70, 10, 360, 300)).resize((pixels, pixels), Image.Resampling.BOX)
    face = face.resize((round(side * SMOOTH),) * 2, Image.Resampling.NEAREST)
    mask = Image.new("L", face.size)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, face.width - 1, face.height - 1), 8 * SMOOTH, 255)
    canvas.image.paste(face, tuple(canvas.scaled((left, middle - side / 2))), mask)
    canvas.text(left + side / 2, middle + side / 2 + 24, caption, 26)


def draw(generator, discriminator):
    """Draw two folded networks, the generator above; return an RGB picture."""
    scale = float(generator.blocks[-1].scale)
    low, high = 80, 80 * scale**0.5
    rows = [Row(generator, low, high), Row(discriminator, 136, 104)]
    wide = max(NARROWEST, *(row.width() for row in rows))
    tops, y = [], 40
    for row in rows:
        row.spread(wide)
        row.place(MARGIN)
        tops.append(y)
        y += 66 + row.above + max(row.heights) / 2 + row.below + 44
    canvas = Canvas(wide + 2 * MARGIN, y + 48)
    for row, top, title in zip(rows, tops, ("Generator", "Discriminator"), strict=True):
        canvas.text(MARGIN, top + 22, title, 44, anchor="lm")
        beside = MARGIN + font(44).getlength(title) / SMOOTH + 24
        canvas.text(beside, top + 26, f"{row.network.parameters:,} parameters", 26, SOFT, anchor="lm")
        middle = top + 66 + row.above + max(row.heights) / 2
        draw_row(canvas, row, middle)
        if row is rows[0]:
            draw_picture(canvas, MARGIN, middle, low, 12, "LR")
            canvas.arrow(row.end - 2, middle, "right")
            draw_picture(canvas, row.end, middle, high, round(12 * scale), "SR")
        else:
            join = [MARGIN, middle - 84, row.start, middle - 84, row.start, middle + 84, MARGIN, middle + 84]
            canvas.line(*join)
            draw_picture(canvas, MARGIN, middle - 84, 110, round(12 * scale), "SR")
            draw_picture(canvas, MARGIN, middle + 84, 110, round(24 * scale), "or HR")
            canvas.arrow(row.end - 2, middle, "right")
            canvas.box(row.end, middle - 30, row.end + row.tail, middle + 30, "#ffffff", 30, LINE, 3)
            canvas.text(row.end + row.tail / 2, middle, "logits" if row.network.patches else "logit", 26)
            canvas.text(row.end + row.tail / 2, middle + 54, "high: real", 24, SOFT)
    canvas.text(MARGIN, y + 4, key_to(rows), 24, SOFT, anchor="lm")
    return canvas.finished()


def key_to(rows):
    """What the labels mean, as far as the networks in `rows` have them."""
    texts = " ".join(block.text for row in rows for block in row.network.blocks).split()
    norms = {"BN": "batch normalisation", "IN": "instance normalisation", "SN": "spectral normalisation"}
    meanings = {"k": "kernel size", "n": "filters", "s": "stride"} | {k: v for k, v in norms.items() if k in texts}
    words = [f"{short}  {meaning}" for short, meaning in meanings.items()]
    return "      ".join([*words, "bars are taller where the picture is larger"])


@errors_in_one_line
def main(argv=None):
    parser = argparse.ArgumentParser(description="Draw the paper's networks as they are built here.")
    parser.add_argument("--output", type=Path, default=ROOT / "model.png", metavar="FILE", help="default: model.png")
    arguments = parser.parse_args(argv)
    load_keras()
    from srgan.networks import discriminators, generators

    networks = [fold(read(model)) for model in (generators.srresnet(), discriminators.srgan())]
    text = PngImagePlugin.PngInfo()
    text.add_text("Description", json.dumps([describe(network) for network in networks]))
    try:
        with atomic_path(arguments.output) as temporary:
            draw(*networks).save(temporary, optimize=True, pnginfo=text)
    except OSError as error:
        raise SRGANError(f"{error.filename or arguments.output}: {error.strerror or error}") from error


if __name__ == "__main__":
    sys.exit(main())
