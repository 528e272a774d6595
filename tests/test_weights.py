"""The shipped models keep what their cards say."""

import re

import numpy as np
import pytest

from srgan.engines import SHIPPED, WEIGHTS

MODELS = [name for name in SHIPPED if (WEIGHTS / f"{name}.keras").is_file()]


def test_a_default_model_is_shipped_and_each_has_its_files():
    assert MODELS
    for name in MODELS:
        assert all((WEIGHTS / f"{name}{suffix}").is_file() for suffix in (".keras", ".xml", ".bin", ".md"))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("engine", ["openvino", "keras"])
def test_a_shipped_model_has_the_scores_of_its_card(name, engine, shared):
    from srgan.scenes import find_pictures, load_methods, read_scene

    card = (WEIGHTS / f"{name}.md").read_text(encoding="utf-8")
    psnr_y, ssim_y, lpips = map(float, re.search(r"\| Set5 \| ([\d.]+) dB \| ([\d.]+) \| ([\d.]+) \|", card).groups())
    methods, scale = load_methods([name], engine=engine)
    label = methods[0].label
    scores = [
        read_scene(path, scale, methods).scores()[label]
        for path in find_pictures([shared / "data" / "benchmarks" / "Set5" / "HR"])
    ]
    assert len(scores) == 5
    means = {key: np.mean([score[key] for score in scores]) for key in ("psnr_y", "ssim_y", "lpips")}
    assert means["psnr_y"] == pytest.approx(psnr_y, abs=0.02)
    assert means["ssim_y"] == pytest.approx(ssim_y, abs=0.001)
    assert means["lpips"] == pytest.approx(lpips, abs=0.002)
