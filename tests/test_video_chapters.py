"""Chapters, whose titles are a track in MP4: carried, and not taken for the data of a camera."""

import subprocess

import av
import pytest
from test_video_tracks import CONTAINERS, complaints, write

INPUTS = "-f lavfi -i testsrc2=s=32x24:r=25:d=1 -f lavfi -i sine=d=1:r=48000"


def with_chapters(path, titles, *options):
    """A clip with chapters, as long as one another; an empty title is none."""
    about, length = path.with_suffix(".txt"), 1000 // len(titles)
    parts = [
        f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={index * length}\nEND={(index + 1) * length}"
        for index in range(len(titles))
    ]
    about.write_text(
        ";FFMETADATA1\n"
        + "\n".join(f"{part}\ntitle={title}\n" if title else f"{part}\n" for part, title in zip(parts, titles))
    )
    coding = "-map 0 -map 1 -map_metadata 2 -map_chapters 2 -c:v libx264 -c:a aac"
    command = ["ffmpeg", "-v", "error", *INPUTS.split(), "-i", about, *coding.split(), *options, path]
    subprocess.run(command, check=True)
    return path


def chapters(path):
    with av.open(str(path)) as container:
        return [
            (chapter["metadata"].get("title", ""), float(chapter["start"] * chapter["time_base"]))
            for chapter in container.chapters()
        ]


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("titles", [["One", "Zw\u00f6i"], ["One", ""], ["", "Two", ""], ["x" * 300]], ids=str)
@pytest.mark.parametrize("options", [(), ("-timecode", "00:00:00:00")], ids=["plain", "timecode"])
def test_chapters_with_and_without_titles_are_carried(options, titles, suffix, tmp_path):
    source, target = with_chapters(tmp_path / "in.mov", titles, *options), tmp_path / f"out{suffix}"
    lines = write(source, target)
    assert not any("data stream" in line for line in lines if suffix != ".webm" or not options), lines
    before, after = chapters(source), chapters(target)
    assert [title for title, _ in after] == [title for title, _ in before] and len(before) == len(titles)
    assert [begin for _, begin in after] == pytest.approx([begin for _, begin in before], abs=0.002)
    assert complaints(target) <= complaints(source)


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_data_of_a_camera_beside_chapters_is_named(suffix, tmp_path):
    """As many samples as chapters, in a track that FFmpeg calls the same."""
    subtitles = "\n\n".join(f"{index + 1}\n00:00:00,{index}00 --> 00:00:00,{index}90\nline" for index in range(2))
    (tmp_path / "in.srt").write_text(subtitles + "\n")
    plain = with_chapters(tmp_path / "plain.mkv", ["One", "Two"])
    command = f"ffmpeg -v error -i {plain} -i {tmp_path / 'in.srt'} -map 0 -map 1 -c copy -c:s mov_text {tmp_path / 'text.mp4'}"
    subprocess.run(command.split(), check=True)
    content = (tmp_path / "text.mp4").read_bytes()
    place = content.index(b"sbtl")
    content = content[:place] + b"meta" + content[place + 4 :]
    place = content.index(b"tx3g", place)
    (tmp_path / "in.mp4").write_bytes(content[:place] + b"gpmd" + content[place + 4 :])
    lines = write(tmp_path / "in.mp4", tmp_path / f"out{suffix}")
    assert sum("data stream 2" in line and "is left out" in line for line in lines) == 1, lines
    assert sum("data stream" in line for line in lines) == 1 and len(chapters(tmp_path / f"out{suffix}")) == 2
