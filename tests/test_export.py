"""srgan-export: what each format's own runtime computes is what Keras computes, or nothing is written."""

import re

import numpy as np
import pytest
from helpers import SAMPLE, run_command

from srgan.cli.export import main
from srgan.pictures import read_rgb
from srgan.pictures.arrays import to_float
from srgan.runtime import choose_backend, load_keras
from srgan.upscale.engines import export
from srgan.upscale.engines.backend_errors import Inconvertible

# One small network of each kind, between them with every layer, activation and skip that generators have.
NETWORKS = {
    "srresnet": ("srresnet", {"blocks": 1, "skip": "bilinear"}),
    "instance": ("srresnet", {"blocks": 1, "normalization": "instance", "activation": "leaky_relu", "scale": 2}),
    "rdn": ("rdn", {"blocks": 2, "layers_per_block": 1, "growth": 4, "scale": 2}),
    "rrdb": ("rrdb", {"blocks": 1, "growth": 4, "scale": 2}),
    "compact": ("compact", {"blocks": 1, "activation": "relu"}),
    "span": ("span", {"blocks": 2}),
    "slow": ("video_srresnet", {"fusion": "slow", "frames": 3, "blocks": 2, "scale": 2}),
    "3d": ("video_srresnet", {"fusion": "3d", "frames": 3, "blocks": 3, "scale": 2}),
    "recurrent": ("video_srresnet", {"fusion": "recurrent", "blocks": 1, "scale": 2}),
}


def make_generator(path, name, seed=0):
    """Save a generator whose every weight, statistic and slope differs from what it starts with."""
    load_keras()
    from srgan.networks.generators import GENERATORS
    from srgan.networks.over_time import video_srresnet

    kind, options = NETWORKS[name]
    generator = (GENERATORS | {"video_srresnet": video_srresnet})[kind](filters=4, **options)
    random = np.random.default_rng(seed)
    for variable in generator.variables:
        shape = variable.shape
        if "kernel" in variable.path:
            variable.assign(random.normal(0, np.prod(shape[:-1]) ** -0.5, shape))
        elif "variance" in variable.path or "gamma" in variable.path:
            variable.assign(random.uniform(0.7, 1.3, shape))
        else:
            variable.assign(random.uniform(0.05, 0.3, shape))
    generator.save(path)
    return generator


@pytest.fixture(scope="module")
def generators(tmp_path_factory):
    """The networks by name, each with the file it is saved in."""
    folder = tmp_path_factory.mktemp("generators")
    return {name: (make_generator(folder / f"{name}.keras", name), folder / f"{name}.keras") for name in NETWORKS}


def run_onnx(file, pictures):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (lr,) = session.get_inputs()
    free, fixed = (lr.shape[0], *lr.shape[-3:-1]), (*lr.shape[1:-3], lr.shape[-1])
    assert all(isinstance(side, str) for side in free) and fixed == (*pictures.shape[1:-3], 3)
    return session.run(["sr"], {"lr": pictures})[0]


def run_openvino(file, pictures):
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    core = openvino.Core()
    return core.compile_model(core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(pictures)[0]


def run_saved_model(folder, pictures):
    import tensorflow as tf

    signature = tf.saved_model.load(folder).signatures["serving_default"]
    return signature(lr=tf.constant(pictures))["output_0"].numpy()


def run_litert(file, pictures):
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
    return litert.Interpreter(str(file)).get_signature_runner()(lr=pictures)["output_0"]


def needs(*packages):
    if "tensorflow" in packages and choose_backend() != "tensorflow":
        pytest.skip("SavedModel and LiteRT are written by TensorFlow, and the backend is another")
    for package in packages:
        pytest.importorskip(package, reason=f"{package} is not installed")


FORMATS = {
    ".onnx": (run_onnx, ("tensorflow", "tf2onnx", "onnxruntime")),
    ".xml": (run_openvino, ("openvino",)),
    "": (run_saved_model, ("tensorflow",)),
    ".tflite": (run_litert, ("tensorflow", "ai_edge_litert")),
}


# Every network as ONNX, and in the other formats what reaches all their layers: a LiteRT file is made from a SavedModel,
# and more of OpenVINO is in test_engines.py.
@pytest.mark.parametrize(
    ("network", "ending"),
    [(network, ".onnx") for network in NETWORKS if network != "recurrent"]
    + [("3d", ".xml"), ("slow", ".tflite")]
    + [("srresnet", ".tflite"), ("instance", ".tflite"), ("compact", ".tflite")]
    + [("srresnet", ".xml"), ("rdn", ".xml"), ("compact", "")],
)
def test_each_runtime_computes_what_keras_computes(network, ending, generators, tmp_path, capsys):
    run, packages = FORMATS[ending]
    needs(*packages)
    generator, model = generators[network]
    output = tmp_path / "exported" / f"mine{ending}"
    assert main(["--model", str(model), str(output)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert float(re.search(r"at most (\S+) levels of 255", line)[1]) < 0.01
    assert sorted(file.name for file in output.parent.iterdir()) == sorted(
        {output.name, output.with_suffix(".bin").name if ending == ".xml" else output.name}
    )
    # Another size than the command tries, and another number of pictures.
    pictures = [to_float(read_rgb(path)[60:89, 50:92]) for path in sorted(SAMPLE.glob("val/*.jpg"))]
    pictures = np.stack(pictures[:3])
    if generator.inputs[0].ndim == 5:
        pictures = np.stack([np.roll(pictures, 2 * index, axis=2) for index in range(3)], axis=1)
    expected = np.asarray(generator(pictures, training=False))
    given = run(output, pictures)
    assert given.shape == expected.shape and expected.std() > 0.01
    np.testing.assert_allclose(given, expected, atol=1e-5 * np.abs(expected).max())


def test_an_onnx_graph_is_valid_and_small(generators, tmp_path):
    needs("tensorflow", "tf2onnx", "onnx")
    import onnx

    export.write_onnx(generators["srresnet"][1], tmp_path / "mine.onnx")
    model = onnx.load(tmp_path / "mine.onnx")
    onnx.checker.check_model(model, full_check=True)
    operations = [node.op_type for node in model.graph.node]
    assert operations.count("Conv") == 7 and operations.count("Transpose") <= 4
    assert not {"Loop", "If", "Resize"} & set(operations)


@pytest.mark.parametrize("ending", [".onnx", ".xml", ""])
def test_what_computes_something_else_is_not_written(ending, generators, tmp_path, monkeypatch, capsys):
    needs(*FORMATS[ending][1])
    name = next(name for name, kind in export.FORMATS.items() if kind.suffix == ending)
    make_generator(tmp_path / "other.keras", "compact", seed=1)
    write = export.FORMATS[name].write
    sabotaged = export.FORMATS[name]._replace(write=lambda model, file: write(tmp_path / "other.keras", file))
    monkeypatch.setitem(export.FORMATS, name, sabotaged)
    output = tmp_path / "exported" / f"mine{ending}"
    assert main(["--model", str(generators["compact"][1]), str(output)]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"srgan: {output}: not written") and "differs from Keras by up to" in line
    assert list(output.parent.iterdir()) == []


def test_an_earlier_export_is_replaced_whole_or_kept(generators, tmp_path, monkeypatch):
    needs("tensorflow")
    output, arguments = tmp_path / "mine", ["--model", str(generators["compact"][1]), str(tmp_path / "mine")]
    output.mkdir()
    (output / "saved_model.pb").write_bytes(b"of an earlier export")
    with monkeypatch.context() as patched:
        patched.setattr(export, "TOLERANCE", -1)
        assert main(arguments) == 1
    assert [file.name for file in tmp_path.rglob("*")] == ["mine", "saved_model.pb"]
    assert main(arguments) == 0
    assert (output / "variables").is_dir() and len((output / "saved_model.pb").read_bytes()) > 1000
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def one_line(arguments, capsys):
    status = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert printed.out == "" and line.startswith("srgan: ")
    return status, line


def test_mistakes_are_said_in_one_line(generators, tmp_path, monkeypatch, capsys):
    needs("tensorflow", "tf2onnx", "onnxruntime")
    model = generators["compact"][1]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").touch()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    for arguments, status, words in (
        (["mine.pth"], 2, "mine.pth: ends in none of .onnx, .xml, .tflite"),
        (["mine.xml", "--format", "onnx"], 2, "mine.xml: must end in .onnx"),
        (["full"], 2, "full: holds something other than a SavedModel"),
        (["file"], 2, "file: is a file"),
        (["mine.onnx", "--model", tmp_path / "none.keras"], 2, "none.keras: no such model"),
        (["file/mine.onnx"], 1, "file"),
    ):
        given = one_line(["--model", model, tmp_path / arguments[0], *arguments[1:]], capsys)
        assert given[0] == status and words in given[1]
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    for name, packages in {
        "mine.onnx": "tensorflow, tf2onnx, onnxruntime",
        "mine.tflite": "tensorflow, ai-edge-litert",
    }.items():
        status, line = one_line(["--model", model, tmp_path / name], capsys)
        assert status == 1 and f"({packages}): pip install '.[export]'" in line
    monkeypatch.setattr(export, "find_spec", lambda name: True)
    monkeypatch.setattr(export, "choose_backend", lambda: "jax")
    status, line = one_line(["--model", model, tmp_path / "mine.tflite"], capsys)
    assert status == 2 and "written by TensorFlow: set KERAS_BACKEND=tensorflow" in line
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("ending", [".onnx", ".xml"])
def test_a_recurrent_network_is_refused(ending, generators, tmp_path, capsys):
    needs(*FORMATS[ending][1])
    status, line = one_line(["--model", generators["recurrent"][1], tmp_path / f"mine{ending}"], capsys)
    assert status == 1 and "recurrent.keras: is recurrent" in line and not list(tmp_path.iterdir())


def test_a_network_that_cannot_be_written_is_named_with_its_layer(tmp_path, capsys):
    needs("openvino")
    keras = load_keras()
    inputs = keras.Input((None, None, 3))
    keras.Model(inputs, keras.layers.Conv2DTranspose(3, 4, 4, "same", name="odd")(inputs)).save(tmp_path / "odd.keras")
    status, line = one_line(["--model", tmp_path / "odd.keras", tmp_path / "odd.xml"], capsys)
    assert status == 1 and "odd.keras: cannot be written as openvino" in line and "layer odd, a Conv2DTranspose" in line
    assert [file.name for file in tmp_path.iterdir()] == ["odd.keras"]


@pytest.mark.parametrize("ending", [".onnx", ".xml"])
def test_a_network_made_by_hand_is_written(ending, tmp_path):
    needs(*FORMATS[ending][1])
    keras = load_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, (3, 5), padding="same", activation="relu", bias_initializer="random_normal")(inputs)
    x = y = layers.BatchNormalization(scale=False)(x)
    x = layers.ReLU()(layers.Conv2D(4, 1, use_bias=False)(x))
    x = layers.Add()([x, y, layers.GroupNormalization(4, center=False)(x)])
    x = layers.UpSampling2D(3, interpolation="nearest")(x)
    x = layers.Concatenate()([x, layers.UpSampling2D(3, interpolation="bilinear")(inputs)])
    keras.Model(inputs, layers.Conv2D(3, 3, padding="same")(x)).save(tmp_path / "own.keras")
    assert main(["--model", str(tmp_path / "own.keras"), str(tmp_path / f"own{ending}")]) == 0  # it compares


@pytest.mark.parametrize(
    "kind, options",
    [
        ("Activation", {"activation": "gelu"}),
        ("ReLU", {"threshold": 1.0}),
        ("PReLU", {"shared_axes": [1, 2, 3]}),
        ("UpSampling2D", {"size": (1, 2)}),
        ("UpSampling2D", {"interpolation": "bicubic"}),
        ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "same", "activation": "softplus"}),
        ("Conv2D", {"filters": 4, "kernel_size": 3}),
        ("Conv2D", {"filters": 4, "kernel_size": 2, "padding": "same"}),
        ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "same", "strides": 2}),
        ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "same", "dilation_rate": 2}),
        ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "same", "groups": 2}),
    ],
)
def test_layers_that_no_generator_has_are_refused_by_name(kind, options):
    needs("openvino")
    keras = load_keras()
    from srgan.upscale.engines.keras_to_openvino import from_keras

    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
    odd = getattr(keras.layers, kind)(**options, name="odd")
    x = odd(x)
    with pytest.raises(Inconvertible, match=r"^layer odd.*$"):
        from_keras(keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same")(x)))


def test_the_command_answers_for_itself(tmp_path):
    needs("onnx", "onnxruntime")
    refused = run_command("export", tmp_path / "mine.onnx", env={"KERAS_BACKEND": "abacus"})
    assert refused.returncode == 2 and refused.stderr.startswith("srgan: KERAS_BACKEND=abacus")
    assert len(refused.stderr.splitlines()) == 1


def test_the_command_names_every_format():
    from srgan.cli.export import FORMATS

    assert set(FORMATS) == set(export.FORMATS)
