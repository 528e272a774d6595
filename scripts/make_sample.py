"""Make data/sample, a tiny data set in COCO's layout, from public-domain photographs.

    python scripts/make_sample.py            # write data/sample and data/README.md
    python scripts/make_sample.py --check    # only say whether the files there are what this script writes

The photographs lie inside the wheels of scikit-image, SciPy and Matplotlib. A wheel that is not installed (SciPy moved
its photograph out of later ones) is fetched with pip for the time of the run. Each photograph is checked by its SHA-256,
so every run gives the same pixels.

Nothing is resized: a photograph stays whole, or is cut into regions that do not overlap and stay in the same split.
"""

import argparse
import bz2
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageChops

from srgan.errors import SRGANError

DATA = Path(__file__).parents[1] / "data"
JPEG = {"quality": 92, "subsampling": 0, "optimize": True}  # colour at full resolution, or it would train to blur it

CC0, PUBLIC_DOMAIN = 1, 2
LICENSES = [
    {"id": CC0, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"},
    {"id": PUBLIC_DOMAIN, "name": "Public domain", "url": "https://creativecommons.org/publicdomain/mark/1.0/"},
]
CATEGORIES = [  # those of COCO that occur here, with COCO's own ids
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 17, "name": "cat", "supercategory": "animal"},
    {"id": 32, "name": "tie", "supercategory": "accessory"},
    {"id": 47, "name": "cup", "supercategory": "kitchen"},
    {"id": 50, "name": "spoon", "supercategory": "kitchen"},
    {"id": 67, "name": "dining table", "supercategory": "furniture"},
]


class Photograph(NamedTuple):
    name: str
    split: str
    title: str
    author: str
    source: str
    license: int
    wheel: str  # name==version of the package on PyPI that ships it
    member: str  # its path in the wheel
    sha256: str
    size: tuple  # (width, height)
    regions: tuple = ()  # (left, top, width, height) of each picture to cut from it; none: it stays whole
    objects: tuple = ()  # (category, outline as x, y, x, y, ...) in its pixels; only for one that stays whole


SKIMAGE = "scikit-image==0.26.0"

PHOTOGRAPHS = [
    Photograph(
        "astronaut", "train", "Eileen Collins, astronaut", "NASA", "https://flic.kr/p/r9qvLn", PUBLIC_DOMAIN,
        SKIMAGE, "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5", (512, 512),
        objects=(("person", (
            154, 100, 153, 75, 165, 48, 192, 36, 205, 20, 235, 15, 262, 20, 288, 40, 300, 75, 298, 100, 285, 125,
            270, 135, 258, 160, 256, 173, 285, 195, 303, 230, 304, 243, 330, 258, 346, 290, 360, 340, 350, 352,
            325, 365, 300, 390, 285, 420, 278, 460, 277, 511, 60, 511, 28, 500, 22, 440, 19, 395, 33, 330, 42, 280,
            60, 250, 90, 222, 117, 205, 114, 187, 125, 165, 145, 152, 165, 148, 182, 150, 178, 130, 165, 118,
        )),),
    ),
    Photograph(
        "camera", "train", "Man with a camera (gray)", "Lav Varshney",
        "https://github.com/scikit-image/scikit-image/issues/3927", CC0,
        SKIMAGE, "skimage/data/camera.png",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a", (512, 512),
        objects=(("person", (
            0, 250, 22, 225, 32, 205, 52, 175, 75, 148, 100, 130, 130, 124, 150, 106, 160, 105, 168, 90, 185, 72,
            203, 63, 225, 68, 250, 85, 265, 105, 270, 120, 262, 132, 250, 135, 254, 165, 246, 180, 240, 195,
            243, 212, 248, 246, 262, 232, 264, 212, 288, 202, 304, 205, 308, 180, 325, 168, 332, 185, 326, 210,
            308, 226, 290, 240, 288, 258, 304, 272, 272, 296, 246, 312, 206, 294, 142, 382, 150, 430, 150, 511,
            133, 511, 115, 470, 100, 448, 90, 511, 0, 511,
        )),),
    ),
    Photograph(
        "coffee", "train", "Coffee cup (courtesy of Pikolo Espresso Bar)", "Rachel Michetti",
        "https://scikit-image.org/docs/stable/api/skimage.data.html#skimage.data.coffee", CC0,
        SKIMAGE, "skimage/data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7", (600, 400),
        objects=(
            ("cup", (
                174, 95, 182, 68, 205, 42, 240, 24, 283, 18, 325, 23, 365, 42, 395, 70, 407, 100, 406, 125, 398, 155,
                385, 190, 372, 225, 352, 245, 322, 258, 325, 280, 290, 285, 262, 280, 230, 305, 205, 302, 196, 285,
                200, 265, 213, 232, 195, 212, 182, 180, 174, 140,
            )),
            ("spoon", (
                404, 68, 415, 66, 424, 76, 414, 110, 409, 128, 399, 162, 386, 205, 385, 238, 400, 255, 406, 275,
                402, 300, 385, 318, 362, 325, 340, 318, 328, 300, 326, 280, 335, 258, 352, 245, 372, 228, 380, 205,
                392, 170, 403, 130, 408, 100,
            )),
            ("dining table", (0, 100, 165, 0, 599, 0, 599, 399, 0, 399)),
        ),
    ),
    Photograph(
        "rocket", "train", "Falcon 9 with DSCOVR before the launch", "SpaceX",
        "https://www.flickr.com/photos/spacexphotos/16511594820/", PUBLIC_DOMAIN,
        SKIMAGE, "skimage/data/rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c", (640, 427),
        regions=((0, 0, 320, 427), (320, 0, 320, 427)),
    ),
    Photograph(
        "hubble", "train", "Hubble eXtreme Deep Field", "NASA",
        "http://hubblesite.org/newscenter/archive/releases/2012/37/image/a/", PUBLIC_DOMAIN,
        SKIMAGE, "skimage/data/hubble_deep_field.jpg",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4", (1000, 872),
        regions=((100, 80, 400, 350), (560, 470, 400, 350)),
    ),
    Photograph(
        "retina", "train", "Fundus photograph of a normal left eye", "Mikael Häggström",
        "https://commons.wikimedia.org/wiki/File:Fundus_photograph_of_normal_left_eye.jpg", CC0,
        SKIMAGE, "skimage/data/retina.jpg",
        "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6", (1411, 1411),
        regions=((80, 505, 400, 400), (500, 830, 400, 400)),
    ),
    Photograph(
        "brick", "train", "Brick wall (Bricks25, gray)", "CC0 Textures", "https://cc0textures.com/view.php?tex=Bricks25",
        CC0, SKIMAGE, "skimage/data/brick.png",
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf", (512, 512),
        regions=((0, 0, 256, 512), (256, 0, 256, 512)),
    ),
    Photograph(
        "grass", "train", "Grass 01 (gray)", "linolafett", "https://www.deviantart.com/linolafett/art/Grass-01-434853879",
        CC0, SKIMAGE, "skimage/data/grass.png",
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89", (512, 512),
        regions=((0, 0, 256, 256), (256, 256, 256, 256)),
    ),
    Photograph(
        "gravel", "train", "Gravel (Gravel04, gray)", "CC0 Textures", "https://cc0textures.com/view.php?tex=Gravel04",
        CC0, SKIMAGE, "skimage/data/gravel.png",
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12", (512, 512),
        regions=((0, 0, 256, 256), (256, 256, 256, 256)),
    ),
    Photograph(
        "chelsea", "val", "Chelsea the cat", "Stéfan van der Walt",
        "https://scikit-image.org/docs/stable/api/skimage.data.html#skimage.data.chelsea", CC0,
        SKIMAGE, "skimage/data/chelsea.png",
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb", (451, 300),
        objects=(("cat", (
            35, 0, 400, 0, 384, 32, 364, 62, 356, 85, 362, 115, 356, 150, 340, 190, 318, 225, 292, 262, 270, 299,
            0, 299, 0, 128, 32, 112, 33, 60,
        )),),
    ),
    Photograph(
        "hopper", "val", "Commodore Grace M. Hopper, official portrait", "United States Navy",
        "https://github.com/matplotlib/matplotlib/pull/1599", PUBLIC_DOMAIN,
        "matplotlib==3.10.0", "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130", (512, 600),
        objects=(
            ("person", (
                152, 105, 160, 90, 175, 82, 190, 55, 218, 42, 230, 28, 255, 22, 285, 28, 300, 42, 330, 55, 350, 80,
                362, 87, 370, 110, 372, 140, 370, 175, 374, 190, 370, 215, 362, 245, 360, 270, 348, 298, 335, 305,
                330, 315, 360, 345, 425, 368, 485, 388, 500, 415, 511, 445, 511, 599, 12, 599, 20, 520, 28, 430,
                45, 390, 60, 380, 85, 362, 140, 352, 180, 335, 200, 312, 195, 300, 175, 285, 162, 265, 158, 220,
                152, 200, 152, 180, 156, 165,
            )),
            ("tie", (218, 442, 245, 410, 276, 408, 302, 432, 288, 448, 248, 446, 230, 474)),
        ),
    ),
    Photograph(
        "raccoon", "val", "Raccoon (Procyon lotor)", "public-domain-image.com, now pixnio.com",
        "https://pixnio.com/fauna-animals/raccoons/raccoon-procyon-lotor", PUBLIC_DOMAIN,
        "scipy==1.9.3", "scipy/misc/face.dat",
        "9d8b0b4d081313e2b485748c770472e5a95ed1738146883d84c7030493e82886", (1024, 768),
    ),
]  # fmt: skip


def pictures(photograph):
    """The pictures made from `photograph`: a list of (file name, (left, top, width, height))."""
    if not photograph.regions:
        return [(f"{photograph.name}.jpg", (0, 0, *photograph.size))]
    return [(f"{photograph.name}-{number}.jpg", region) for number, region in enumerate(photograph.regions, start=1)]


def installed(photograph):
    """The photograph's file as the installed package ships it, or None where it does not."""
    try:
        path = metadata.distribution(photograph.wheel.split("==")[0]).locate_file(photograph.member)
        content = Path(path).read_bytes()
    except (metadata.PackageNotFoundError, OSError):
        return None
    return content if hashlib.sha256(content).hexdigest() == photograph.sha256 else None


def downloaded(photograph, folder):
    """The photograph's file out of its wheel, which pip fetches into `folder` unless it is there.

    Raises:
        SRGANError: pip cannot fetch the wheel, or the file in it is another.
    """
    name, version = photograph.wheel.split("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not list(folder.glob(pattern)):
        # The file is the same in every wheel of a version, so any platform's will do; this one exists for all three.
        platform = ["--python-version", "3.11", "--platform", "manylinux_2_17_x86_64", "--platform"]
        platform += [
            "manylinux2014_x86_64",
            "--platform",
            "manylinux_2_27_x86_64",
            "--platform",
            "manylinux_2_28_x86_64",
        ]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platform]
        command += ["--dest", str(folder), photograph.wheel]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:]
            raise SRGANError(f"{photograph.wheel}: pip cannot download it ({''.join(reason)})")
    with zipfile.ZipFile(next(folder.glob(pattern))) as wheel:
        content = wheel.read(photograph.member)
    if hashlib.sha256(content).hexdigest() != photograph.sha256:
        raise SRGANError(f"{photograph.wheel}: {photograph.member} is not the photograph that this script knows")
    return content


def encode(photograph, content):
    """Yield (file name, JPEG bytes) for each picture of `photograph`, whose file holds `content`."""
    if photograph.member.endswith(".dat"):  # SciPy's: the RGB bytes and nothing else, under bzip2
        photo = Image.frombytes("RGB", photograph.size, bz2.decompress(content))
    else:
        photo = Image.open(io.BytesIO(content))
    assert photo.size == photograph.size and photo.mode in ("L", "RGB")
    for file_name, (left, top, width, height) in pictures(photograph):
        jpeg = io.BytesIO()
        photo.crop((left, top, left + width, top + height)).save(jpeg, "JPEG", **JPEG)
        yield file_name, jpeg.getvalue()


def annotation(category, outline):
    """COCO's fields for one object, from its outline x, y, x, y, ..."""
    xs, ys = outline[::2], outline[1::2]
    doubled = sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs)))
    return {
        "category_id": next(known["id"] for known in CATEGORIES if known["name"] == category),
        "segmentation": [list(outline)],
        "area": abs(doubled) / 2,
        "bbox": [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)],
        "iscrowd": 0,
    }


def instances(split):
    """The content of instances_train.json or instances_val.json, in the format of COCO's own."""
    images, annotations = [], []
    for number, photograph in enumerate(PHOTOGRAPHS, start=1):
        if photograph.split != split:
            continue
        for part, (file_name, region) in enumerate(pictures(photograph)):
            image = {"id": 10 * number + part, "file_name": file_name, "width": region[2], "height": region[3]}
            images.append({**image, "license": photograph.license})
        for part, (category, outline) in enumerate(photograph.objects):
            ids = {"id": 10 * number + part, "image_id": 10 * number}
            annotations.append({**ids, **annotation(category, outline)})
    return {
        "info": {"description": f"Public-domain photographs in COCO's format, {split} split", "version": "1.0"},
        "licenses": LICENSES,
        "images": images,
        "annotations": annotations,
        "categories": CATEGORIES,
    }


def credits():
    """The content of data/README.md."""
    lines = [
        "# The sample",
        "",
        "`sample/` is a tiny data set in COCO's layout: pictures in `train/` and `val/`, their instances in",
        "`annotations/`. `python scripts/make_sample.py` makes it, and this page. All photographs are CC0 or in the public",
        "domain. None is resized. Where a photograph is cut into several pictures, these do not overlap and belong to one",
        "split, so the splits share no photograph. The outlines were drawn by hand for this project.",
        "",
        "`val/raccoon.jpg`, `val/chelsea.jpg` and `val/hopper.jpg` are never trained on; the README's examples use them.",
        "",
        "| pictures | title | author | licence | shipped in |",
        "| --- | --- | --- | --- | --- |",
    ]
    for photograph in PHOTOGRAPHS:
        files = ", ".join(f"`{photograph.split}/{file_name}`" for file_name, _ in pictures(photograph))
        known = next(each for each in LICENSES if each["id"] == photograph.license)
        title, licence = f"[{photograph.title}]({photograph.source})", f"[{known['name']}]({known['url']})"
        lines.append(f"| {files} | {title} | {photograph.author} | {licence} | {photograph.wheel.replace('==', ' ')} |")
    return "\n".join(lines) + "\n"


def texts():
    """The files of text, as path below data/ to content."""
    made = {"README.md": credits()}
    for split in ("train", "val"):
        # A line an entry: readable, and short enough to see in a diff what has changed.
        parts = (
            f'"{key}": '
            + ("[\n" + ",\n".join(map(json.dumps, value)) + "\n]" if isinstance(value, list) else json.dumps(value))
            for key, value in instances(split).items()
        )
        made[f"sample/annotations/instances_{split}.json"] = "{\n" + ",\n".join(parts) + "\n}\n"
    return made


def files(photographs):
    """Yield (path below data/, content) of everything made from `photographs`, and of the texts."""
    for path, text in texts().items():
        yield path, text.encode()
    with tempfile.TemporaryDirectory() as folder:
        for photograph in photographs:
            content = installed(photograph) or downloaded(photograph, Path(folder))
            for file_name, jpeg in encode(photograph, content):
                yield f"sample/{photograph.split}/{file_name}", jpeg


def differs(path, content):
    """Whether the file at `path` is missing or is not `content`; of two JPEGs, the pixels count.

    One level is let pass, because another build of the JPEG library may round otherwise.
    """
    if not path.is_file():
        return True
    if path.suffix != ".jpg":
        return path.read_bytes() != content
    with Image.open(path) as there, Image.open(io.BytesIO(content)) as made:
        if (there.size, there.mode) != (made.size, made.mode):
            return True
        extrema = ImageChops.difference(there, made).getextrema()
    return max(high for _, high in (extrema if isinstance(extrema[0], tuple) else [extrema])) > 1


def check(data=DATA, photographs=PHOTOGRAPHS):
    """The paths below `data` that are not what this script writes from `photographs`."""
    return [path for path, content in files(photographs) if differs(data / path, content)]


def write(data=DATA):
    """Write the sample and its credits below `data`; return how many bytes."""
    from srgan.files import atomic_path  # brings numpy, which --help need not wait for

    total = 0
    for path, content in files(PHOTOGRAPHS):
        target = data / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as temporary:
            temporary.write_bytes(content)
        total += len(content)
    return total


def main(argv=None):
    parser = argparse.ArgumentParser(description="Make data/sample from public-domain photographs.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a file is not as it would be"
    )
    parser.add_argument("--output", type=Path, default=DATA, metavar="FOLDER", help="default: the checkout's data/")
    arguments = parser.parse_args(argv)
    try:
        if arguments.check:
            if wrong := check(arguments.output):
                raise SRGANError(f"{arguments.output}: not as this script writes it: {', '.join(wrong)}")
            print(f"{arguments.output}: as this script writes it")
        else:
            print(f"{arguments.output}: {write(arguments.output) / 1e6:.2f} MB written")
    except SRGANError as error:
        print(f"make_sample: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
