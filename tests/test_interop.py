"""Other people's models against the results of the originals, as scripts/make_foreign_models.py left them."""

import collections
import io
import os
import pickle
import re
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import run_command

from srgan import Upscaler
from srgan.errors import SRGANError
from srgan.interop.architectures import Options
from srgan.interop.loading import load_generator
from srgan.interop.tensors import Unreadable

FOREIGN = Path(__file__).parent / "data" / "foreign"
NETWORKS = sorted(path.stem for path in FOREIGN.glob("*.npz"))
TOLD = {"compact-relu": Options(activation="relu")}


def foreign(name):
    (path,) = (path for path in FOREIGN.glob(f"{name}.*") if path.suffix != ".npz")
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_network_makes_what_the_original_makes(name):
    with np.load(FOREIGN / f"{name}.npz") as kept:
        lr, sr = kept["lr"], kept["sr"]
    generator = load_generator(foreign(name), TOLD.get(name, Options()))
    result = np.asarray(generator(lr[None], training=False))[0]
    assert result.shape == sr.shape
    assert np.abs(result - sr).max() < 1e-4
    assert np.abs(sr).max() > 0.05 and sr.std() > 0.01  # of which the tolerance is a small part


@pytest.mark.parametrize(
    "name",
    [
        "compact-x2",
        "compact-x3",
        "rrdb-old-x1",
        "rrdb-old-x8",
        "rrdb-unshuffle-x2",
        "msrresnet-x3",
        "edsr-x4",
        "span-x2",
        "realplksr-x2",
        "realplksr-dysample-x2",
    ],
)
@pytest.mark.parametrize("engine", ["openvino", "keras"])
def test_upscaler_takes_it_in_tiles_too(name, engine):
    with np.load(FOREIGN / f"{name}.npz") as kept:
        lr, sr = kept["lr"], kept["sr"]
    upscaler = Upscaler(foreign(name), engine=engine, precision="float32", overlap=12)
    result = upscaler(lr)
    assert np.abs(result - np.clip(sr, 0, 1)).max() < 1e-4
    scale = upscaler.scale
    assert result.shape == (scale * lr.shape[0], scale * lr.shape[1], 3)
    large = np.tile(lr, (12, 17, 1))[:59, :67]  # odd, where pixels are unshuffled
    whole = upscaler(large)
    upscaler.tile = 48
    assert whole.shape == (59 * scale, 67 * scale, 3)
    assert np.abs(upscaler(large) - whole).max() < 0.004


def test_command_converts_once_by_content(tmp_path):
    picture, cache = tmp_path / "in.png", tmp_path / "cache"
    from PIL import Image

    Image.fromarray(np.uint8(255 * np.random.default_rng(0).random((20, 30, 3)))).save(picture)
    model = shutil.copy(foreign("compact-x3"), tmp_path / "4x-Anything.pth")  # the name says nothing
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    for again in (False, True):
        done = run_command("upscale", picture, tmp_path / "out.png", "--model", model, env=environment)
        assert done.returncode == 0, done.stderr
        assert ("converting" in done.stderr) != again
        assert Image.open(tmp_path / "out.png").size == (90, 60)


class _Attack:
    def __reduce__(self):
        return os.system, ("touch /tmp/srgan-was-attacked",)


class _Reader:
    def __reduce__(self):
        return getattr, (pathlib_like, "name")


pathlib_like = io.BytesIO


def _zip_of(pickled):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    return content.getvalue()


def _legacy_of(pickled):
    facts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(fact, 2) for fact in facts) + pickled + pickle.dumps([], 2)


HOSTILE = {
    "attack": (pickle.dumps({"params": _Attack()}, 2), "posix.system|nt.system"),
    "attack4": (pickle.dumps({"params": _Attack()}, 4), "posix.system|nt.system"),
    "getattr": (pickle.dumps(_Reader(), 2), "getattr"),
    "default": (pickle.dumps(collections.defaultdict(list), 2), "collections.defaultdict"),
    "eval": (b"\x80\x02cbuiltins\neval\n(X\x04\x00\x00\x00'a'\"tR.", "builtins.eval"),
    "instance": (b"\x80\x02(ios\nsystem\n.", "INST|os.system"),
    "extension": (b"\x80\x02\x82\x01.", "EXT1"),
    "memo": (b"\x80\x02}r\xff\xff\xff\x7f.", "no tensors"),
    "length": (b"\x80\x02B" + struct.pack("<I", 0xFFFFFFF0) + b"x", "damaged"),
    "deep": (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "no tensors"),
    "cycle": (b"\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s.", "no tensors"),
    "nothing": (b"\x80\x02", "damaged"),
    "list": (b"\x80\x02].", "a list"),
}


@pytest.mark.parametrize("form", [_zip_of, _legacy_of])
@pytest.mark.parametrize("name", HOSTILE)
def test_strange_pickle_is_refused_and_never_run(name, form, tmp_path):
    pickled, reason = HOSTILE[name]
    path = tmp_path / "model.pth"
    path.write_bytes(form(pickled))
    with pytest.raises(SRGANError, match=f"model.pth: .*({reason})"):
        load_generator(path)
    assert not Path("/tmp/srgan-was-attacked").exists()


@pytest.mark.parametrize(
    ("shape", "step", "beside", "reason"),
    [
        *((shape, 1, {}, "outside of its storage") for shape in ((1 << 40,), (9, 9), (-1,), (2,))),
        ((1 << 40,), 0, {}, "outside of its storage"),
        ((1 << 30,), 0, {}, "repeat the same few values"),
        ((6,), 0, {}, "not known here"),  # which is read, as of `Tensor.expand`
        ((1,), 1, {"neg": True}, r"to be changed \(neg\)"),  # as of a view that PyTorch negates when it is used
    ],
)
def test_tensor_that_is_no_plain_view_of_its_storage_is_refused(shape, step, beside, reason, tmp_path):
    class Tensor:
        def __reduce__(self):
            return _rebuild_tensor_v2, (Storage(), 7, shape, tuple(step for _ in shape), False, {}, beside)

    class Storage:
        pass

    class Pickler(pickle._Pickler):
        def persistent_id(self, value):
            return ("storage", FloatStorage, "0", "cpu", 8) if isinstance(value, Storage) else None

        def save_global(self, value, name=None):
            home = {"_rebuild_tensor_v2": "torch._utils", "FloatStorage": "torch"}[value.__name__]
            self.write(f"c{home}\n{value.__name__}\n".encode())

        dispatch = {**pickle._Pickler.dispatch, type: save_global, type(lambda: 0): save_global}

    class FloatStorage:
        pass

    def _rebuild_tensor_v2():
        pass

    content = io.BytesIO()
    Pickler(content, 2).dump({"a": Tensor()})
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content.getvalue())
        archive.writestr("archive/data/0", bytes(32))
    with pytest.raises(SRGANError, match=reason):
        load_generator(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: b"", "empty"),
        (lambda content: content[: len(content) // 2], "damaged|zip"),
        (lambda content: content[:900] + bytes([content[900] ^ 1]) + content[901:], "damaged"),
        (lambda content: b"GIF89a" + content, "no model"),
    ],
)
@pytest.mark.parametrize("name", ["compact-x2", "rrdb-old-x4"])
def test_damaged_file_gets_one_line(name, change, reason, tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(change(foreign(name).read_bytes()))
    if name == "rrdb-old-x4" and reason == "damaged":
        return  # the older form has no checksums
    with pytest.raises(SRGANError, match="model.pth: ") as caught:
        load_generator(path)
    assert "\n" not in str(caught.value)


def _safetensors(path, **changes):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(foreign("compact-x3"))
    for name, change in changes.items():
        key = name.replace("_", ".")
        values = change(tensors.pop(key, None))
        if values is not None:
            tensors[key] = values
    save_file(tensors, path)
    return path


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"body_2_bias": lambda values: None, "body_2_weight": lambda values: None}, "lacks body.2.weight"),
        ({"body_2_bias": lambda values: None}, "lacks body.2.bias"),
        ({"body_2_weight": lambda values: values[:, :5].copy()}, "body.2 is .*needs"),
        ({"body_2_extra": lambda values: np.zeros(3, np.float32)}, "has no body.2.extra"),
        ({"body_2_weight": lambda values: values * np.float32("nan")}, "body.2 holds values that are no numbers"),
        ({"other_weight": lambda values: np.zeros(3, np.float32)}, "has no other.weight"),
        ({"step": lambda values: np.array(3, np.float32)}, "has no step"),
        ({"body_2_weight": lambda values: np.int8(values)}, "body.2.weight holds int8"),
    ],
)
def test_tensor_that_does_not_fit_is_named(changes, reason, tmp_path):
    with pytest.raises(SRGANError, match=reason):
        load_generator(_safetensors(tmp_path / "model.safetensors", **changes))


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("params_ema.", None),
        ("params_ema.", "params."),
        ("net_g_ema._orig_mod.", "net_g._orig_mod."),
        ("generator.", "discriminator."),
        ("module.module.", None),
        ("anything.model.", None),
        ("body._orig_mod.", None),
    ],
)
def test_names_in_a_flat_file_may_have_words_in_front(first, other, tmp_path):
    """As of a .pth that had several networks in it, or of a network that was wrapped or compiled."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(foreign("compact-x3"))
    worse = {f"{other}{name}": values * 0 for name, values in tensors.items() if other}
    if first.startswith("body."):
        tensors = {name.removeprefix("body."): values for name, values in tensors.items()}
    path = tmp_path / "model.safetensors"
    save_file({f"{first}{name}": values for name, values in tensors.items()} | worse, path)
    made, wanted = load_generator(path), load_generator(foreign("compact-x3"))
    assert all(np.array_equal(one, other) for one, other in zip(made.get_weights(), wanted.get_weights()))


@pytest.mark.parametrize("others", [("module.params.", "other."), ("one.", "other.")])
def test_names_of_two_networks_are_refused(others, tmp_path):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(foreign("compact-x3"))
    path = tmp_path / "model.safetensors"
    save_file({f"{word}{name}": values for word in others for name, values in tensors.items()}, path)
    with pytest.raises(SRGANError, match="not known here"):
        load_generator(path)


OTHER = {"body.0.weight": np.zeros(3)}


@pytest.mark.parametrize(
    ("saved", "found"),
    [
        (lambda network: {"any name": network, "epoch": 7, "optimizer": {"state": {0: {}}, "empty": {}}}, True),
        (lambda network: {"ema": {"inner": {"params": network}}, "optimizer": {"state": {0: network}}}, False),
        (lambda network: {"one": network, "two": network}, False),
        (lambda network: {"params": OTHER, "params-ema": network}, True),
        (lambda network: {"model": OTHER, "ema": network}, True),
        (lambda network: {"model": network, "ema": {"decay": 0.99}}, True),
        (
            lambda network: {
                "net": {"n_averaged": np.ones(()), **{f"module.{name}": network[name] for name in network}}
            },
            True,
        ),
    ],
)
def test_only_dictionary_of_tensors_is_the_network(saved, found, tmp_path):
    from srgan.interop.reading import _state_dict

    network = {"body.0.weight": np.ones(3), "body.0.bias": np.zeros(3)}
    if found:
        assert _state_dict(saved(network)) == network
    else:
        with pytest.raises(Unreadable, match="no tensors of a network"):
            _state_dict(saved(network))


def test_schedule_beside_the_network_is_read():
    """As PyTorch's MultiStepLR counts its milestones."""
    from srgan.interop import torch_pickle

    saved = {"milestones": collections.Counter({5: 1})}
    assert torch_pickle.load(io.BytesIO(pickle.dumps(saved, 2)), None) == saved


def test_damaged_name_in_a_zip_gets_one_line(tmp_path):
    content = foreign("compact-x2").read_bytes()
    end = content.rindex(b"/data.pkl")
    path = tmp_path / "model.pth"
    path.write_bytes(content[: end - 1] + b"\x87" + content[end:])
    with pytest.raises(SRGANError, match="model.pth: .*damaged"):
        load_generator(path)


def test_what_a_file_does_not_say_is_told(caplog):
    caplog.set_level("INFO", "srgan")
    Upscaler(foreign("compact-leakyrelu"))
    assert "leaky_relu" in caplog.text and "--activation" in caplog.text


def test_weights_of_two_files_are_interpolated(tmp_path):
    """As ESRGAN's network interpolation."""
    other = _safetensors(tmp_path / "other.safetensors", body_2_weight=lambda values: values * 0.5)
    picture = np.random.default_rng(0).random((16, 16, 3), np.float32)
    between = Upscaler(foreign("compact-x3"), pixel_model=other, strength=0.5, precision="float32")(picture)
    wanted = _safetensors(tmp_path / "wanted.safetensors", body_2_weight=lambda values: values * 0.75)
    assert np.abs(between - Upscaler(wanted, precision="float32")(picture)).max() < 1e-4


def test_what_differs_cannot_be_interpolated():
    with pytest.raises(SRGANError, match="not built alike"):
        Upscaler(foreign("compact-x3"), pixel_model=foreign("compact-x2"), strength=0.5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rrdb-basicsr-x4.pth", {"value_range": 255}),
        ("compact-leakyrelu.pth", {"value_range": 1}),
        ("realplksr-x2.safetensors", {"value_range": 1}),
        ("edsr-x2.pth", {"activation": "relu"}),
        ("nchw.onnx", {"activation": "relu"}),
        ("srresnet", {"value_range": 255}),
    ],
)
def test_option_that_a_file_leaves_no_room_for_is_refused(name, options):
    model = FOREIGN / name if "." in name else name
    with pytest.raises(SRGANError, match=f"{name}.*--(range|activation).*leaves nothing open") as caught:
        Upscaler(model, **options)
    assert "\n" not in str(caught.value)


def fused(path):
    """span-x2 in the form that has the fused convolutions only, which are computed from the branches as the original does it."""
    from safetensors.numpy import load_file, save_file

    from srgan.networks.span import BranchedConv2D

    tensors = {key: values for key, values in load_file(foreign("span-x2")).items() if "eval_conv" not in key}
    for layer in load_generator(foreign("span-x2")).layers:
        if isinstance(layer, BranchedConv2D):
            block, _, index = layer.name.rpartition("_conv")
            name = {"head": "conv_1", "body": "conv_2"}.get(block, f"{block.replace('block', 'block_')}.c{index}_r")
            tensors = {key: values for key, values in tensors.items() if not re.match(rf"{name}\.(sk|conv)\.", key)}
            tensors[f"{name}.eval_conv.weight"] = np.asarray(layer.kernel).transpose(3, 2, 0, 1).copy()
            tensors[f"{name}.eval_conv.bias"] = np.asarray(layer.bias)
    assert not any(".sk." in key for key in tensors)
    save_file(tensors, path)
    return path


def test_span_of_fused_weights_alone_is_read(tmp_path):
    with np.load(FOREIGN / "span-x2.npz") as kept:
        result = np.asarray(load_generator(fused(tmp_path / "fused.safetensors"))(kept["lr"][None], training=False))[0]
        assert np.abs(result - kept["sr"]).max() < 1e-4


@pytest.mark.parametrize("engine", ["openvino", "keras"])
def test_span_is_interpolated_by_its_fused_weights(engine, tmp_path):
    """Of the same network in both forms, any mixture is that network: its branches are none of each other's."""
    lr = np.random.default_rng(0).random((12, 14, 3), np.float32)
    options = {"engine": engine, "precision": "float32"}
    mixed = Upscaler(foreign("span-x2"), pixel_model=fused(tmp_path / "fused.safetensors"), strength=0.5, **options)
    assert np.abs(mixed(lr) - Upscaler(foreign("span-x2"), **options)(lr)).max() < 1e-4


@pytest.mark.parametrize("engine", ["openvino", "keras"])
def test_networks_of_other_constants_cannot_be_interpolated(engine, tmp_path):
    """Whose values are in another range: a mixture of the two would be neither."""
    for top in ("1", "255"):
        load_generator(foreign("edsr-x2"), Options(range=top)).save(tmp_path / f"{top}.keras")
    with pytest.raises(SRGANError, match="not built alike"):
        Upscaler(tmp_path / "1.keras", pixel_model=tmp_path / "255.keras", strength=0.5, engine=engine)
