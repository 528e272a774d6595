"""Sound of any number of channels is converted where a container does not hold its codec, and all of it is heard."""

import subprocess

import av
import numpy as np
import pytest
from test_video_tracks import complaints, write


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("layout", ["quad", "4.0", "5.1(side)", "6.1", "octagonal"])
def test_every_channel_is_heard(layout, suffix, tmp_path):
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    inputs = ["-f", "lavfi", "-i", "testsrc2=s=32x24:r=25:d=0.6"]
    for index in range(len(names)):  # a tone of its own for each
        inputs += ["-f", "lavfi", "-i", f"sine=d=0.6:r=48000:f={400 + 300 * index}"]
    merge = "".join(f"[{index + 1}]" for index in range(len(names)))
    merge += f"join=inputs={len(names)}:channel_layout={layout}[a]"
    coding = [
        "-filter_complex",
        merge,
        "-map",
        "0",
        "-map",
        "[a]",
        "-c:v",
        "mpeg4",
        "-c:a",
        "wavpack",
        tmp_path / "in.mkv",
    ]
    subprocess.run(["ffmpeg", "-v", "error", *inputs, *coding], check=True)
    target = tmp_path / f"out{suffix}"
    (line,) = write(tmp_path / "in.mkv", target)
    assert "is converted to" in line and complaints(target) == set()
    with av.open(str(target)) as container:
        count = container.streams.audio[0].codec_context.layout.nb_channels
    assert count == (8 if layout == "6.1" and suffix == ".mp4" else len(names))  # FFmpeg's AAC has no 6.1
    decoded = ["ffmpeg", "-v", "error", "-i", target, "-map", "0:a", "-f", "f32le", "-"]
    sound = np.frombuffer(subprocess.run(decoded, capture_output=True, check=True).stdout, np.float32).reshape(
        -1, count
    )
    spectrum = np.abs(np.fft.rfft(sound[4800:24000], axis=0)).max(1)
    for index, name in enumerate(names):
        tone = spectrum[int((400 + 300 * index) * 0.4) - 2 :][:5].max()
        assert name == "LFE" or tone > 100, (name, tone)  # of the LFE the encoders keep low tones only
