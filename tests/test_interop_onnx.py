"""Models in .onnx: the compact network of scale 2 in the forms that such files come in."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from srgan import Upscaler
from srgan.errors import SRGANError, UsageError
from srgan.interop.loading import load_generator

FOREIGN = Path(__file__).parent / "data" / "foreign"
FORMS = ["nchw", "nhwc", "255", "fixed", "half", "window"]


@pytest.fixture(scope="module")
def original():
    return load_generator(FOREIGN / "compact-x2.pth")


def picture(height, width, channels=3):
    return np.random.default_rng(1).random((height, width, channels), np.float32) * 0.5 + 0.25


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(40, 48), (23, 31), (70, 101)])
def test_onnx_makes_what_its_network_makes(form, size, original):
    upscaler = Upscaler(FOREIGN / f"{form}.onnx", precision="float32")
    description = upscaler.engine.description
    assert (description.scale, description.channels) == (2, 3)
    assert description.multiple == (8 if form == "window" else 1)
    assert (description.fixed_height, description.fixed_width) == ((40, 48) if form == "fixed" else (0, 0))
    lr = picture(*size)
    wanted = np.clip(np.asarray(original(lr[None], training=False))[0], 0, 1)
    result = upscaler(lr)
    assert result.shape == wanted.shape
    tolerance = 4e-3 if form == "half" else 1e-4
    if form in ("fixed", "window"):  # whose edges are continued where the others have none
        result, wanted = result[:-16, :-16], wanted[:-16, :-16]
    assert np.abs(result - wanted).max() < tolerance


def test_range_can_be_said_and_is_told_where_it_is_measured(caplog):
    caplog.set_level("INFO", "srgan")
    lr = picture(40, 48)
    measured = Upscaler(FOREIGN / "255.onnx", precision="float32")(lr)
    said = Upscaler(FOREIGN / "255.onnx", precision="float32", value_range=255)(lr)
    assert np.array_equal(measured, said) and caplog.text.count("--range") == 1
    wrong = Upscaler(FOREIGN / "255.onnx", precision="float32", value_range=1)(lr)
    assert np.abs(wrong - said).max() > 0.1


def test_luma_is_enlarged_alone_with_chroma_beside_it(original):
    upscaler = Upscaler(FOREIGN / "luma.onnx", precision="float32")
    assert upscaler.engine.description.channels == 1
    gray = picture(30, 40, 1)
    wanted = np.asarray(original(np.repeat(gray, 3, -1)[None], training=False))[0].mean(-1, keepdims=True)
    result = upscaler(gray)
    assert result.shape == (60, 80, 1) and np.abs(result - np.clip(wanted, 0, 1)).max() < 1e-4
    coloured = np.concatenate([gray + 0.1, gray, gray - 0.1], axis=-1)
    result = upscaler(coloured)
    assert result.shape == (60, 80, 3)
    assert np.allclose(
        (result[..., 0] - result[..., 2])[(result > 0.01).all(-1) & (result < 0.99).all(-1)], 0.2, atol=0.02
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:100],
        lambda content: content[: len(content) // 2],
        lambda content: b"\x08\x07" + bytes(500),
        lambda content: content.replace(b"Conv", b"Cinv"),
    ],
)
def test_damaged_onnx_gets_one_line(change, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(change((FOREIGN / "nchw.onnx").read_bytes()))
    with pytest.raises(SRGANError, match="model.onnx: ") as caught:
        Upscaler(path)
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_onnx_trains_and_runs_in_keras_not(tmp_path):
    path = shutil.copy(FOREIGN / "nchw.onnx", tmp_path / "model.onnx")
    with pytest.raises(SRGANError, match="OpenVINO"):
        Upscaler(path, engine="keras")


def built(path, window=0, factor=1.0, domain="", metadata=None, last="", kind="FLOAT", **saving):
    """A model that enlarges twofold by nearest neighbour, and multiplies by `factor`; channels come `last` in x, y or both."""
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    kernel = np.kron(np.eye(3), np.ones((4, 1))).reshape(12, 3, 1, 1).astype(np.float32) * np.float32(factor)
    tensors = {"kernel": kernel}
    nodes = [helper.make_node("Conv", ["x", "kernel"], ["wide"])]
    if window:  # sides must be multiples of it
        tensors |= {"parts": np.array([1, 12, -1, window], np.int64), "three": np.array([3]), "four": np.array([4])}
        nodes += [
            helper.make_node("Shape", ["wide"], ["shape"]),
            helper.make_node("Slice", ["shape", "three", "four"], ["width"]),
            helper.make_node("Concat", ["parts", "width"], ["windows"], axis=0),
            helper.make_node("Reshape", ["wide", "windows"], ["rows"]),
            helper.make_node("Reshape", ["rows", "shape"], ["whole"]),
        ]
    nodes += [
        helper.make_node("DepthToSpace", ["whole" if window else "wide"], ["y"], blocksize=2, mode="CRD", domain=domain)
    ]
    if "y" in last:
        nodes[-1].output[0] = "first"
        nodes += [helper.make_node("Transpose", ["first"], ["y"], perm=[0, 2, 3, 1])]
    if "x" in last:
        nodes[0].input[0] = "turned"
        nodes.insert(0, helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 3, 1, 2]))
    if kind != "FLOAT":
        shown, nodes[0].input[0] = nodes[0].input[0], "cast"
        nodes.insert(0, helper.make_node("Cast", [shown], ["cast"], to=onnx.TensorProto.FLOAT))
    kind = getattr(onnx.TensorProto, kind)
    graph = helper.make_graph(
        nodes,
        "twice",
        [helper.make_tensor_value_info("x", kind, [1, "h", "w", 3] if "x" in last else [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    domains = [helper.make_opsetid(name, version) for name, version in (("", 13), ("own.operations", 1))]
    model = helper.make_model(graph, opset_imports=domains, ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save_model(model, path, **saving)
    return path


@pytest.mark.parametrize("window", [7, 9, 12, 20, 24, 56])
def test_window_may_have_any_size_up_to_64(window, tmp_path):
    upscaler = Upscaler(built(tmp_path / "model.onnx", window=window), precision="float32")
    assert upscaler.engine.description.multiple == window
    lr = picture(50, 71)
    assert np.abs(upscaler(lr) - lr.repeat(2, 0).repeat(2, 1)).max() < 1e-5


def test_weights_beside_the_file_count_as_its_content(tmp_path):
    beside = {"save_as_external_data": True, "location": "weights.data", "size_threshold": 0}
    lr = picture(20, 24)
    for factor in (1.0, 0.5):  # the .onnx is the same in both
        path = built(tmp_path / "model.onnx", factor=factor, **beside)
        assert np.abs(Upscaler(path, precision="float32")(lr) - factor * lr.repeat(2, 0).repeat(2, 1)).max() < 1e-5
        (tmp_path / "weights.data").rename(tmp_path / "elsewhere")
        with pytest.raises(SRGANError, match="data file weights.data is missing"):
            Upscaler(path)
        (tmp_path / "elsewhere").unlink()


def test_weights_outside_of_its_folder_are_not_read(tmp_path):
    beside = {"save_as_external_data": True, "location": "weights.data", "size_threshold": 0}
    onnx = pytest.importorskip("onnx")
    path = built(tmp_path / "model.onnx", **beside)
    inner = tmp_path / "inner"
    inner.mkdir()
    for target in ("../weights.data", str(tmp_path / "weights.data"), "link.data"):
        (inner / "link.data").unlink(missing_ok=True)
        (inner / "link.data").symlink_to(tmp_path / "weights.data")
        model = onnx.load(path, load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                entry.value = target if entry.key == "location" else entry.value
        (inner / "model.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(SRGANError, match="lies outside of the model's folder"):
            Upscaler(inner / "model.onnx")


def test_operation_that_is_not_known_is_named(tmp_path):
    with pytest.raises(SRGANError, match="no operation own.operations.DepthToSpace") as caught:
        Upscaler(built(tmp_path / "model.onnx", domain="own.operations"))
    assert "\n" not in str(caught.value)


def test_range_is_found_in_the_metadata(tmp_path, caplog):
    caplog.set_level("INFO", "srgan")
    key, lr = "Image.NominalPixelRange", picture(20, 24)
    for said in ("Normalized_0_1", "NominalRange_0_255"):
        upscaler = Upscaler(built(tmp_path / "model.onnx", metadata={key: said}), precision="float32")
        assert np.abs(upscaler(lr) - lr.repeat(2, 0).repeat(2, 1)).max() < 1e-5  # linear: the same in both
    assert "--range" not in caplog.text
    with pytest.raises(SRGANError, match="values of Normalized_1_1"):
        Upscaler(built(tmp_path / "model.onnx", metadata={key: "Normalized_1_1"}))


def test_overlap_that_leaves_nothing_of_the_one_size_is_refused():
    with pytest.raises(UsageError, match="overlap: 17 .* 16 is the most"):
        Upscaler(FOREIGN / "fixed.onnx", overlap=17)
    assert Upscaler(FOREIGN / "fixed.onnx", overlap=16)(picture(41, 49)).shape == (82, 98, 3)


@pytest.mark.parametrize(("last", "kind"), [("x", "FLOAT"), ("y", "FLOAT"), ("xy", "FLOAT16"), ("", "DOUBLE")])
def test_axes_and_kinds_of_numbers_are_told(last, kind, tmp_path):
    lr = picture(20, 24)
    result = Upscaler(built(tmp_path / "model.onnx", last=last, kind=kind), precision="float32")(lr)
    assert np.abs(result - lr.repeat(2, 0).repeat(2, 1)).max() < (1e-3 if kind == "FLOAT16" else 1e-5)


def test_whole_numbers_are_refused(tmp_path):
    with pytest.raises(SRGANError, match="it takes u8 .*pictures of floats"):
        Upscaler(built(tmp_path / "model.onnx", kind="UINT8"))


def test_lost_mean_is_told(tmp_path, caplog):
    """As of a model whose result is in [-1, 1], which would be a wrong picture without a word."""
    caplog.set_level("INFO", "srgan")
    path = built(tmp_path / "model.onnx", factor=-1)
    Upscaler(path)
    assert "model.onnx: the file does not say: a range of 1, though the mean of a picture is lost" in caplog.text
    caplog.clear()
    Upscaler(path, value_range=1)
    assert "does not say" not in caplog.text


@pytest.mark.parametrize(
    ("factor", "ranges"), [(255, "1 for what it takes and 255"), (1 / 255, "255 for what it takes and 1")]
)
def test_range_may_differ_between_what_it_takes_and_gives(factor, ranges, tmp_path, caplog):
    caplog.set_level("INFO", "srgan")
    lr = picture(20, 24)
    result = Upscaler(built(tmp_path / "model.onnx", factor=factor), precision="float32")(lr)
    assert np.abs(result - lr.repeat(2, 0).repeat(2, 1)).max() < 1e-5
    assert f"a range of {ranges} for what it gives" in caplog.text


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(factor, tmp_path):
    with pytest.raises(SRGANError, match="model.onnx: it makes values of a picture that are no numbers"):
        Upscaler(built(tmp_path / "model.onnx", factor=factor))


@pytest.mark.parametrize(("name", "worse"), [(b"wide", b"w\xffde"), (b"\x01x", b"\x01\xff"), (b"Conv", b"C\xffnv")])
def test_names_that_are_no_text_get_a_picture_or_one_line(name, worse, tmp_path):
    path = built(tmp_path / "model.onnx")
    content = path.read_bytes()
    assert name in content
    path.write_bytes(content.replace(name, worse))
    lr = picture(20, 24)
    try:
        assert np.abs(Upscaler(path, precision="float32")(lr) - lr.repeat(2, 0).repeat(2, 1)).max() < 1e-5
    except SRGANError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
