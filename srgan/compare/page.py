"""The page of a comparison: one HTML file with everything in it, from the template `page.html` beside this module."""

import base64
import io
import json
import math
from dataclasses import asdict
from pathlib import Path

from PIL import Image

# However many pictures there are and however large, a page stays below about 80 MB: a lossless pixel takes one to two
# bytes. One photograph of 12 megapixels with one model is held as a whole, a hundred of them with details of 330x250.
_PAGE_PIXELS, _LEAST_PIXELS = 40_000_000, 160 * 160
_LONGEST_SIDE = 16383  # of a WebP picture


def pixels_each(pictures, versions) -> int:
    """How many pixels of each large version of each picture a page can hold."""
    return max(_LEAST_PIXELS, _PAGE_PIXELS // (pictures * versions))


def picture(scene, detail, pixels) -> dict:
    """What a page holds of a scene: the whole of it, or `pixels` of it around `detail`, without loss, as data URIs.

    `shown` is (left, top, width, height) in pixels of the large versions, and `detail` (top, left, height, width).
    """
    height, width = next(iter(scene.enlarged.values())).shape[:2]
    left, top, shown_width, shown_height = shown = _window(width, height, detail, pixels, scene.scale)
    versions = {}
    for label, whole in scene.versions().items():
        step = width // whole.shape[1]
        part = whole[top // step : (top + shown_height) // step, left // step : (left + shown_width) // step]
        # Quick; 15 % larger than the best.
        versions[label] = _data_uri(Image.fromarray(part), lossless=True, quality=0, method=0)
    thumbnail = Image.fromarray(list(scene.versions().values())[-1])
    thumbnail.thumbnail((192, 192))
    return {"shown": shown, "detail": detail, "thumbnail": _data_uri(thumbnail, quality=80), "versions": versions}


def _window(width, height, detail, pixels, scale):
    shrink = min(1.0, math.sqrt(pixels / (width * height)), _LONGEST_SIDE / max(width, height))
    top, left, high, wide = detail
    window = []
    for whole, start, length in ((width, left, wide), (height, top, high)):
        size = min(whole, max(scale, round(whole * shrink / scale) * scale))
        first = (start + length // 2 - size // 2) // scale * scale
        window.append((min(max(0, first), whole - size), size))
    (x, shown_width), (y, shown_height) = window
    return x, y, shown_width, shown_height


def _data_uri(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **options)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def page(report, embedded, kinds, images="data:") -> str:
    """The page as text.

    Args:
        report: what `srgan.compare.report.compare` returns, without numbers that JSON has no word for.
        embedded: what `picture` returned for each picture of the report.
        kinds: the Metric of every score in it; without any, the page is the viewer alone.
        images: where pictures may come from, as a Content-Security-Policy says it.
    """
    content = {
        "report": report,
        "metrics": {key: asdict(metric) for key, metric in kinds.items()},
        "embedded": embedded,
        "labels": list(embedded[0]["versions"]),
        "scale": report["protocol"]["scale"],
    }
    template = Path(__file__).with_suffix(".html").read_text(encoding="utf-8").replace("{{images}}", images)
    # "<" escaped, so that no name in it can end the script element.
    return template.replace("{{report}}", json.dumps(content, ensure_ascii=False).replace("<", "\\u003c"))
