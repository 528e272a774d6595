"""On which of OpenVINO's devices a generator runs. The machine may have a CPU only: others are stood in for."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from upscaling import make_model, photograph

from srgan.errors import UsageError
from srgan.runtime import load_openvino
from srgan.upscale import Upscaler
from srgan.upscale.engines.loading import load_engine


class Devices:
    """OpenVINO with more devices than there are. They compute on the CPU, `before` that call what is given."""

    def __init__(self, names, before=lambda: None):
        self._core, self._before, self.available_devices, self.shapes = load_openvino().Core(), before, names, []

    def __getattr__(self, name):
        return getattr(self._core, name)

    def get_property(self, device, name):
        if device == "CPU":
            return self._core.get_property(device, name)
        return ["FP32", "FP16"] if name == "OPTIMIZATION_CAPABILITIES" else device

    def compile_model(self, model, device, settings):
        if device == "CPU":
            return self._core.compile_model(model, device, settings)
        if device == "GPU.9":
            raise RuntimeError("no driver")
        assert settings["INFERENCE_PRECISION_HINT"] in ("f16", "f32")
        compiled = self._core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return SimpleNamespace(create_infer_request=lambda: _Request(compiled.create_infer_request(), self))


class _Request:
    def __init__(self, request, devices):
        self._request, self._devices = request, devices

    def infer(self, inputs, **options):
        self._devices.shapes.append(inputs[0].shape)
        self._devices._before()
        self._request.infer(inputs, **options)

    @property
    def output_tensors(self):
        return self._request.output_tensors


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "generator.keras", skip="bilinear", normalization="none")


@pytest.fixture
def pretend(monkeypatch):
    def have(*names, **options):
        devices = Devices(list(names), **options)
        openvino = SimpleNamespace(Core=lambda: devices, get_version=load_openvino().get_version)
        monkeypatch.setattr("srgan.upscale.engines.openvino_engine.load_openvino", lambda: openvino)
        monkeypatch.setattr("srgan.upscale.engines.devices._may_have_gpu", lambda: True)
        return devices

    return have


def test_a_slower_gpu_is_left_alone(pretend, model, caplog):
    pretend("CPU", "GPU", before=lambda: time.sleep(0.5))
    caplog.set_level("INFO", "srgan")
    assert load_engine(model).device == "CPU"
    assert "CPU is the fastest of CPU, GPU here" in caplog.text


def test_a_faster_gpu_is_taken_in_the_precision_that_it_prefers(pretend, model, monkeypatch):
    pretend("CPU", "GPU.0", "GPU.1")
    seconds = {"CPU": 3, "GPU.0": 2, "GPU.1": 1}
    monkeypatch.setattr("srgan.upscale.engines.devices._tile_seconds", lambda engine: seconds[engine.device])
    engine = load_engine(model)
    assert (engine.device, engine.precision) == ("GPU.1", "float16")
    assert load_engine(model, precision="float32").precision == "float32"
    assert load_engine(model, device="GPU.0").device == "GPU.0"
    exact = Upscaler(model, precision="float32")
    pixels = photograph(40, 30)
    np.testing.assert_array_equal(exact(pixels), Upscaler(model, device="CPU", precision="float32")(pixels))


def test_a_gpu_that_cannot_compile_is_left_with_a_line(pretend, model, caplog):
    pretend("CPU", "GPU.9")
    assert load_engine(model).device == load_engine(model, device="GPU.9").device == "CPU"
    assert caplog.text.count("GPU.9 cannot compute this model (no driver): the CPU does") == 2


def test_what_fails_on_a_device_is_computed_on_the_cpu(pretend, model, caplog):
    def lose():
        raise RuntimeError("device lost")

    pretend("CPU", "GPU", before=lose)
    upscaler = Upscaler(model, device="GPU")
    pixels = photograph(40, 30)
    np.testing.assert_array_equal(upscaler(pixels), Upscaler(model, device="CPU")(pixels))
    assert "GPU failed (device lost): the CPU goes on" in caplog.text and upscaler.engine.device == "CPU"


def test_an_npu_gets_tiles_of_one_size(pretend):
    devices = pretend("CPU", "NPU")
    pixels = photograph(150, 90)
    result = Upscaler("srresnet", device="npu", precision="float32")(pixels)
    assert set(devices.shapes) == {(1, 128, 128, 3)}
    whole = Upscaler("srresnet", device="CPU", precision="float32")(pixels)
    difference = np.abs(result.astype(int) - whole)
    assert result.shape == whole.shape and difference[:, :-40].max() <= 1  # on the right, the picture was continued
    assert difference.mean() < 0.1


def test_an_unknown_device_is_refused_with_those_that_are_there(model):
    with pytest.raises(UsageError, match="device: OpenVINO finds no TPU here, only CPU"):
        Upscaler(model, device="tpu")
    with pytest.raises(UsageError, match="are OpenVINO's"):
        Upscaler(model, device="CPU", engine="keras")


def test_threads_bound_the_cpu_and_change_no_pixel(model):
    one = Upscaler(model, threads=1, precision="float32")
    assert one.engine._compiled.get_property("INFERENCE_NUM_THREADS") == 1
    pixels = photograph(40, 30)
    np.testing.assert_allclose(one(pixels).astype(int), Upscaler(model, precision="float32")(pixels), atol=1)
    with pytest.raises(UsageError, match="threads: 0 is not"):
        Upscaler(model, threads=0)
