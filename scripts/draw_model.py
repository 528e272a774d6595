"""Draw the networks to model.png, in the arrangement of figure 4 of the SRGAN paper (Ledig et al., arXiv 1609.04802).

    python scripts/draw_model.py                    # the paper's networks, to model.png
    python scripts/draw_model.py --output other.png

Nothing in the picture is typed in: `read` walks the Keras graph from its output to its input and takes kernel sizes,
filters, strides, skip connections and sizes from the layers, `fold` draws equal residual blocks only once, and `draw`
lays the result out. The same description goes into the PNG's text.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from srgan.errors import SRGANError
from srgan.runtime import load_keras

ROOT = Path(__file__).parents[1]

# --- from a model to blocks -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """One box: `kind` decides its colour, `text` is written in it and `label` below; `scale` is its size / the input's."""

    kind: str
    text: str
    label: str = ""
    scale: Fraction = Fraction(1)


@dataclass(frozen=True)
class Skip:
    """A connection from behind block `start` (-1: the input) to the sum `end`, through the blocks `via`."""

    start: int
    end: int
    via: tuple = ()


@dataclass(frozen=True)
class Network:
    """A network as a row of blocks. Of each (first, last, count) in `repeats` the blocks stand for `count` such runs."""

    blocks: tuple
    skips: tuple
    repeats: tuple = ()
    size: int | None = None  # side of the input in pixels; None: any
    patches: bool = False  # whether the output is a map and not one number
    parameters: int = 0


INVISIBLE = ("InputLayer", "Rescaling", "Flatten", "Dropout")  # they do no more than pass values on
ACTIVATIONS = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "gelu": "GELU", "silu": "SiLU"}


def block_of(layer, scale):
    """The block that stands for a Keras layer whose input is `scale` times the network's; None if it is not drawn."""
    from srgan.networks.layers import kind_of

    kind = kind_of(layer)
    if kind in INVISIBLE:
        return None
    if kind in ("Conv2D", "SpectralConv2D"):
        (kernel, _), (stride, _) = layer.kernel_size, layer.strides
        text = "Conv" if kind == "Conv2D" else "Conv + SN"
        return Block("convolution", text, f"k{kernel}n{layer.filters}s{stride}", scale / stride)
    if kind == "Dense":
        return Block("dense", "Dense", f"{layer.units}", Fraction(0))
    if kind == "BatchNormalization":
        return Block("normalization", "BN", scale=scale)
    if kind == "GroupNormalization":
        # A group a channel is instance normalisation; Keras replaces the -1 that asks for it when it builds the layer.
        return Block("normalization", "IN" if layer.groups in (-1, layer.input.shape[-1]) else "GN", scale=scale)
    if kind in ("PReLU", "LeakyReLU", "ReLU"):
        return Block("activation", kind, scale=scale)
    if kind == "Activation":
        name = layer.activation.__name__
        return Block("activation", ACTIVATIONS.get(name, name), scale=scale)
    if kind == "Add":
        return Block("sum", "+", scale=scale)
    if kind == "PixelShuffle":
        return Block("upsampling", "PixelShuffle", f"x{layer.scale}", scale * layer.scale)
    if kind == "BilinearUpsampling":
        return Block("upsampling", "Bilinear", f"x{layer.scale}", scale * layer.scale)
    if kind == "UpSampling2D":
        return Block("upsampling", layer.interpolation.capitalize(), f"x{layer.size[0]}", scale * layer.size[0])
    return Block("other", kind, scale=scale)


def parents_of(model):
    """For each layer of `model`, by name, the layers whose outputs it takes."""

    def tensors(value):
        return list(value) if isinstance(value, (list, tuple)) else [value]

    producer = {id(tensor): layer for layer in model.layers for tensor in tensors(layer.output)}
    return {
        layer.name: [producer[id(tensor)] for tensor in tensors(layer.input) if producer[id(tensor)] is not layer]
        for layer in model.layers
    }


def read(model):
    """Read a functional Keras model as a Network: its longest path is the row, what joins it from elsewhere is a skip."""
    parents = parents_of(model)
    depth = {}
    for layer in model.layers:  # Keras keeps them in the order of computation
        depth[layer.name] = 1 + max((depth[parent.name] for parent in parents[layer.name]), default=0)

    def chain(layer, until=()):
        """The layers from `layer` back to the input, or to one in `until`, in the order of computation."""
        found = []
        while layer.name not in until:
            found.insert(0, layer)
            if not parents[layer.name]:
                return found, None
            layer = max(parents[layer.name], key=lambda parent: depth[parent.name])
        return found, layer

    path, _ = chain(model.layers[-1])
    blocks, skips, position, scale = [], [], {}, {}
    for before, layer in zip([None, *path], path, strict=False):
        block = block_of(layer, scale[before.name] if before else Fraction(1))
        if block:
            blocks.append(block)
        position[layer.name] = len(blocks) - 1
        scale[layer.name] = block.scale if block else scale[before.name] if before else Fraction(1)
        for other in parents[layer.name]:
            if other is before:
                continue
            branch, source = chain(other, until=position)
            via, size = [], scale[source.name]
            for step in filter(None, (block_of(step, size) for step in branch)):
                via.append(step)
                size = step.scale
            skips.append(Skip(position[source.name], position[layer.name], tuple(via)))
    return Network(
        tuple(blocks),
        tuple(skips),
        size=model.input_shape[1],
        patches=len(model.output_shape) == 4,
        parameters=model.count_params(),
    )


def innermost(network):
    """The skips that hold no other skip, in the order of the row."""
    around = [
        skip
        for skip in network.skips
        if not any(skip.start <= other.start and other.end <= skip.end for other in network.skips if other is not skip)
    ]
    return sorted(around, key=lambda skip: skip.start)


def fold(network):
    """Keep one of each run of equal residual blocks and note in `repeats` how many there were."""
    runs = []  # lists of skips that follow each other and hold equal blocks
    for skip in innermost(network):
        held = (network.blocks[skip.start + 1 : skip.end + 1], skip.via)
        if runs and runs[-1][1] == held and runs[-1][0][-1].end == skip.start:
            runs[-1][0].append(skip)
        else:
            runs.append(([skip], held))
    gone = {
        index for skips, _ in runs for again in skips[1:] for index in range(again.start + 1, again.end + 1)
    }  # positions in the row
    # A position that goes is taken by the last one kept before it: the end of the block that stands for it.
    new, kept = {-1: -1}, -1
    for index in range(len(network.blocks)):
        kept += index not in gone
        new[index] = kept
    return replace(
        network,
        blocks=tuple(block for index, block in enumerate(network.blocks) if index not in gone),
        skips=tuple(
            replace(skip, start=new[skip.start], end=new[skip.end]) for skip in network.skips if skip.end not in gone
        ),
        repeats=tuple((new[skips[0].start] + 1, new[skips[0].end], len(skips)) for skips, _ in runs),
    )


def describe(network):
    """The folded network as plain values, as they are kept in the PNG's text."""
    return json.loads(json.dumps(asdict(network), default=str))


# --- from blocks to a picture -----------------------------------------------------------------------------------------

# Lengths are in units of half a pixel of the README's page; the picture has a pixel a unit and is drawn SMOOTH as large.
SMOOTH = 3
MARGIN, BAR, CLOSE, GAP, WIDEST_GAP = 36, 40, 6, 30, 84
NARROWEST = 1740  # of a row: twice the README's 900 pixels with the margins
TALLEST, STEP, LOWEST = 300, 40, 172  # bar heights: at the largest size, less for each halving, and the least
PAPER, PANEL, LINE, INK, SOFT, BRACKET = "#ffffff", "#e9edf6", "#5c677d", "#1d2433", "#69748a", "#b4bccb"
COLOURS = {  # kind: (bar, text)
    "convolution": ("#3f66d6", "#ffffff"),
    "normalization": ("#f6c453", "#4a3505"),
    "activation": ("#57c4a6", "#07382b"),
    "upsampling": ("#9069d8", "#ffffff"),
    "dense": ("#44506b", "#ffffff"),
    "sum": ("#e4604e", "#ffffff"),
    "other": ("#a3adbf", "#1d2433"),
}


class Canvas:
    """Pillow's drawing with smooth edges: everything is drawn SMOOTH times as large and reduced at the end."""

    def __init__(self, width, height):
        self.image = Image.new("RGB", (round(width * SMOOTH), round(height * SMOOTH)), PAPER)
        self.pen = ImageDraw.Draw(self.image)

    def scaled(self, values):
        return [round(value * SMOOTH) for value in values]

    def box(self, left, top, right, bottom, fill, radius=8, outline=None, width=0):
        corners = self.scaled((left, top, right, bottom))
        self.pen.rounded_rectangle(corners, radius * SMOOTH, fill, outline, round(width * SMOOTH))

    def line(self, *points, colour=LINE, width=3):
        self.pen.line(self.scaled(points), colour, round(width * SMOOTH), joint="curve")

    def arrow(self, x, y, direction, colour=LINE, size=9):
        """An arrow's head with its tip at (x, y), pointing "right" or "down"."""
        across = ((-1.5, -0.8), (-1.5, 0.8)) if direction == "right" else ((-0.8, -1.5), (0.8, -1.5))
        points = [(x, y)] + [(x + size * dx, y + size * dy) for dx, dy in across]
        self.pen.polygon([tuple(self.scaled(point)) for point in points], colour)

    def disc(self, x, y, radius, fill):
        self.pen.ellipse(self.scaled((x - radius, y - radius, x + radius, y + radius)), fill)

    def text(self, x, y, text, size=26, colour=INK, anchor="mm"):
        self.pen.text(self.scaled((x, y)), text, colour, font(size), anchor)

    def upright(self, x, y, text, size, colour):
        """`text` from bottom to top, its middle at (x, y)."""
        _, top, _, bottom = font(size).getbbox("Hp" + text, anchor="ls")
        width = round(font(size).getlength(text))
        mask = Image.new("L", (width, bottom - top))
        ImageDraw.Draw(mask).text((0, -top), text, 255, font(size), "ls")
        mask = mask.rotate(90, expand=True)
        # The middle of the capitals and not of the box, or letters with descenders would push the word aside.
        capital = -font(size).getbbox("H", anchor="ls")[1]
        place = round(x * SMOOTH + capital / 2) + top, round(y * SMOOTH - mask.height / 2)
        self.image.paste(Image.new("RGB", mask.size, colour), place, mask)

    def finished(self):
        return self.image.reduce(SMOOTH)


_fonts = {}


def font(size):
    if size not in _fonts:
        _fonts[size] = ImageFont.load_default(size * SMOOTH)
    return _fonts[size]


def bar_height(block, largest):
    """Taller at a larger picture; a dense layer, which has no size, is the least."""
    if not block.scale:
        return LOWEST
    halvings = 0
    while block.scale * 2**halvings < largest:
        halvings += 1
    return max(LOWEST, TALLEST - STEP * halvings)


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
        for (gaps, fixed), _ in zip(self.spaces(), self.network.blocks, strict=False):
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
    blocks = row.network.blocks
    first = 0
    for index, block in enumerate(blocks):
        if index + 1 < len(blocks) and blocks[index + 1].scale == block.scale:
            continue
        if block.scale:
            left, right = row.x[first] + 2, row.x[index] + BAR - 2
            canvas.line(left, y - 10, left, y, right, y, right, y - 10, colour=BRACKET, width=2)
            canvas.text((left + right) / 2, y + 24, size_text(row.network, block), 24, SOFT)
        first = index + 1


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


def main(argv=None):
    parser = argparse.ArgumentParser(description="Draw the paper's networks as they are built here.")
    parser.add_argument("--output", type=Path, default=ROOT / "model.png", metavar="FILE", help="default: model.png")
    arguments = parser.parse_args(argv)
    try:
        load_keras()
        from srgan.files import atomic_path
        from srgan.networks import discriminators, generators

        networks = [fold(read(model)) for model in (generators.srresnet(), discriminators.srgan())]
        text = PngImagePlugin.PngInfo()
        text.add_text("Description", json.dumps([describe(network) for network in networks]))
        with atomic_path(arguments.output) as temporary:
            draw(*networks).save(temporary, optimize=True, pnginfo=text)
    except SRGANError as error:
        print(f"draw_model: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        print(f"draw_model: {error.filename or arguments.output}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
