"""Networks that are not built here, by spandrel and PyTorch, where both are installed (see CONTRIBUTING.md)."""

import contextlib
import os
import pickle
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from helpers import run_command
from PIL import Image

from srgan import Upscaler
from srgan.errors import SRGANError
from srgan.interop import spandrel
from srgan.interop.architectures import Options

needs_torch = pytest.mark.skipif(
    not (find_spec("torch") and find_spec("spandrel")), reason="PyTorch and spandrel are not installed"
)


def unknown(path):
    """A file of tensors that are no network's."""
    from safetensors.numpy import save_file

    save_file({"layers.0.weight": np.ones((3, 4), np.float32)}, path)
    return path


def test_message_names_the_extra_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(spandrel, "is_installed", lambda: False)
    with pytest.raises(SRGANError, match=r"model.safetensors: its network is not known here.*'\.\[torch\]'") as caught:
        from srgan.upscale.engines.conversion import _convert

        _convert(unknown(tmp_path / "model.safetensors"))
    assert "\n" not in str(caught.value)


def saved(name, path):
    """A small network by spandrel's own class, saved as PyTorch saves it."""
    import torch

    torch.manual_seed(0)
    if name == "swinir":  # windows of 8 pixels
        from spandrel.architectures.SwinIR import SwinIR

        options = {"depths": [2], "num_heads": [2], "embed_dim": 8, "window_size": 8, "img_size": 32}
        network = SwinIR(upscale=2, upsampler="pixelshuffledirect", mlp_ratio=2, **options)
    else:
        from spandrel.architectures.SAFMN import SAFMN

        network = SAFMN(dim=8, n_blocks=2, upscaling_factor=2)
    torch.save({"params": network.state_dict()}, path)
    return network.eval()


@needs_torch
@pytest.mark.parametrize("name", ["swinir", "safmn"])
@pytest.mark.parametrize("size", [(128, 128), (50, 70), (150, 201)])
def test_network_makes_what_the_original_makes(name, size, tmp_path):
    import torch

    network = saved(name, tmp_path / "model.pth")
    upscaler = Upscaler(tmp_path / "model.pth", precision="float32")
    lr = np.random.default_rng(1).random((*size, 3), np.float32)
    height, width = size
    if size != (128, 128) and name == "swinir":  # as it pads by itself
        lr = lr[: height // 8 * 8, : width // 8 * 8]
    with torch.no_grad():
        wanted = network(torch.from_numpy(lr).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy().clip(0, 1)
    result = upscaler(lr)
    assert result.shape == wanted.shape and upscaler.scale == 2
    difference = np.abs(result - wanted)
    assert difference.max() < (1e-3 if size == (128, 128) else 0.1) and difference.mean() < 5e-3


@needs_torch
def test_network_that_changes_its_input_in_place_is_converted(tmp_path):
    import torch
    from spandrel.architectures.RCAN import RCAN

    torch.manual_seed(0)
    network = RCAN(scale=2, n_resgroups=1, n_resblocks=1, n_feats=16, reduction=4).eval()
    torch.save(network.state_dict(), tmp_path / "model.pth")
    lr = np.random.default_rng(1).random((40, 48, 3), np.float32)
    with torch.no_grad():
        wanted = network(torch.tensor(lr).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy().clip(0, 1)
    upscaler = Upscaler(tmp_path / "model.pth", precision="float32")
    result = upscaler(lr)
    inside = np.s_[16:-16, 16:-16]
    assert result.shape == wanted.shape and np.abs(result - wanted)[inside].max() < 1e-3


@needs_torch
def test_command_converts_once(tmp_path):
    saved("safmn", tmp_path / "model.pth")
    Image.fromarray(np.uint8(255 * np.random.default_rng(0).random((20, 30, 3)))).save(tmp_path / "in.png")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for again in (False, True):
        arguments = tmp_path / "in.png", tmp_path / "out.png", "--model", tmp_path / "model.pth"
        done = run_command("upscale", *arguments, env=environment)
        assert done.returncode == 0, done.stderr
        assert ("converting" in done.stderr) != again
        assert Image.open(tmp_path / "out.png").size == (60, 40)


class _Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@needs_torch
def test_hostile_pickle_is_never_run(tmp_path):
    for protocol in (2, 4):
        with zipfile.ZipFile(tmp_path / "model.pth", "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({"params": _Attack(tmp_path / "attacked")}, protocol))
        with pytest.raises(SRGANError, match="model.pth: .*system"):
            Upscaler(tmp_path / "model.pth")
        with pytest.raises(SRGANError, match="system"):
            spandrel.read_with_spandrel(tmp_path / "model.pth")
        assert not Path(tmp_path / "attacked").exists()


@needs_torch
def test_what_spandrel_does_not_know_gets_one_line(tmp_path):
    with pytest.raises(SRGANError, match="known neither here nor to spandrel") as caught:
        Upscaler(unknown(tmp_path / "model.safetensors"))
    assert "\n" not in str(caught.value)


@needs_torch
@pytest.mark.parametrize("kind", ["plus", "gray"])
def test_variant_of_a_known_network_is_left_to_spandrel(kind, tmp_path, monkeypatch):
    import torch
    from spandrel.architectures.ESRGAN import ESRGAN

    torch.manual_seed(0)
    channels = 1 if kind == "gray" else 3
    network = ESRGAN(in_nc=channels, out_nc=channels, num_filters=8, num_blocks=1, scale=2, plus=kind == "plus").eval()
    path = tmp_path / "model.pth"
    torch.save(network.state_dict(), path)
    lr = np.random.default_rng(1).random((40, 48, channels), np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(lr).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy().clip(0, 1)
    assert np.abs(Upscaler(path, precision="float32")(lr) - wanted).max() < 1e-4
    monkeypatch.setattr(spandrel, "is_installed", lambda: False)
    with pytest.raises(SRGANError, match=r"looks like RRDB.*(conv1x1|1 channels)") as caught:
        from srgan.upscale.engines.conversion import _convert

        _convert(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "errors", "said"),
    [
        (-11, "x: RuntimeWarning: y\n", "SIGSEGV; the model may be invalid"),
        (-9, "", "SIGKILL; is there enough memory?"),
        (1, "x\nMemoryError\n", "MemoryError; is there enough memory?"),
    ],
)
def test_crash_of_a_conversion_is_named(status, errors, said, monkeypatch, tmp_path):
    from srgan.upscale.engines import conversion

    class Crashed(contextlib.nullcontext):
        returncode, kill = status, None

        def communicate(self):
            return "", errors

    monkeypatch.setattr(conversion.subprocess, "Popen", lambda *_, **__: Crashed())
    with pytest.raises(SRGANError, match=r"model.pth: the conversion for OpenVINO stopped \((.*)\)") as caught:
        conversion._convert_in_a_process(tmp_path / "model.pth", tmp_path / "out.xml", Options())
    assert said in str(caught.value)


def test_conversion_reports_nothing_to_a_server():
    model = Path(__file__).parent / "data" / "foreign" / "nchw.onnx"
    code = (
        "import sys; from srgan.runtime import load_openvino; load_openvino().convert_model(sys.argv[1]);"
        "print([name for name, module in sys.modules.items() if 'openvino_telemetry' in name and module])"
    )
    done = subprocess.run([sys.executable, "-c", code, model], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "[]\n", done.stderr


@needs_torch
@pytest.mark.parametrize("name", ["rrdb", "compact"])
def test_full_size_makes_what_the_original_makes_in_tiles_too(name, tmp_path):
    import torch
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact
    from spandrel.architectures.ESRGAN import ESRGAN

    torch.manual_seed(0)
    network = (
        ESRGAN(num_filters=64, num_blocks=23, scale=4) if name == "rrdb" else SRVGGNetCompact(num_conv=32, upscale=4)
    )
    network.eval()
    torch.save({"params_ema": network.state_dict()}, tmp_path / "model.pth")
    lr = np.random.default_rng(1).random((40, 72, 3), np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(lr).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy().clip(0, 1)
    assert wanted.std() > 0.01
    upscaler = Upscaler(tmp_path / "model.pth", precision="float32")
    assert np.abs(upscaler(lr) - wanted).max() < 1e-4
    low = Upscaler(tmp_path / "model.pth", precision="bfloat16")  # float32 where the processor has no such instructions
    assert np.abs(low(lr) - wanted).mean() < 0.01
    tiled = Upscaler(tmp_path / "model.pth", precision="float32", tile=64, overlap=20)
    assert np.abs(tiled(lr) - wanted).max() < 1 / 255
