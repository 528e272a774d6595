"""srgan-upscale"""

import argparse
import contextlib
import logging
import sys
import warnings
from collections import Counter
from functools import cache

from srgan.cli import _auto_or_number, _log_to_stderr, _parser, _run
from srgan.errors import UsageError
from srgan.interrupts import end_on_signals
from srgan.models import SHIPPED, default_notice, find_model, list_models


def main(argv: list[str] | None = None) -> int:
    """srgan-upscale"""
    if argv is None:
        from srgan.memory import save_addresses

        save_addresses()  # before the first thread
        end_on_signals()
    parser = _upscale_parser()
    is_plain = "--" in (sys.argv if argv is None else argv)  # which parse_intermixed_args does not know
    arguments = (parser.parse_args if is_plain else parser.parse_intermixed_args)(argv)
    arguments.input = arguments.named_input + arguments.input
    if arguments.named_output is not None:
        arguments.input += [arguments.output] if arguments.output is not None else []
        arguments.output = arguments.named_output
    elif arguments.output is None and len(arguments.input) > 1:
        arguments.output = arguments.input.pop()
    if not (arguments.input and arguments.output):
        parser.error("give an INPUT and an OUTPUT")
    return _run(lambda: _upscale(arguments), at_once=argv is None)


def _upscale_parser():
    models = "\n".join(f"  {name:12} {about}" for name, about in SHIPPED.items())
    parser = _parser(
        "srgan-upscale",
        "Upscale pictures and clips x4: files, or folders of pictures into a folder.\n"
        "A clip is a video file, or a folder of numbered frames whose OUTPUT is one. A stopped clip goes on where it was\n"
        "with the same command: what is finished waits in a hidden folder beside OUTPUT.",
        "examples:\n"
        "  srgan-upscale photo.jpg photo-x4.png\n"
        "  srgan-upscale --recursive --skip-existing photos/ photos-x4/\n"
        "  srgan-upscale --scale 2 --format jpg *.png large/\n"
        "  curl -s URL | srgan-upscale - - > large.png\n"
        "  srgan-upscale clip.mp4 large.mp4 --start 1:30 --end 1:45\n"
        "  srgan-upscale frames/ video.mkv --fps 24       # a folder of frames to a video\n"
        "  srgan-upscale video.mkv frames/%05d.png        # a video to a folder of frames\n"
        f"models:\n{models}\n"
        "exit status: 0 all done, 1 something failed, 2 the command makes no sense, 130 or 143 ended by a signal",
    )
    add = parser.add_argument
    add("input", nargs="*", metavar="INPUT", help="pictures, folders of pictures, clips, or - for standard input")
    add(
        "output", nargs="?", metavar="OUTPUT",
        help="a picture or a clip (mp4, mkv, webm, mov, gif) whose suffix says the format, a folder, out/%%05d.png for "
        "the frames of a clip (from 00001 on), or - for standard output; what is there already is replaced",
    )  # fmt: skip
    add("-i", "--input", dest="named_input", action="append", default=[], metavar="INPUT", help="an INPUT, too")
    add("-o", "--output", dest="named_output", metavar="OUTPUT", help="OUTPUT, where it is not the last argument")
    add(
        "-m", "--model", metavar="MODEL",
        help="a .keras, .pth, .safetensors or .onnx file, a run folder, hf://OWNER/NAME, or a name (--list-models)",
    )  # fmt: skip
    add("--list-models", action=_ListModels, nargs=0, help="print the names that --model takes, and end")
    add(
        "-s", "--scale", type=_factor, metavar="N",
        help="how many times as wide and high: 2, 2x, 2.5 (default: as the model makes it, 4)",
    )  # fmt: skip
    add("--long-side", type=_pixels, metavar="PIXELS", help="in place of --scale: how long the longer side becomes")
    add("--fit", type=_box, metavar="WxH", help="in place of --scale: as large as fits into so many pixels")
    add("--strength", type=float, default=1.0, metavar="0..1", help="below 1: blend the weights with the pixel model's")
    add(
        "--pixel-model", metavar="MODEL", help="what --strength blends with (default: the model's pixel-trained sister)"
    )
    add(
        "--denoise",
        type=_auto_or_number,
        metavar="auto|0..1",
        help="how much of the noise and of JPEG's traces goes, not of all models: auto (the default) goes by the noise of each "
        "picture and is 0.5 for clips; 0.5 is the model as trained",
    )
    add("-r", "--recursive", action="store_true", help="take the folders in a folder, too")
    add("--skip-existing", action="store_true", help="leave alone what is there already: goes on with a stopped run")
    add(
        "--format", metavar="SUFFIX",
        help="of files in a folder and of standard output: png, jpg, webp, tif, bmp, tga, dds, avif, jxl",
    )  # fmt: skip
    add("--quality", type=int, metavar="1..100", help="of JPEG, WebP and AVIF (default: 95)")
    add("--pyramid", action="store_true", help="write TIFF in tiles, with smaller versions of the picture beside it")
    add("--lossless", action="store_true", help="write WebP without loss")
    add("--compression", type=int, metavar="0..9", help="of PNG, fast to small (default: 2)")
    add("--alpha", default="auto", metavar="KIND", help="auto (transparency), data (a fourth channel) or network")
    add("--wrap", action="store_true", help="the picture is a texture that repeats: keep it without a seam")
    add("--palette", action="store_true", help="write a picture of a palette with the same palette (PNG)")
    add("--strip-metadata", action="store_true", help="leave out EXIF, XMP, IPTC and texts")
    add("--keep-time", action="store_true", help="give outputs the time at which their inputs were modified")
    add("--engine", default="auto", help="auto, openvino or keras (default: Keras on a GPU, else OpenVINO)")
    add("--precision", default="auto", help="auto, float32 or bfloat16 (default: what the machine is fast in)")
    add("--device", metavar="NAME", help="of OpenVINO: CPU, GPU, GPU.1, NPU (default: the faster of CPU and GPU)")
    add("--threads", type=int, metavar="N", help="that compute on the CPU (default: as many as there are cores)")
    add(
        "--ray", metavar="ADDRESS", help="on a Ray cluster: its address, or auto; INPUT and OUTPUT are folders or s3://"
    )
    add("--tile", type=int, metavar="PIXELS", help="side of the pieces computed at once (default: as memory allows)")
    add("--activation", metavar="KIND", help="what a .pth may not say: relu or leaky_relu (default: as published)")
    add("--range", type=int, metavar="MAX", help="likewise, the largest value that a model takes: 1 or 255")
    add("--overlap", type=int, metavar="PIXELS", help="what a piece sees beyond its own (default: as the model needs)")
    add(
        "--max-pixels", type=int, metavar="N",
        help="refuse input pictures with more pixels (default: 100000000, of files that are read in strips 1000000000; "
        "0: take any)",
    )  # fmt: skip
    either = parser.add_mutually_exclusive_group().add_argument
    either("-v", "--verbose", action="store_true", help="a line for each file")
    either("-q", "--quiet", action="store_true", help="errors only")
    add("--json", action="store_true", help="an object for each file on standard output: what became of it")
    add("--dry-run", action="store_true", help="print what would be read and written, and do nothing")
    add = parser.add_argument_group("clips").add_argument
    add("--codec", metavar="NAME", help="an encoder of FFmpeg (default: libx264, in WebM libvpx-vp9)")
    add("--crf", type=float, metavar="N", help="its quality, less is better (default: 18 for libx264)")
    add("--start", type=_seconds, metavar="TIME", help="where to begin, in seconds or h:mm:ss")
    add("--end", type=_seconds, metavar="TIME", help="where to stop")
    add(
        "--deinterlace",
        choices=("auto", "on", "off"),
        default="auto",
        help="make whole frames of frames of two fields: auto (those that the file marks as interlaced, the default), on "
        "(all) or off",
    )
    add("--fps", type=float, metavar="N", help="frames a second of a folder of frames (default: 25)")
    return parser


class _ListModels(argparse.Action):
    def __call__(self, parser, *_):
        print("\n".join(list_models()))
        parser.exit()


def _upscale(arguments):
    from PIL import Image

    from srgan.cli.effects import tell_without_effect
    from srgan.cli.telling import (
        missing_inputs,
        tell_changed_formats,
        tell_file,
        tell_left_out,
        tell_plan,
        tell_sidecars,
    )
    from srgan.pictures.drawings import are_drawings
    from srgan.upscale import Upscaler
    from srgan.upscale.clip_planning import first_file, split_inputs
    from srgan.upscale.picture_job import MAX_PIXELS, MAX_STRIP_PIXELS, upscale_files
    from srgan.upscale.picture_planning import LeftOut, check_options, plan, separate

    Image.MAX_IMAGE_PIXELS = None  # --max-pixels stands for it
    warnings.simplefilter("ignore")  # of Pillow, about odd but readable files
    _log_to_stderr(logging.ERROR if arguments.quiet else logging.INFO)
    if sum(bool(each) for each in (arguments.scale, arguments.long_side, arguments.fit)) > 1:
        raise UsageError("--scale, --long-side and --fit each say how large the result is; give one of them")
    if arguments.output == "-" and (arguments.json or arguments.dry_run):
        raise UsageError("--json and --dry-run write to standard output, where - puts the picture; name a file")
    if arguments.output == "-" and sys.stdout.isatty():
        raise UsageError("-: standard output is a terminal; send it to a file or a pipe")
    fit = arguments.fit or (arguments.long_side and (arguments.long_side, arguments.long_side))
    quality = 95 if arguments.quality is None else arguments.quality
    compression = 2 if arguments.compression is None else arguments.compression
    check_options(quality, compression)
    suffix = arguments.format and "." + arguments.format.lower().lstrip(".")
    options = {"quality": quality, "lossless": arguments.lossless, "compression": compression}
    options |= {"strip_metadata": arguments.strip_metadata, "keep_time": arguments.keep_time}
    options["pyramid"] = arguments.pyramid
    limits = {"max_pixels": MAX_PIXELS, "max_strip_pixels": MAX_STRIP_PIXELS}
    if arguments.max_pixels is not None:
        limits = dict.fromkeys(limits, arguments.max_pixels or None)
    if arguments.ray:
        from srgan.cli.on_cluster import upscale_folder

        return upscale_folder(arguments, suffix, _settings(arguments, fit), limits | options)
    times = {"start": arguments.start, "end": arguments.end, "rate": arguments.fps}
    clips, rest = split_inputs(arguments.input, arguments.output, **times)
    place = arguments.output + "/" * bool(clips and rest)
    problems, left_out = [], LeftOut()
    folders = {"recursive": arguments.recursive, "suffix": suffix, "on_problem": problems.append, "left_out": left_out}
    planned, clashes = separate((plan(rest, place, **folders) if rest else []) + clips)
    missing = missing_inputs(planned, arguments.skip_existing)
    failures = [*problems, *clashes, *missing.values()]
    for problem in failures:
        logging.getLogger("srgan").error("%s", problem)
    planned = [pair for pair in planned if pair not in missing]
    clip_sources = {source for source, _ in clips}
    pairs = [pair for pair in planned if pair[0] not in clip_sources]
    clips = [pair for pair in planned if pair[0] in clip_sources]

    tell_left_out(left_out)
    if not suffix:
        tell_changed_formats([pair for pair in pairs if str(pair[1]) != arguments.output])
    if not arguments.strip_metadata:
        tell_sidecars(source for source, _ in pairs)
    if planned:
        tell_without_effect(arguments, pairs, clips)
    if arguments.json:
        for (source, target), problem in missing.items():
            tell_file(source, target, "failed", error=problem, as_json=True)
    if arguments.dry_run:
        tell_plan(pairs + clips, arguments.skip_existing, arguments.scale, fit, arguments.json)
        return 1 if failures else 0
    telling = {"verbose": arguments.verbose, "as_json": arguments.json}
    if arguments.json:
        telling["model"] = find_model(arguments.model)

    def on_picture(task, status, number, total):
        facts = {"error": task.error, "sizes": task.sizes, "denoise": task.denoise, "seconds": round(task.seconds, 3)}
        tell_file(task.source, task.target, status, number=number, total=total, **facts, **telling)

    def on_clip(source, target, status, error):
        tell_file(source, target, status, error=error, **telling)

    def make_upscaler():
        upscaler = Upscaler(**_settings(arguments, fit))
        if arguments.model is None:  # said once it is known that the options make sense
            sources = [source for source, _ in pairs + clips]
            notice = default_notice(sources, not arguments.quiet and are_drawings(sources), clips=bool(clips))
            logging.getLogger("srgan").info("%s", notice)
        return upscaler

    counts = Counter(done=0, skipped=0, failed=len(failures))
    options["skip_existing"] = arguments.skip_existing
    make_upscaler = cache(make_upscaler)
    if pairs:
        waiting = sum(not (arguments.skip_existing and first_file(target).exists()) for _, target in clips)
        more = {"stream_suffix": suffix or ".png", "clips": waiting, **limits, **options}
        counts.update(upscale_files(pairs, make_upscaler, on_file=on_picture, **more))
    if clips:
        from srgan.upscale.clip_job import upscale_clips

        options |= {"codec": arguments.codec, "crf": arguments.crf, "deinterlace": arguments.deinterlace}
        options["max_pixels"] = limits["max_pixels"]
        counts.update(upscale_clips(clips, make_upscaler, on_file=on_clip, **times, **options))
    if not arguments.quiet:
        print(f"srgan: {', '.join(f'{count} {what}' for what, count in counts.items())}", file=sys.stderr)
    return 1 if counts["failed"] else 0


def _settings(arguments, fit):
    """The arguments of the Upscaler."""
    names = "model engine precision device threads tile overlap activation scale strength denoise pixel_model"
    settings = {name: getattr(arguments, name) for name in [*names.split(), "alpha", "wrap", "palette"]}
    return settings | {"fit": fit, "value_range": arguments.range}


def _seconds(text):
    """12.5, 1:02.5 or 1:00:02.5 as seconds."""
    with _saying(f"{text!r} is no time; write seconds or h:mm:ss, such as 12.5 or 1:30"):
        parts = [float(part) for part in text.split(":")]
        if len(parts) > 3 or not all(0 <= part < float("inf") for part in parts):
            raise ValueError
    return sum(part * 60**power for power, part in enumerate(reversed(parts)))


def _factor(text):
    """2, 2.5, 2x or x2 as a number."""
    with _saying(f"{text!r} is no scale; write 2, 2x or 2.5"):
        return float(text.lower().removeprefix("x").removesuffix("x"))


def _pixels(text):
    with _saying(f"{text!r} is no number of pixels; write 5000"):
        if int(text) < 1:
            raise ValueError
    return int(text)


def _box(text):
    """1920x1080 as a pair."""
    with _saying(f"{text!r} is no size; write WIDTHxHEIGHT, such as 3840x2160"):
        width, height = map(int, text.lower().split("x"))
        if min(width, height) < 1:
            raise ValueError
    return width, height


@contextlib.contextmanager
def _saying(message):
    """Make a ValueError argparse's with that message."""
    try:
        yield
    except ValueError as error:
        raise argparse.ArgumentTypeError(message) from error
