import pytest
import yaml

from srgan.config.bundled import bundled, find_config
from srgan.config.reading import RENAMED
from srgan.config.schema import Config
from srgan.errors import UsageError


@pytest.mark.parametrize("name", bundled())
def test_bundled_configurations_are_valid_and_survive_writing(name, tmp_path):
    config = Config.load(name)
    (tmp_path / "copy.yaml").write_text(config.to_yaml())
    assert Config.load(tmp_path / "copy.yaml") == config


def test_coco_is_the_papers_run():
    config = Config.load("coco.yaml")
    assert (config.data.count, config.data.size, config.network.scale) == (800, 384, 4)
    assert (config.network.blocks, config.network.filters, config.batches.size, config.batches.crop) == (16, 64, 16, 96)
    assert (config.pixel.loss, config.pixel.learning_rate, config.pixel.beta_1) == ("mse", 1e-4, 0.9)
    assert config.pixel.epochs * config.batches.steps_per_epoch == 10**6
    assert config.gan.epochs * config.batches.steps_per_epoch == 2 * 10**5
    assert (config.gan.learning_rate, config.gan.drops) == (1e-4, [100])
    assert config.gan.content_layers == {"block5_conv4": 1.0} and config.gan.content_scale == pytest.approx(1 / 12.75)
    assert config.gan.adversarial_weight == 1e-3


@pytest.mark.parametrize(
    "change, message",
    [
        ("data.cuont=3", "data.cuont = 3: unknown key, did you mean data.count?"),
        ("colour=1", "colour = 1: unknown key, known are seed, precision"),
        ("data.count=-3", "data.count = -3: must be greater than or equal to 1"),
        ("data.count=many", "data.count = 'many': must be a valid integer"),
        ("data.count=true", "data.count = True: must be a valid integer"),
        ("network.scale=3", "network.scale = 3: must be 2 or 4"),
        (
            "network.generator=vdsr",
            "network.generator = 'vdsr': must be one of srresnet, rdn, rrdb, compact, span, msrresnet, edsr, realplksr",
        ),
        ("network=edsr", "network = 'edsr': must be a section"),
        ("network.block=3", "network.block = 3: unknown key, did you mean network.blocks?"),
        ("network.growth=3", "network.growth = 3: srresnet has no such key, known are filters, scale"),
        ("network.blocks=0", "network.blocks = 0: must be greater than or equal to 1"),
        ("network.generator=rrdb network.skip=none", "network.skip = 'none': rrdb has no such key, known are"),
        ("network.discriminator=unet batches.crop=36", "crop = 36: must be a multiple of 8 for the unet"),
        ("batches.degradation=blur", "batches.degradation = 'blur': must be 'bicubic', 'realistic' or 'photograph'"),
        ("batches.crop=97", "batches.crop = 97: must be a multiple of network.scale = 4"),
        ("batches.crop=388", "batches.crop = 388: must be at most data.size = 384"),
        ("data=3", "data = 3: must be a section"),
        ("gan.content_scale=loud", "gan.content_scale = 'loud': must be a valid number"),
        ("gan.artifact_weight=1", "gan.artifact_weight = 1.0: needs an average of the weights"),
        ("gan.content_layers.block9_conv9=1", "content_layers = block9_conv9: no convolution of VGG19"),
        ("pixel.drops=[3]", "pixel.drops = [3]: only schedule: step has drops"),
        ("pixel.schedule=step pixel.drops=[3,3]", "pixel.drops = [3, 3]: must rise"),
        ("gan.drops=[999999]", "gan.drops = [999999]: must be below epochs = 200"),
        ("pixel.average=0.9", "pixel.average = 0.9: must be 0 with network.normalization: batch, whose statistics"),
        ("pixel.epochs.x=3", "epochs is a value, not a section"),
        ("pixel.schedule=step", "drops = []: schedule: step needs the epochs"),
        ("pixel.warmup_steps=1000000", "pixel.warmup_steps = 1000000: must be below the stage's 1000000 steps"),
        ("batches.crop=8", "batches.crop = 8: must be at least 16 for VGG19's block 5"),
        ("gan.content_weight=0 gan.adversarial_weight=0", "content_weight, adversarial_weight: one must be above 0"),
        ("pixel.epochs=0 gan.epochs=0", "one must be above 0"),
        ("data.validation_pictures=null", "data.validation_annotations: only counts with data.validation_pictures"),
        ("seed=4294967295", "seed = 4294967295: must be less than 4294967295"),
        (
            "network.fusion=fast",
            "network.fusion = 'fast': must be 'none', 'early', 'late', 'slow', '3d' or 'recurrent'",
        ),
        ("network.frames=4", "network.frames = 4: must be odd"),
        ("network.frames=1", "network.frames = 1: must be greater than or equal to 3"),
        ("network.generator=rdn network.fusion=slow", "network.fusion = 'slow': rdn has no such key"),
        ("network.fusion=slow network.blocks=2", "network.blocks = 2: must be at least 3 for fusion: slow of 5 frames"),
        ("network.fusion=3d network.blocks=1", "network.blocks = 1: must be at least 2 for fusion: 3d"),
        (
            "network.fusion=late batches.degradation=realistic",
            "degradation = 'realistic': must be 'bicubic' with network.fus",
        ),
        (
            "network.fusion=late data.size=124",
            "data.size = 124: must be at least 128 for batches.crop = 96 with network.fus",
        ),
        ("data.clips=films", "data.clips = 'films': needs a generator over time, as in network.fusion: slow"),
        ("data.validation_clips=films", "data.validation_clips = 'films': needs a generator over time"),
        ("network.fusion=slow batches.clip_share=0", "batches.clip_share = 0: must be greater than 0"),
        ("count", "must be key=value"),
        ("data.categories=[a", "the value is not YAML"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(change, message):
    with pytest.raises(UsageError) as caught:
        Config.load("coco", change.split() if change.count("=") > 1 else [change])
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("generator", ["srresnet", "rdn", "rrdb", "compact", "span"])
def test_each_generator_has_its_own_keys_and_the_defaults_of_its_function(generator):
    import inspect

    from srgan.networks.generators import GENERATORS

    network = Config.load("coco", [f"network.generator={generator}"]).network.model_dump()
    parameters = inspect.signature(GENERATORS[generator]).parameters
    assert {name: network.get(name) for name in parameters} == {name: p.default for name, p in parameters.items()}
    over_time = {"fusion", "frames"} if generator == "srresnet" else set()
    shared = {"generator", "discriminator", "discriminator_filters", "discriminator_normalization"}
    assert set(network) == set(parameters) | shared | over_time


@pytest.mark.parametrize("fusion", ["none", "early", "late", "slow", "3d", "recurrent"])
def test_a_generator_over_time_takes_its_values_from_the_configuration(fusion, tmp_path):
    changes = [f"network.fusion={fusion}", "network.scale=2"]
    if fusion in ("none", "early", "3d"):
        with pytest.raises(
            UsageError, match="pixel.freeze = 'picture': only counts with network.fusion: late, slow or rec"
        ):
            Config.load("srgan-video", changes)
        changes.append("pixel.freeze=none")
    config = Config.load("srgan-video", changes)
    assert config.fusion == fusion and config.network.frames == 5
    (tmp_path / "copy.yaml").write_text(config.to_yaml())
    assert Config.load(tmp_path / "copy.yaml") == config
    assert Config.load("coco", ["network.generator=rdn"]).fusion == "none"
    with pytest.raises(UsageError, match="pixel.freeze = 'picture': needs initial_weights"):
        Config.load("srgan-video", ["initial_weights=null"])


def test_only_the_pictures_have_to_be_named(tmp_path):
    (tmp_path / "x.yaml").write_text("data: {pictures: photos}\ngan: {learning_rate: 1e-5}\n")
    config = Config.load(tmp_path / "x.yaml")
    assert config.data.pictures == "photos" and min(config.pixel.epochs, config.gan.epochs) > 0
    for text in ("data: {}", "seed: 1", "data: {count: 3}"):
        (tmp_path / "x.yaml").write_text(text)
        with pytest.raises(UsageError, match=r"x\.yaml: data(\.pictures)?: missing"):
            Config.load(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    "text, value", [("010", 10), ("0o10", 8), ("0x10", 16), ("+7", 7), ("12 # a comment", 12), ("!!int 9", 9)]
)
def test_whole_numbers_follow_yaml_1_2(text, value, tmp_path):
    assert Config.load("coco", [f"data.count={text}"]).data.count == value
    (tmp_path / "x.yaml").write_text(find_config("coco").read_text().replace("count: 800", f"count: {text}", 1))
    assert Config.load(tmp_path / "x.yaml").data.count == value


@pytest.mark.parametrize("text", ["1e-4", "1E-4", ".0001", "0.00010", "+1.e-4"])
def test_numbers_follow_yaml_1_2(text):
    assert Config.load("coco", [f"pixel.learning_rate={text}"]).pixel.learning_rate == 1e-4


@pytest.mark.parametrize(
    "change, message",
    [
        ("pixel.epochs=1:30", "pixel.epochs = '1:30': must be a valid integer"),
        ("data.count=1_000", "data.count = '1_000': must be a valid integer"),
        ("batches.augment=yes", "batches.augment = 'yes': must be true or false"),
        ("batches.augment=off", "batches.augment = 'off': must be true or false"),
        ("pixel.learning_rate=1_0.5", "pixel.learning_rate = '1_0.5': must be a valid number"),
        ("data.pictures=", "data.pictures = '': must not be empty"),
        ("data.annotations=", "data.annotations = '': must not be empty"),
    ],
)
def test_what_only_yaml_1_1_would_take_is_refused(change, message):
    with pytest.raises(UsageError) as caught:
        Config.load("coco", [change])
    assert message in str(caught.value)


PATHS = ["my photos #2", "010", "1:30", "yes", "~", "~/photos", "2024-05-01", "1e5", "[a", "a: b", "{x}", "'quoted'",
         "*", "#1", "a=b", "Null", "0x10", "0o7", " blank ", "\u00e9t\u00e9 \u2600", "- a", "true", ".5"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", ["data.pictures", "data.annotations", "data.store", "initial_weights", "gan.vgg19"])
def test_text_is_taken_as_it_stands_and_survives_writing(path, key, tmp_path):
    config = Config.load("coco", [f"{key}={path}"])
    assert config.flat()[key] == path
    (tmp_path / "copy.yaml").write_text(config.to_yaml())
    assert Config.load(tmp_path / "copy.yaml") == config
    assert key == "data.annotations" or yaml.safe_load(config.to_yaml()) == config.model_dump(
        mode="json"
    )  # in 1.1, too


def test_null_is_no_text_where_it_is_allowed(tmp_path):
    changes = ["data.annotations=null", "gan.vgg19=null", "data.validation_count=null", "initial_weights=null"]
    config = Config.load("coco", changes)
    assert (config.data.annotations, config.gan.vgg19, config.initial_weights) == (None, None, None)
    assert Config.load("coco", ["data.pictures=null"]).data.pictures == "null"  # where it is not, it is a name


def test_text_that_looks_like_something_else_is_to_be_quoted_in_a_file(tmp_path):
    text = find_config("coco").read_text()
    (tmp_path / "x.yaml").write_text(text.replace("pictures: data/coco/train2017", "pictures: 2017", 1))
    with pytest.raises(UsageError, match="data.pictures = 2017: must be text; in a file, put it in quotes"):
        Config.load(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text(text.replace("pictures: data/coco/train2017", "pictures: 2017-01-01", 1))
    assert Config.load(tmp_path / "x.yaml").data.pictures == "2017-01-01"


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "x.yaml").write_text(find_config("coco").read_text(), encoding="utf-8-sig")
    assert Config.load(tmp_path / "x.yaml") == Config.load("coco")


@pytest.mark.parametrize("new, value", [("gan.checkerboard_weight", 7.0), ("batches.clip_share", 0.25)])
def test_an_old_name_still_works_and_says_so(new, value, tmp_path, caplog):
    (old,) = [name for name, now in RENAMED.items() if now == new]
    section, name = old.split(".")
    caplog.set_level("WARNING", "srgan")
    tree = yaml.safe_load(find_config("coco").read_text())
    tree[section][name] = value
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(tree))
    assert Config.load(tmp_path / "x.yaml").flat()[new] == value
    assert caplog.messages == [f"{tmp_path / 'x.yaml'}: {old} is called {new} now; the old name still works"]
    caplog.clear()
    for changes in ([f"{old}={value}"], [f"{new}=0.5", f"{old}={value}"]):  # the last one counts
        assert Config.load("coco", changes).flat()[new] == value
    assert caplog.messages == [f"--set: {old} is called {new} now; the old name still works"] * 2
    assert Config.load(tmp_path / "x.yaml", [f"{new}=0.5"]).flat()[new] == 0.5
    tree[section][new.split(".")[1]] = value
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(UsageError, match=f"x.yaml: {old} is the old name of {new}, and both are there: leave it out"):
        Config.load(tmp_path / "x.yaml")


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n", "\x00", "seed: 1\nseed: 2\n"])
def test_a_file_that_is_no_configuration(text, tmp_path):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"x\.yaml: "):
        Config.load(tmp_path / "x.yaml")


def test_a_number_may_have_an_exponent():
    assert Config.load("coco", ["pixel.learning_rate=3e-4"]).pixel.learning_rate == 3e-4


def test_a_file_of_the_same_name_comes_before_the_bundled_one(tmp_path, monkeypatch):
    tree = yaml.safe_load(find_config("sample").read_text())
    (tmp_path / "sample.yaml").write_text(yaml.safe_dump({**tree, "seed": 77}))
    monkeypatch.chdir(tmp_path)
    assert Config.load("sample.yaml").seed == 77
    with pytest.raises(
        UsageError, match="nowhere.yaml: no such file, and no bundled configuration of that name .*coco"
    ):
        Config.load("nowhere.yaml")
