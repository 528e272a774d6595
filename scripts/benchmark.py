"""Measure how fast the parts of srgan are on this machine. What belongs together is measured in turns, and is printed as
ratios, which stand while the machine does other things beside.

    python scripts/benchmark.py upscale
    python scripts/benchmark.py large
    python scripts/benchmark.py train
    python scripts/benchmark.py gpu
"""

import argparse
import json
import os
import statistics
from importlib.util import find_spec

from common.gpu import gpu
from common.measuring import (
    MAKE_MODEL,
    UPSCALE,
    child,
    in_turns,
    line,
    operations_per_pixel,
    photograph,
    scratch_folder,
    torch_generator,
)

LARGE_PICTURE = """
import json, sys, time
import numpy as np
from PIL import Image
from srgan.pictures import Picture, write_picture
from srgan.upscale import Upscaler
model, photograph, width, height, target = sys.argv[1:]
photograph = Image.open(photograph).convert("RGB")
pixels = np.asarray(photograph.resize((int(width), int(height))))
small = np.asarray(photograph.resize((224, 224)))
upscaler, beside, turns = Upscaler(model), Upscaler(model), []
beside(small)
def small_in_turns(done, total):
    if done % 4 == 1:
        start = time.perf_counter()
        beside(small)
        turns.append(time.perf_counter() - start)
start = time.perf_counter()
result = upscaler(Picture(pixels), on_tile=small_in_turns)
seconds = time.perf_counter() - start - sum(turns)
start = time.perf_counter()
write_picture(result, target)
writing = time.perf_counter() - start
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
peak = 1024 * int(status["VmHWM"].split()[0])  # not ru_maxrss, which remembers the process that started this one
cost, small_cost = seconds / result.pixels.size, sum(turns) / len(turns) / (small.size * 16)
print(json.dumps([cost / small_cost, writing, peak - result.pixels.nbytes]))
"""


def convolution_rate():
    """A function that runs 3x3 convolutions of 256 channels in bfloat16, and how many operations that is."""
    import numpy as np
    import openvino as ov
    from openvino import opset13 as opset

    x = parameter = opset.parameter([1, 256, 64, 64], np.float32)
    for seed in range(8):
        kernel = np.random.default_rng(seed).normal(0, 0.02, (256, 256, 3, 3)).astype(np.float32)
        x = opset.relu(opset.convolution(x, kernel, [1, 1], [1, 1], [1, 1], [1, 1]))
    compiled = ov.compile_model(ov.Model([x], [parameter]), "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    noise = np.random.default_rng(0).random((1, 256, 64, 64), np.float32)
    return lambda: compiled(noise), 8 * 2 * 9 * 256 * 256 * 64 * 64


def upscale(arguments):
    import numpy as np
    from PIL import Image

    from srgan.upscale.engines.loading import load_engine
    from srgan.upscale.picture_job import upscale_files
    from srgan.upscale.upscaler import Upscaler

    rounds = arguments.rounds
    folder = scratch_folder()
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    picture = Image.fromarray(photograph())
    picture.save(folder / "photograph.png")
    small = folder / "small.jpg"
    picture.crop((100, 50, 292, 242)).save(small, quality=95)
    model = arguments.model
    if model is None:
        model = folder / "srresnet.keras"
        child(MAKE_MODEL, model)
    engine = load_engine(model)
    line("engine", f"{engine.name}, {engine.device}, {engine.precision}")

    # (a) The whole process.
    files = [small, folder / "small.png", "--model", model]
    child(UPSCALE, *files)  # once, to fill the cache
    works = {"ours": lambda: child(UPSCALE, *files)}
    if find_spec("tensorflow"):
        works["tensorflow"] = lambda: child(UPSCALE, *files, "--engine", "keras", KERAS_BACKEND="tensorflow")
    times = in_turns(works, rounds)
    line("a  srgan-upscale, 192x192 JPEG to 768x768 PNG, whole process", f"{times['ours']:.2f} s", "under 1 s")
    if "tensorflow" in times:
        ratio = times["tensorflow"] / times["ours"]
        line("a  the same through TensorFlow takes", f"{ratio:.1f} times as long", "at least 5")

    # (b) Steady throughput.
    lr = np.asarray(picture.crop((100, 50, 292, 242)), np.float32)[None] / 255
    convolve, operations = convolution_rate()
    works = {"ours": lambda: engine(lr), "convolution": convolve}
    if arguments.model is None:
        fast = load_engine("srgan-fast")
        works["fast"] = lambda: fast(lr)
    if find_spec("torch"):
        import torch

        torch.set_num_threads(os.cpu_count())
        generator, tensor = torch_generator(), torch.from_numpy(lr.transpose(0, 3, 1, 2).copy())
        works["torch"] = lambda: generator(tensor)
    for work in works.values():
        work()
    times = in_turns(works, 3 * rounds)
    line("b  network, 192x192", f"{lr[0, ..., 0].size / times['ours'] / 1e6:.3f} MP/s")
    if "torch" in times:
        ratio = times["torch"] / times["ours"]
        line("b  the same in PyTorch, float32, takes", f"{ratio:.1f} times as long", "at least 2")
    else:
        line("b  the same in PyTorch", "skipped: no torch")
    if "fast" in times:
        line("b  srresnet takes as long as srgan-fast", f"{times['ours'] / times['fast']:.1f} times", "at least 4")
    rate = operations_per_pixel() * lr[0, ..., 0].size / times["ours"]
    share = rate / (operations / times["convolution"])
    line("b  of the rate of bfloat16 convolutions of 256 channels", f"{share:.0%}", "at least 45 %")

    # (c) Many small pictures.
    random = np.random.default_rng(0)
    pairs, pixels = [], []
    for index in range(100):
        width, height = random.integers(48, 129, 2)
        left, top = random.integers(0, 512 - 128, 2)
        crop = picture.crop((left, top, left + width, top + height))
        source = folder / "many" / f"{index}.jpg"
        source.parent.mkdir(exist_ok=True)
        crop.save(source, quality=95)
        pairs.append((source, folder / "many-x4" / f"{index}.png"))
        pixels.append(np.asarray(crop, np.float32)[None] / 255)
    upscaler = Upscaler(model)
    works = {
        "files": lambda: upscale_files(pairs, lambda: upscaler),
        "network": lambda: [upscaler.engine(lr) for lr in pixels],
    }
    in_turns(works, 1)
    times = in_turns(works, 2 * rounds)
    overhead = times["files"] / times["network"] - 1
    line("c  100 small files to files, over their network times", f"{overhead:+.1%}", "below +10 %")

    # (d) Cost a pixel, and memory. A small picture is computed after every fourth tile: a host that slows down under load
    # would otherwise make the large ones look dearer.
    sizes = [(640, 480), (1600, 1200)] * rounds + [(4000, 3000)] * arguments.large
    runs = {}
    for size in sizes:
        out, _ = child(LARGE_PICTURE, model, folder / "photograph.png", *size, folder / "large.png")
        runs.setdefault(size, []).append(json.loads(out))
    for (width, height), figures in runs.items():
        cost, writing, memory = map(statistics.median, zip(*figures))
        more = f"{memory / 2**30:.2f} GiB over its output array, written in {writing:.1f} s"
        line(f"d  {width} x {height}: cost a pixel over that of 224 x 224, one tile", f"{cost:.2f}", more)
    if arguments.large:
        line("   memory for 4000 x 3000 over its output array", f"{memory / 2**30:.2f} GiB", "under 3 GiB")


IN_STRIPS = """
import os, sys
import srgan.upscale.large_job as large_job
from srgan.cli.upscale import main
large_job.LARGE, end = 0, os._exit
def leave(status):
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1], flush=True)
    end(status)
os._exit = leave
main()
"""


def large(arguments):
    """Peak memory of the whole command for pictures that are upscaled in strips, by a small network, by their size."""
    from PIL import Image

    folder = scratch_folder()
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    child(MAKE_MODEL, folder / "small.keras", json.dumps({"filters": 4, "blocks": 1}))
    for width, height in [(2000, 1500), (4000, 3000), (7500, 5000)][: arguments.sizes]:
        Image.fromarray(photograph()).resize((width, height)).save(folder / "large.jpg")
        for suffix in ("png", "jpg", "tif"):
            files = folder / "large.jpg", folder / f"large-x4.{suffix}"
            out, seconds = child(IN_STRIPS, *files, "--model", folder / "small.keras")
            (folder / f"large-x4.{suffix}").unlink()
            what = f"{width} x {height} to {4 * width} x {4 * height} as {suffix}, in {seconds:.0f} s: peak memory"
            line(what, f"{int(out) / 2**20:.2f} GiB", "under 1.4")


TRAINING_STEPS = """
import json, sys, time
from srgan.runtime import load_keras
keras = load_keras()
from srgan.train import build
from srgan.config.schema import Config
from srgan.train.data.batches import Batches
config_name, precision, store, steps = sys.argv[1:]
config = Config.load(config_name, [f"precision={precision}", "gan.vgg19=random"])
keras.config.set_dtype_policy(precision)
from srgan.train.data.prepare import Store
sizes = config.batches
batches = Batches(Store.open(store), size=sizes.size, crop=sizes.crop, steps=10**6, seed=(0,))
generator, features, seconds = build.build_generator(config), build.build_features(config.gan), {}
for stage in build.STAGES:
    model = build.build_model(stage, config, generator, features)
    for step in range(int(steps) + 3):
        if step == 3:
            start = time.perf_counter()
        model.train_on_batch(*batches[step])
    seconds[stage] = (time.perf_counter() - start) / int(steps)
wide = keras.Sequential([keras.Input((64, 64, 256)), *[keras.layers.Conv2D(256, 3, padding="same") for _ in range(8)]])
wide.compile("sgd", "mse")
noise = keras.random.normal((1, 64, 64, 256))
for step in range(int(steps) + 3):
    if step == 3:
        start = time.perf_counter()
    wide.train_on_batch(noise, noise)
seconds["convolution"] = (time.perf_counter() - start) / int(steps)
start = time.perf_counter()
for step in range(50):
    batches[step]
seconds["batch"] = (time.perf_counter() - start) / 50
seconds["pixels"] = sizes.size * (sizes.crop // config.network.scale) ** 2
print(json.dumps(seconds))
"""

OPEN_STORE = """
import sys, time
from srgan.train.data.batches import Batches
from srgan.train.data.prepare import Store
start = time.perf_counter()
Batches(Store.open(sys.argv[1]), size=16, crop=96, steps=1, seed=(0,))[0]
print(time.perf_counter() - start)
"""


def empty_store(folder, count, size=384, scale=4):
    """A store of `count` black pictures that takes no room on the disk: its files are holes."""
    folder.mkdir(parents=True)
    for name, side in (("hr.bin", size), ("lr.bin", size // scale)):
        with open(folder / name, "wb") as file:
            file.truncate(count * side * side * 3)
    content = {"count": count, "size": size, "scale": scale, "skipped": [], "digest": ""}
    (folder / "store.json").write_text(json.dumps(content))
    return folder


def train(arguments):
    folder = scratch_folder()
    stores = {count: empty_store(folder / str(count), count) for count in (800, 118_000)}
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    for precision in ("float32", "mixed_bfloat16"):
        out, _ = child(TRAINING_STEPS, arguments.config, precision, stores[800], arguments.steps)
        seconds = json.loads(out.splitlines()[-1])
        for stage in ("pixel", "gan"):
            line(f"{backend}, {precision}, {stage} stage", f"{1 / seconds[stage]:.2f} steps/s")
        if arguments.config == "coco":  # backwards, a convolution computes twice as much as forwards
            rate = 3 * operations_per_pixel() * seconds["pixels"] / seconds["pixel"]
            share = rate / (3 * 8 * 2 * 9 * 256 * 256 * 64 * 64 / seconds["convolution"])
            line("of the rate of training convolutions of 256 channels, the pixel stage has", f"{share:.0%}")
        line("batches, one thread", f"{1 / seconds['batch']:.0f} batches/s")
        ratio = seconds["pixel"] / seconds["batch"]
        line("batches come faster than the faster stage needs them", f"{ratio:.0f} times", "at least 10")
    few, many = (statistics.median(float(child(OPEN_STORE, each)[0]) for _ in range(5)) for each in stores.values())
    line("opening a store and its first batch, 118,000 pictures over 800", f"{many / few:.2f} times")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("upscale", help="srgan-upscale: start, throughput, overhead, memory")
    command.add_argument("--model", help="a .keras file (default: the paper's network with random weights)")
    command.add_argument("--rounds", type=int, default=5, help="of each comparison; the median is taken (default: 5)")
    command.add_argument("--large", action="store_true", help="12 megapixels, too: takes minutes")
    command.set_defaults(run=upscale)
    command = commands.add_parser("large", help="srgan-upscale, pictures larger than memory: peak memory by size")
    command.add_argument("--sizes", type=int, default=3, help="how many of three sizes (default: all)")
    command.set_defaults(run=large)
    command = commands.add_parser("train", help="srgan-train: steps and batches a second")
    command.add_argument("--config", default="coco", help="a configuration (default: coco, the paper's)")
    command.add_argument("--steps", type=int, default=10, help="timed of each stage and precision (default: 10)")
    command.set_defaults(run=train)
    command = commands.add_parser("gpu", help="the network through Keras and PyTorch on a GPU, or on the CPU")
    command.add_argument("--side", type=int, help="of the picture in pixels (default: 384, on the CPU 96)")
    command.add_argument("--rounds", type=int, default=10, help="of the comparison; the median is taken (default: 10)")
    command.set_defaults(run=gpu)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
