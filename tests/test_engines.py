"""Engines: the same numbers whoever computes them, the cache, and what is said of a model."""

import os
import subprocess
import sys
import threading

import numpy as np
import openvino
import pytest
from upscaling import has_bfloat16, make_model, photograph

from srgan.errors import SRGANError, UsageError
from srgan.models import WEIGHTS, find_model
from srgan.networks.over_time import FUSIONS
from srgan.upscale.engines.backend_errors import translate_backend_error
from srgan.upscale.engines.conversion import convert, save_openvino
from srgan.upscale.engines.description import Tiling, describe
from srgan.upscale.engines.keras_engine import KerasEngine
from srgan.upscale.engines.loading import load_engine
from srgan.upscale.engines.openvino_engine import OpenVINOEngine


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "generator.keras")


@pytest.fixture
def lr():
    return photograph(40, 56)[None].astype(np.float32) / 255


NETWORKS = [
    {},
    {"skip": "bilinear", "normalization": "none"},
    {"normalization": "instance"},
    {"scale": 2, "skip": "bilinear"},
    {"activation": "leaky_relu", "blocks": 2},
    {"activation": "relu", "filters": 8, "scale": 2},
    {"network": "rdn", "blocks": 2, "layers_per_block": 2, "growth": 4},
    {"network": "rrdb", "growth": 4},
    {"network": "compact", "blocks": 2},
    {"network": "span", "blocks": 2},
]


@pytest.mark.parametrize("settings", NETWORKS, ids=str)
def test_openvino_computes_what_keras_computes(settings, tmp_path, lr):
    path = make_model(tmp_path / "generator.keras", **settings)
    engine, keras_engine = OpenVINOEngine(path, "float32"), KerasEngine(path, "float32")
    sr, expected = engine(lr), keras_engine(lr)
    assert sr.shape == (1, 40 * settings.get("scale", 4), 56 * settings.get("scale", 4), 3) and sr.dtype == np.float32
    assert expected.std() > 0.02
    np.testing.assert_allclose(sr, expected, atol=2e-5 * np.abs(expected).max())
    overlap = engine.description.overlap  # measured in OpenVINO only
    assert engine.description == keras_engine.description._replace(overlap=overlap)
    assert engine.description.scale == settings.get("scale", 4)


def test_every_generator_is_converted_without_a_framework(tmp_path):
    """In a process in which Keras computes with OpenVINO; those over time, too."""
    settings = [*NETWORKS, *({"fusion": name, "blocks": 3, "scale": 2, "skip": "bilinear"} for name in FUSIONS)]
    paths = [make_model(tmp_path / f"{index}.keras", **each) for index, each in enumerate(settings)]
    code = (
        "import sys; from srgan.upscale.engines.conversion import main\n"
        "print([main(path, path.replace('keras', 'xml')) for path in sys.argv[1:]])\n"
        "assert sys.modules['keras'].backend.backend() == 'openvino'\n"
        "assert not {'tensorflow', 'jax', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, timeout=600)
    assert done.stdout.strip() == str([0] * len(paths)), done.stdout + done.stderr
    from srgan.networks.files import load_generator

    core = openvino.Core()
    for path in paths:
        keras_engine = KerasEngine(path, "float32")
        compiled = core.compile_model(path.with_suffix(".xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        shapes = [[side or 1 for side in tensor.shape] for tensor in load_generator(path).inputs]
        random = np.random.default_rng(0)
        given = [random.random((*shape[:-3], 40, 28, shape[-1]), np.float32) for shape in shapes]
        expected = keras_engine(*given)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for one, other in zip(compiled(given).values(), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=3e-5 * np.abs(other).max())


@pytest.mark.parametrize("kind", [OpenVINOEngine, KerasEngine])
def test_pictures_of_many_sizes_go_through_one_engine(kind, tmp_path):
    engine = kind(make_model(tmp_path / "generator.keras", skip="bilinear", normalization="none"), "float32")
    for height, width in [(24, 20), (33, 47), (16, 40)]:
        lr = photograph(height, width)[None].astype(np.float32) / 255
        assert engine(lr).shape == (1, 4 * height, 4 * width, 3)


@pytest.mark.parametrize("kind", [OpenVINOEngine, KerasEngine])
@pytest.mark.parametrize("network", [{"skip": "bilinear", "normalization": "none"}, {"network": "compact"}], ids=str)
def test_bfloat16_is_close_and_keeps_the_skip_exact(kind, network, tmp_path, lr):
    path = make_model(tmp_path / "generator.keras", **network)
    exact = kind(path, "float32")
    rough = exact.with_precision("bfloat16")
    if kind is OpenVINOEngine and not has_bfloat16():
        assert rough.precision == "float32"
        np.testing.assert_array_equal(rough(lr), exact(lr))
        return
    assert (exact.precision, rough.precision) == ("float32", "bfloat16")
    difference = np.abs(rough(lr) - exact(lr))
    assert 0 < difference.max() < 0.05
    # bfloat16 has 128 values in [0.5, 1): had the picture itself gone through it, no more could come out.
    values = rough(lr)
    assert len(np.unique(values[(values >= 0.5) & (values < 1)])) > 1000


def test_the_receptive_field_is_what_the_output_depends_on(model):
    engine = OpenVINOEngine(model, "float32")
    reach, scale = engine.description.receptive_field, engine.description.scale
    assert reach == 4 + 2 + 1 + 3  # head, block, body; up1 1, up2 1/2 and the end 4/4, rounded up together
    black, dot = np.zeros((2, 1, 41, 41, 3), np.float32)
    dot[0, 20, 20] = 1
    rows = np.flatnonzero(np.abs(engine(dot) - engine(black)).max((0, 2, 3)))
    assert (20 - reach) * scale <= rows[0] and rows[-1] < (21 + reach) * scale
    assert rows[-1] - rows[0] > 2 * (reach - 2) * scale


def test_instance_normalization_is_known_to_see_the_whole_picture(tmp_path):
    path = make_model(tmp_path / "generator.keras", normalization="instance")
    for description in (OpenVINOEngine(path).description, KerasEngine(path).description):
        assert description.receptive_field is None and description.tiling is Tiling.WHOLE


def test_a_kept_model_needs_no_framework(model, lr):
    expected = load_engine(model, engine="openvino", precision="float32")(lr)
    code = (
        "import sys, numpy as np; from srgan.upscale.engines import load_engine;"
        "engine = load_engine(sys.argv[1], engine='openvino', precision='float32');"
        "sr = engine(np.load(sys.argv[2])); np.save(sys.argv[3], sr);"
        "loaded = {'keras', 'tensorflow', 'jax', 'torch', 'h5py'} & set(sys.modules); assert not loaded, loaded"
    )
    folder = os.environ["XDG_CACHE_HOME"]
    np.save(f"{folder}/lr.npy", lr)
    subprocess.run([sys.executable, "-c", code, model, f"{folder}/lr.npy", f"{folder}/sr.npy"], check=True, timeout=60)
    np.testing.assert_array_equal(np.load(f"{folder}/sr.npy"), expected)


def test_another_content_under_the_same_name_is_another_model(tmp_path, lr):
    path = make_model(tmp_path / "generator.keras", seed=1)
    before = load_engine(path, engine="openvino", precision="float32")(lr)
    make_model(path, seed=2)
    engine = load_engine(path, engine="openvino", precision="float32")
    assert np.abs(engine(lr) - before).max() > 0.05
    np.testing.assert_allclose(engine(lr), KerasEngine(path)(lr), atol=1e-4)


def test_processes_that_convert_at_once_and_one_that_is_killed(model, lr, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code = "import sys; from srgan.upscale.engines import load_engine; load_engine(sys.argv[1], engine='openvino')"
    processes = [subprocess.Popen([sys.executable, "-c", code, model]) for _ in range(3)]
    with pytest.raises(subprocess.TimeoutExpired):
        processes[0].wait(1.5)
    processes[0].kill()
    assert [process.wait(120) for process in processes[1:]] == [0, 0]
    assert sorted(path.name for path in tmp_path.rglob("openvino/*")) == ["generator.bin", "generator.xml"]
    np.testing.assert_allclose(OpenVINOEngine(model, "float32")(lr), KerasEngine(model)(lr), atol=1e-4)


def test_a_damaged_or_foreign_compiled_model_is_compiled_again(model, lr, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    engine = OpenVINOEngine(model, "float32")
    (kept,) = tmp_path.rglob("compiled-f32.blob")
    good = kept.read_bytes()
    kept.write_bytes(b"another version, another machine\n" + good)
    np.testing.assert_array_equal(OpenVINOEngine(model, "float32")(lr), engine(lr))
    assert kept.read_bytes()[:40] == good[:40]


def test_no_place_for_the_cache(model, lr, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    np.testing.assert_allclose(OpenVINOEngine(model, "float32")(lr), KerasEngine(model)(lr), atol=1e-4)


def test_what_openvino_form_cannot_be_built_of_runs_in_keras(tmp_path, lr):
    import keras

    inputs = keras.Input((None, None, 3))
    x = keras.layers.DepthwiseConv2D(3, padding="same")(inputs)
    x = keras.layers.UpSampling2D(2, interpolation="nearest")(x)
    keras.Model(inputs, x).save(tmp_path / "odd.keras")
    engine = load_engine(tmp_path / "odd.keras")
    assert isinstance(engine, KerasEngine) and engine(lr).shape == (1, 80, 112, 3)
    assert engine.description.tiling is Tiling.WHOLE  # unknown layers may look anywhere
    with pytest.raises(SRGANError, match="DepthwiseConv2D.*--engine keras"):
        load_engine(tmp_path / "odd.keras", engine="openvino")


def test_a_layer_used_twice_is_not_converted_into_something_else(tmp_path):
    import keras

    inputs = keras.Input((None, None, 3))
    twice = keras.layers.Conv2D(3, 3, padding="same", activation="relu")
    keras.Model(inputs, twice(twice(inputs))).save(tmp_path / "twice.keras")
    with pytest.raises(SRGANError, match="used more than once"):
        load_engine(tmp_path / "twice.keras", engine="openvino")
    assert load_engine(tmp_path / "twice.keras").name == "Keras"


def test_strength_interpolates_the_weights(tmp_path, lr):
    from srgan.networks.files import load_generator

    gan, pixel = make_model(tmp_path / "srgan.keras", seed=1), make_model(tmp_path / "srresnet.keras", seed=2)
    expected = load_generator(gan)
    pairs = zip(expected.get_weights(), load_generator(pixel).get_weights())
    expected.set_weights([0.25 * one + 0.75 * two for one, two in pairs])
    expected = np.asarray(expected(lr, training=False))
    for engine in ("openvino", "keras"):
        sr = load_engine(gan, engine=engine, precision="float32", strength=0.25)(lr)  # finds srresnet beside srgan
        np.testing.assert_allclose(sr, expected, atol=1e-4)
    pixel.rename(tmp_path / "srgan-pixel.keras")  # as srgan-train names it, beside generator.keras
    pixel = tmp_path / "srgan-pixel.keras"
    np.testing.assert_allclose(load_engine(gan, precision="float32", strength=0.25)(lr), expected, atol=1e-4)
    ends = [load_engine(gan, precision="float32", pixel_model=pixel, strength=strength)(lr) for strength in (0, 1)]
    np.testing.assert_allclose(ends[0], load_engine(pixel, precision="float32")(lr), atol=1e-5)
    np.testing.assert_array_equal(ends[1], load_engine(gan, precision="float32")(lr))


@pytest.mark.parametrize("first", ["generator", "generator-pixel"])
def test_strength_works_whichever_model_was_used_before(first, tmp_path, lr):
    for seed, name in enumerate(("generator", "generator-pixel")):
        make_model(tmp_path / f"{name}.keras", seed=seed, skip="bilinear")
    load_engine(tmp_path / f"{first}.keras")  # it alone is in the cache now
    half_cached = load_engine(tmp_path / "generator.keras", strength=0.5, precision="float32")
    cached = load_engine(tmp_path / "generator.keras", strength=0.5, precision="float32")
    assert np.array_equal(half_cached(lr), cached(lr))


@pytest.mark.parametrize(
    ("name", "sister"), [("srgan", "srresnet"), *((name, f"{name}-pixel") for name in ("srgan-photo", "srgan-fast"))]
)
def test_strength_blends_shipped_models_too(name, sister, lr):
    options = {"engine": "openvino", "precision": "float32"}
    gan, pixel = (load_engine(model, **options)(lr) for model in (name, WEIGHTS / f"{sister}.keras"))
    assert np.abs(gan - pixel).max() > 0.05
    np.testing.assert_allclose(load_engine(name, strength=0, **options)(lr), pixel, atol=1e-5)
    half = load_engine(name, strength=0.5, **options)(lr)
    assert np.abs(half - gan).max() > 0.02 < np.abs(half - pixel).max()


def test_strength_needs_two_models_of_one_kind(model, tmp_path):
    with pytest.raises(UsageError, match="--pixel-model"):
        load_engine(model, strength=0.5)
    with pytest.raises(UsageError, match="between 0 and 1"):
        load_engine(model, strength=1.5)
    other = make_model(tmp_path / "other.keras", filters=8)
    for engine in ("openvino", "keras"):
        with pytest.raises(SRGANError, match="not built alike"):
            load_engine(model, engine=engine, pixel_model=other, strength=0.5)


@pytest.mark.parametrize("kind", [OpenVINOEngine, KerasEngine])
def test_threads_do_not_disturb_each_other(kind, model):
    engine = kind(model, "float32")
    pictures = [photograph(20 + 3 * index, 31, top=index)[None].astype(np.float32) / 255 for index in range(6)]
    expected = [engine(picture) for picture in pictures]
    wrong = []

    def work():
        for _ in range(3):
            for picture, sr in zip(pictures, expected):
                if not np.array_equal(engine(picture), sr):
                    wrong.append(picture.shape)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_models_are_found_by_path_by_name_and_in_a_run(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no folder is named as a model
    monkeypatch.setattr("srgan.models.WEIGHTS", tmp_path)
    assert find_model(str(model)) == model
    assert find_model(model.parent) == model  # a run folder holds generator.keras
    with pytest.raises(UsageError, match="no model is shipped yet: pass --model"):
        find_model()
    with pytest.raises(SRGANError, match="srgan: no such model.*no model is shipped"):
        find_model("srgan")
    for name in ("srresnet", "srgan-photo"):
        (tmp_path / f"{name}.keras").touch()
    assert find_model() == tmp_path / "srgan-photo.keras"
    assert find_model("srresnet") == tmp_path / "srresnet.keras"
    with pytest.raises(SRGANError, match="best.keras: no such model.*shipped: srgan-photo, srresnet"):
        find_model("best.keras")


def test_a_shipped_openvino_form_is_used_as_it_is(tmp_path, lr, monkeypatch):
    path = make_model(tmp_path / "srgan.keras")
    save_openvino(convert(path), path.with_suffix(".xml"))
    expected = KerasEngine(path)(lr)
    monkeypatch.setattr("srgan.models.WEIGHTS", path.parent)
    monkeypatch.setattr("srgan.upscale.engines.openvino_engine.convert", None)  # would fail
    np.testing.assert_allclose(load_engine("srgan", engine="openvino", precision="float32")(lr), expected, atol=1e-4)


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04 cut"])
def test_what_is_no_model_says_so(content, tmp_path):
    path = tmp_path / "bad.keras"
    path.write_bytes(content)
    for engine in ("openvino", "keras"):
        with pytest.raises(SRGANError, match="bad.keras"):
            load_engine(path, engine=engine)


@pytest.mark.parametrize("wrong", [{"engine": "onnx"}, {"precision": "float16"}])
def test_unknown_choices_are_refused(wrong, model):
    with pytest.raises(UsageError, match="is none of auto"):
        load_engine(model, **wrong)


@pytest.mark.parametrize(
    "said",
    [
        "Failed to allocate 245760000 bytes of memory",
        "std::bad_alloc",
        "RESOURCE_EXHAUSTED: while running",
        "CUDA out of memory. Tried",
    ],
)
def test_every_backends_lack_of_memory_is_a_memory_error(said):
    assert isinstance(translate_backend_error(RuntimeError(said)), MemoryError)
    assert isinstance(translate_backend_error(RuntimeError("shapes\ndiffer")), SRGANError)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_a_real_lack_of_memory_halves_the_tile(tmp_path):
    path = make_model(tmp_path / "wide.keras", filters=64)
    load_engine(path, engine="openvino")
    code = (
        "import resource, sys, numpy as np; from srgan.upscale import Upscaler;"
        "upscaler = Upscaler(sys.argv[1], engine='openvino', tile=400); small = np.zeros((20, 20, 3), np.uint8);"
        "upscaler(small); used = 4096 * int(open('/proc/self/statm').read().split()[0]);"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2);"
        "assert upscaler(np.zeros((400, 400, 3), np.uint8)).shape == (1600, 1600, 3)"
    )
    run = subprocess.run([sys.executable, "-c", code, path], stderr=subprocess.PIPE, text=True, timeout=120)
    assert run.returncode == 0 and "out of memory: going on with tiles of" in run.stderr, run.stderr


def test_the_description_counts_the_largest_layer(model):
    from srgan.networks.files import load_generator

    assert (
        describe(load_generator(model)).values_per_pixel == 16 * 4
    )  # up2 at four times the size: 4 channels of 4² pixels


def test_denoise_blends_with_the_nearer_end(tmp_path, lr):
    """The middle is the model itself; strength then blends what came of that with the pixel-trained model."""
    from srgan.networks.files import load_generator

    names = ("mine", "mine-denoise0", "mine-denoise1", "mine-pixel")
    files = [make_model(tmp_path / f"{name}.keras", seed=seed) for seed, name in enumerate(names)]
    shares = {  # of the model, its ends and its pixel-trained sister
        (None, 1): (1, 0, 0, 0), (0.5, 1): (1, 0, 0, 0), (0, 1): (0, 1, 0, 0), (1, 1): (0, 0, 1, 0),
        (0.1, 1): (0.2, 0.8, 0, 0), (0.75, 1): (0.5, 0, 0.5, 0), (0.75, 0.5): (0.25, 0, 0.25, 0.5),
    }  # fmt: skip
    all_weights = [load_generator(file).get_weights() for file in files]
    mixed = load_generator(files[0])
    for (denoise, strength), given in shares.items():
        mixed.set_weights([sum(share * one for share, one in zip(given, alike)) for alike in zip(*all_weights)])
        expected = np.asarray(mixed(lr, training=False))
        for engine in ("openvino", "keras"):
            options = {"engine": engine, "precision": "float32", "denoise": denoise, "strength": strength}
            np.testing.assert_allclose(load_engine(files[0], **options)(lr), expected, atol=1e-4)


def test_without_an_end_of_less_noise_it_is_moved_away_from_that_of_more(tmp_path):
    from srgan.upscale.engines.blending import blend

    model, more = (
        make_model(tmp_path / f"{name}.keras", seed=seed) for seed, name in enumerate(("mine", "mine-denoise1"))
    )
    assert blend(model, denoise=1) == {model: 0, more: 1}
    shares = blend(model, denoise=0.25, strength=1)
    assert sum(shares.values()) == pytest.approx(1) and shares[more] == pytest.approx(-0.25 / 1.3)


def test_denoise_needs_ends(model, tmp_path):
    with pytest.raises(UsageError, match="denoise: 2 is not between 0 and 1"):
        load_engine(model, denoise=2)
    with pytest.raises(UsageError, match=f"{model}: has no weights for more and less noise"):
        load_engine(model, denoise=0.5)
