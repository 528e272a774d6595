"""Make tests/data/foreign: small networks by spandrel's own classes, with what they make of a picture.

    pip install torch spandrel safetensors && python scripts/make_foreign_models.py

Every network has random weights, drawn so large that each layer matters. Beside `NAME.pth` or `NAME.safetensors` lies
`NAME.npz` with a picture (`lr`, (h, w, 3) in [0, 1]) and the original's result in float32 (`sr`).
"""

import re
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact
from spandrel.architectures.ESRGAN.__arch import RRDB as esrgan
from spandrel.architectures.PLKSR import RealPLKSR
from spandrel.architectures.SPAN import SPAN
from torch import nn
from torch.nn import functional

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "data" / "foreign"


def small(network, gain=0.5, seed=0):
    """The network with weights of variance `gain`² / inputs, and biases and slopes that matter."""
    torch.manual_seed(seed)
    for name, values in network.state_dict().items():
        if not values.dtype.is_floating_point or name.endswith("init_pos"):
            continue
        fan_in = values[0].numel() if values.ndim > 1 else 25
        with torch.no_grad():
            values.copy_(torch.randn(values.shape) * gain / fan_in**0.5)
    return network.eval()


def save(name, saved, network, size=(9, 8), legacy=False):
    FOLDER.mkdir(parents=True, exist_ok=True)
    lr = np.random.default_rng(3).random((*size, 3), np.float32)
    if name.endswith(".safetensors"):
        safetensors.torch.save_file({key: values.contiguous() for key, values in saved.items()}, FOLDER / name)
    else:
        torch.save(saved, FOLDER / name, _use_new_zipfile_serialization=not legacy)
    with torch.no_grad():
        sr = network(torch.from_numpy(lr).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    np.savez_compressed((FOLDER / name).with_suffix(".npz"), lr=lr, sr=sr.astype(np.float32))
    print(f"{name}: {(FOLDER / name).stat().st_size} bytes, {lr.shape} to {sr.shape}, {sr.min():.2f} to {sr.max():.2f}")


def rrdb_names(state, style):
    """An ESRGAN's state dict in the names of its first version (spandrel's own), of the authors', or of BasicSR."""
    blocks = 1 + max(int(key.split(".")[3]) for key in state if ".RDB1." in key)
    tail = sorted({int(key.split(".")[1]) for key in state if key.count(".") == 2})[1:]
    named = {"basicsr": "conv_up{}", "authors": "upconv{}"}[style]
    names = {number: named.format(step) for step, number in enumerate(tail[:-2], 1)}
    names |= {tail[-2]: {"basicsr": "conv_hr", "authors": "HRconv"}[style], tail[-1]: "conv_last", 0: "conv_first"}
    renamed = OrderedDict()
    for key, values in state.items():
        kind = key.split(".")[-1]
        if match := re.match(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", key):
            form = {"basicsr": "body.{}.rdb{}.conv{}", "authors": "RRDB_trunk.{}.RDB{}.conv{}"}[style]
            key = form.format(*match.groups())
        elif key.startswith(f"model.1.sub.{blocks}."):
            key = {"basicsr": "conv_body", "authors": "trunk_conv"}[style]
        else:
            key = names[int(key.split(".")[1])]
        renamed[f"{key}.{kind}"] = values
    return renamed


def rrdb():
    whole = esrgan.B.RRDB
    esrgan.B.RRDB = lambda **options: whole(**options | {"gc": 3})  # 32 is fixed there

    def network(scale, unshuffle=None, blocks=1):
        sizes = {"num_filters": 4, "num_blocks": blocks, "scale": scale * (unshuffle or 1)}
        channels = {"in_nc": 3 * (unshuffle or 1) ** 2, "out_nc": 3}
        return small(esrgan.RRDBNet(**channels, **sizes, plus=False, shuffle_factor=unshuffle))

    for scale, kind in ((1, "safetensors"), (2, "safetensors"), (4, "pth"), (8, "safetensors")):
        model = network(scale, blocks=2 if scale == 1 else 1)
        save(f"rrdb-old-x{scale}.{kind}", model.state_dict(), model, (5, 4) if scale == 8 else (9, 8), legacy=True)
    model = network(4)
    state = model.state_dict()
    halved = OrderedDict((key, values.half()) for key, values in rrdb_names(state, "authors").items())
    averaged = rrdb_names(state, "basicsr")
    worse = OrderedDict((key, values * 0) for key, values in averaged.items())
    save("rrdb-basicsr-x4.pth", {"params": worse, "params_ema": averaged}, model, legacy=True)
    save("rrdb-authors-half.pth", halved, model.half().float())
    for scale, unshuffle in ((2, 2), (1, 4)):
        wide = network(scale, unshuffle)
        names = rrdb_names(wide.state_dict(), "basicsr")
        named = OrderedDict((f"module.{key}", values) for key, values in names.items())
        save(f"rrdb-unshuffle-x{scale}.pth", {"state_dict": named, "epoch": 7}, wide, (8, 12), legacy=scale == 1)


def compact():
    for scale in (1, 2, 3, 4):
        model = small(SRVGGNetCompact(num_feat=6, num_conv=2, upscale=scale))
        save(f"compact-x{scale}.{'safetensors' if scale % 2 else 'pth'}", model.state_dict(), model)
    model = small(SRVGGNetCompact(num_feat=6, num_conv=3, upscale=4)).bfloat16()
    state = model.state_dict()
    save("compact-bfloat16.safetensors", state, model.float())
    save("compact-bfloat16-zip.pth", {"params": state}, model.float())
    model = small(SRVGGNetCompact(num_feat=6, num_conv=0, upscale=2))
    save("compact-short.pth", model.state_dict(), model)
    for kind in ("leakyrelu", "relu"):
        model = small(SRVGGNetCompact(num_feat=6, num_conv=2, upscale=2, act_type=kind))
        save(f"compact-{kind}.pth", model.state_dict(), model)


class Wrapped(nn.Module):
    """A network for an .onnx file of another form: channels last, of values up to 255, or of luma."""

    def __init__(self, network, form):
        super().__init__()
        self.network, self.form = network, form

    def forward(self, x):
        if self.form == "luma":
            return self.network(x.repeat(1, 3, 1, 1)).mean(1, keepdim=True)
        if self.form == "window":  # takes multiples of 8 only, as transformers with windows do
            batch, channels, height, width = x.shape
            x = x.reshape(batch, channels, height // 8, 8, width // 8, 8).reshape(x.shape)
        if self.form == "255":
            return self.network(x / 255) * 255
        if self.form == "nhwc":
            return self.network(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.network(x)


def onnx():
    """The compact network of scale 2 in the forms that .onnx files come in; the results are those of compact-x2."""
    network = small(SRVGGNetCompact(num_feat=6, num_conv=2, upscale=2))
    for form in ("nchw", "nhwc", "255", "luma", "fixed", "half", "window"):
        model = Wrapped(network, form).eval()
        channels = 1 if form == "luma" else 3
        x = torch.rand(1, channels, 40, 48)
        x = x.permute(0, 2, 3, 1) if form == "nhwc" else x
        if form == "half":
            model, x = Wrapped(small(SRVGGNetCompact(num_feat=6, num_conv=2, upscale=2)), form).half().eval(), x.half()
        rows, columns = (1, 2) if form == "nhwc" else (2, 3)
        axes = {} if form == "fixed" else {rows: "height", columns: "width"}
        path = FOLDER / f"{form}.onnx"
        names = {"input_names": ["any"], "output_names": ["thing"], "dynamic_axes": {"any": axes}}
        torch.onnx.export(model, (x,), path, **names, dynamo=False)
        print(f"{path.name}: {path.stat().st_size} bytes")


class Block(nn.Module):
    """A residual block of BasicSR's MSRResNet and EDSR, which spandrel does not have."""

    def __init__(self, channels, scale):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.scale = scale

    def forward(self, x):
        return x + self.scale * self.conv2(torch.relu(self.conv1(x)))


class MSRResNet(nn.Module):
    """By the layout that BasicSR documents."""

    def __init__(self, scale, channels=4, blocks=2):
        super().__init__()
        self.scale, self.factor = scale, 3 if scale == 3 else 2
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*[Block(channels, 1) for _ in range(blocks)])
        self.upconv1 = nn.Conv2d(channels, channels * self.factor**2, 3, padding=1)
        self.upconv2 = nn.Conv2d(channels, channels * 4, 3, padding=1) if scale == 4 else None
        self.conv_hr = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, picture):
        x = self.body(functional.leaky_relu(self.conv_first(picture), 0.1))
        for convolution in filter(None, (self.upconv1, self.upconv2)):
            x = functional.leaky_relu(functional.pixel_shuffle(convolution(x), self.factor), 0.1)
        x = self.conv_last(functional.leaky_relu(self.conv_hr(x), 0.1))
        return x + functional.interpolate(picture, scale_factor=self.scale, mode="bilinear", align_corners=False)


class EDSR(nn.Module):
    """By the layout that BasicSR documents."""

    def __init__(self, scale, channels=4, blocks=2, residual=1.0):
        super().__init__()
        self.conv_first = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*[Block(channels, residual) for _ in range(blocks)])
        self.conv_after_body = nn.Conv2d(channels, channels, 3, padding=1)
        steps = [3] if scale == 3 else [2] * {2: 1, 4: 2, 8: 3}[scale]
        pairs = ([nn.Conv2d(channels, channels * step**2, 3, padding=1), nn.PixelShuffle(step)] for step in steps)
        self.upsample = nn.Sequential(*[layer for pair in pairs for layer in pair])
        self.conv_last = nn.Conv2d(channels, 3, 3, padding=1)
        self.mean = torch.tensor([0.4488, 0.4371, 0.4040]).reshape(1, 3, 1, 1)

    def forward(self, picture):
        x = self.conv_first((picture - self.mean) * 255.0)
        x = self.conv_after_body(self.body(x)) + x
        return self.conv_last(self.upsample(x)) / 255.0 + self.mean


def residual():
    for scale in (2, 3, 4):
        model = small(MSRResNet(scale))
        save(f"msrresnet-x{scale}.pth", {"params": model.state_dict()}, model, legacy=scale != 3)
        model = small(EDSR(scale))
        save(f"edsr-x{scale}.{'safetensors' if scale == 4 else 'pth'}", model.state_dict(), model, legacy=True)


def span():
    for scale, norm in ((2, False), (4, True)):
        model = small(SPAN(num_in_ch=3, num_out_ch=3, feature_channels=3, upscale=scale, norm=norm), gain=0.9)
        if norm:  # which takes values up to 255
            model.upsampler[0].weight.data /= 100
        state = model.state_dict()  # before it has run: its fused copies are of random weights, and not the true ones
        state = OrderedDict((key, values.clone()) for key, values in state.items())
        save(f"span-x{scale}.safetensors", state, model, (7, 6))


def realplksr():
    for scale, dysample in ((2, False), (4, False), (1, True), (2, True), (3, True), (4, True)):
        options = {"dim": 8, "n_blocks": 2, "kernel_size": 5, "upscaling_factor": scale, "layer_norm": scale < 4}
        options["dysample"] = dysample
        model = RealPLKSR(**options).eval()
        names = [name for name, _ in model.named_parameters() if ".norm." in name or "layer_norm" in name]
        model = small(model, gain=0.8)
        for name in names:  # gains around 1, as learnt
            if name.endswith("weight"):
                model.get_parameter(name).data += 1
        save(f"realplksr-{'dysample-' * dysample}x{scale}.safetensors", model.state_dict(), model, (12, 11))


if __name__ == "__main__":
    for make in (rrdb, compact, residual, span, realplksr, onnx):
        if len(sys.argv) == 1 or make.__name__ in sys.argv[1:]:
            make()
