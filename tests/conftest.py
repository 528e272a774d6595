"""Fixtures: tiny configurations and the shared data."""

import logging
import os
import signal

import pytest
from helpers import ROOT, SAMPLE, SHARED

from srgan.runtime import has_framework

# What a shell starts in the background is born deaf to Ctrl-C, and so is what it starts in turn; a handler undoes that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Small enough that a stage takes a second; every part of the real thing is in it.
TINY = [
    "data.size=64",
    "network.filters=4",
    "network.blocks=1",
    "network.discriminator_filters=4",
    "batches.size=2",
    "batches.crop=32",
    "batches.steps_per_epoch=4",
    "pixel.epochs=2",
    "pixel.warmup_steps=2",
    "gan.epochs=2",
    "samples=1",
    f"data.pictures={SAMPLE / 'train'}",
    f"data.annotations={SAMPLE / 'annotations' / 'instances_train.json'}",
    f"data.validation_pictures={SAMPLE / 'val'}",
    f"data.validation_annotations={SAMPLE / 'annotations' / 'instances_val.json'}",
]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Nothing that the tests prepare or convert lands in the user's cache; what they share is made once."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("XDG_CACHE_HOME") if before is None else os.environ.update(XDG_CACHE_HOME=before)


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(autouse=True)
def _own_logging():
    """What a command in the tests' process tells the logger to leave out is left out of that test alone."""
    logger = logging.getLogger("srgan")
    level, handlers = logger.level, logger.handlers
    yield
    logger.setLevel(level)
    logger.handlers = handlers


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Networks of tests and their fixtures start with the same weights, whatever ran before."""
    if has_framework():
        import keras

        keras.utils.set_random_seed(0)


@pytest.fixture
def tiny(tmp_path):
    """A function that makes a tiny configuration, changed by `key=value` strings."""
    from srgan.config.schema import Config

    return lambda *changes: Config.load("sample", [*TINY, f"data.store={tmp_path / 'stores'}", *changes])


@pytest.fixture
def shared():
    """The folder of shared data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not here")
    return SHARED


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small model that is in the cache already, and whose result looks like its input."""
    from upscaling import make_model

    from srgan.upscale.engines.loading import load_engine

    path = make_model(tmp_path_factory.mktemp("model") / "generator.keras", skip="bilinear")
    load_engine(path)
    return path


@pytest.fixture(scope="module")
def soft(tmp_path_factory):
    """A model that only enlarges, bilinearly: colours are what they were."""
    import numpy as np

    from srgan.runtime import load_keras

    load_keras()
    from srgan.networks.generators import srresnet
    from srgan.upscale.engines.loading import load_engine

    generator = srresnet(filters=4, blocks=1, skip="bilinear")
    for variable in generator.variables:
        variable.assign(np.zeros(variable.shape))
    path = tmp_path_factory.mktemp("soft") / "generator.keras"
    generator.save(path)
    load_engine(path)
    return path


@pytest.fixture
def upscale(model, capsys):
    """A function that runs srgan-upscale in this process and returns its exit status and the lines it said."""
    from srgan.cli import upscale as command

    def run(*arguments, model=model):
        try:
            status = command.main([*map(str, arguments), "--model", str(model)])
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        assert said.out == ""
        return status, said.err.splitlines()

    handler = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, handler)
