"""The same command, the same weights: with the content loss on VGG19, too."""

from itertools import count

from helpers import load_script

repeat = load_script("repeat_training")


def test_the_gan_stage_with_a_content_loss_repeats_itself(capsys):
    assert repeat.main(["--runs", "2", "--config", "coco", "--set", "pixel.epochs=0", "gan.epochs=1"]) == 0
    assert capsys.readouterr().out == "coco: 2 of 2 runs ended with the same weights\n"


def test_other_weights_are_noticed(capsys, monkeypatch):
    numbers = count()
    monkeypatch.setattr(repeat, "_weights", lambda config, changes: next(numbers) // 3)
    assert repeat.main(["--runs", "4", "--config", "coco"]) == 1
    assert capsys.readouterr().out == "coco: 3 of 4 runs ended with the same weights\n"


def test_tensorflow_that_was_used_before_is_named(tiny, tmp_path, caplog):
    import keras
    import pytest

    if keras.backend.backend() != "tensorflow":
        pytest.skip("other backends have nothing to set")
    from tensorflow.python.framework.config import disable_op_determinism

    from srgan.train.run import train

    keras.ops.convert_to_numpy(keras.ops.ones(3) + 1)
    try:
        train(tiny("deterministic=true", "pixel.epochs=1", "gan.epochs=0"), tmp_path / "run")
    finally:
        disable_op_determinism()
    assert any("TensorFlow was used before in this process" in message for message in caplog.messages)
