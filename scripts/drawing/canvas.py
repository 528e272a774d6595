"""Drawing with Pillow and smooth edges. Lengths are in pixels of the picture that comes out."""

from functools import cache

from PIL import Image, ImageDraw, ImageFont

SMOOTH = 3  # everything is drawn so many times as large
PAPER, LINE, INK = "#ffffff", "#5c677d", "#1d2433"


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


@cache
def font(size):
    return ImageFont.load_default(size * SMOOTH)
