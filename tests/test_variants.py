"""scripts/variants.py: the table of all variants, on two tiny ones of them."""

import numpy as np
from conftest import TINY
from helpers import SAMPLE, load_script

from srgan.config.schema import Config
from srgan.networks.generators import compact, srresnet

variants = load_script("variants")


def test_each_is_a_configuration_of_its_own():
    pixel = ["pixel.average=0.9", "gan.epochs=0"]
    gan = ["pixel.epochs=0", "gan.average=0.9"]
    configs = [Config.load("coco-cpu", [*stage, *changes]).to_yaml()
               for stage, variations in ((pixel, variants.PIXEL), (gan, variants.GAN))
               for _, changes in variations.values()]  # fmt: skip
    assert len(set(configs)) == len(configs) == 15


def test_multiply_adds_by_hand():
    """Of the paper's network, and of one whose convolutions are all at low resolution."""
    body = 9 * 9 * 3 * 64 + (32 + 1) * 3 * 3 * 64 * 64
    upsampling = 3 * 3 * 64 * 256 * (1 + 4) + 9 * 9 * 64 * 3 * 16
    assert variants.multiply_adds(srresnet()) == body + upsampling == 2_218_176
    generator = compact(filters=4, blocks=1)
    kernels = sum(int(np.prod(v.shape)) for v in generator.trainable_variables if v.path.endswith("kernel"))
    assert variants.multiply_adds(generator) == kernels


def test_the_table_is_made_and_finished_runs_are_not_repeated(monkeypatch, tmp_path, capfd):
    small = "filters: 4, blocks: 1, normalization: none, skip: bilinear"
    monkeypatch.setattr(
        variants,
        "PIXEL",
        {
            "plain": ("nothing", [f"network={{generator: srresnet, discriminator_filters: 4, {small}}}"]),
        },
    )
    same = f"network={{generator: srresnet, discriminator: patch, discriminator_filters: 4, {small}}}"
    monkeypatch.setattr(variants, "GAN", {"hinge": ("by hinge", [same, "gan.adversarial=hinge"])})
    data = [change for change in TINY if change.startswith(("data.", "samples"))]
    arguments = ["--data", f"Sample={SAMPLE / 'val'}", "--output", str(tmp_path / "runs")]
    arguments += ["--table", str(tmp_path / "table.md"), "--steps", "3", "2"]
    arguments += ["--set", *data, "data.count=null", "data.validation_count=3", f"data.store={tmp_path / 'stores'}", "gan.content_weight=0", "batches.crop=32",
                  "batches.size=2", "precision=float32"]  # fmt: skip
    assert variants.main(arguments) == 0
    assert "pixel epoch 1/1" in capfd.readouterr().out
    first = (tmp_path / "table.md").read_text()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in first.splitlines() if line[:1] == "|"]
    rows = {line[0]: line[1:] for line in lines}
    assert list(rows) == ["Generator", "---", "bicubic", "nothing",
                          "Discriminator and losses", "pixel stage alone", "by hinge"]  # fmt: skip
    assert rows["pixel stage alone"] == rows["nothing"][3:] and all(map(float, rows["by hinge"]))
    assert 20 < float(rows["bicubic"][3].split()[0]) < 35
    assert "3 steps of" in first and "2 GAN steps" in first
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/generator.keras")}
    assert len(before) == 2 and variants.main(arguments) == 0
    assert "epoch 1/1" not in capfd.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_what_is_to_be_measured_is_looked_for_first(tmp_path, capfd):
    assert variants.main(["--data", "Set5=nowhere", "--output", str(tmp_path / "runs")]) == 2
    assert capfd.readouterr() == ("", "variants: nowhere: no such picture or folder\n")
    assert not (tmp_path / "runs").exists()


def test_a_run_that_fails_is_named(tmp_path, capfd):
    arguments = ["--data", f"Sample={SAMPLE / 'val'}", "--output", str(tmp_path), "--table", str(tmp_path / "table.md")]
    assert variants.main([*arguments, "--set", "data.pictures=nowhere"]) == 1
    errors = capfd.readouterr().err.splitlines()
    assert "nowhere" in errors[0] and errors[-1] == f"variants: {tmp_path / 'paper'}: the run failed"
    assert not (tmp_path / "table.md").exists()
