"""The loss of Dolby Vision is said, wherever a file says that it has it: in a box, in a descriptor or in the frames alone."""

import subprocess

import av
import pytest
from test_video_shape import with_box
from videos import make_video, scene

from srgan.clips.video_file import VideoFile


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Clips without it, by their suffix."""
    folder = tmp_path_factory.mktemp("plain")
    quiet = {"x265-params": "log-level=none"}
    make_video(
        folder / "in.mov", scene(3, 64, 48), codec="libx265", pix_fmt="yuv420p10le", colour=(9, 1, 9, 16), **quiet
    )
    for suffix in (".mp4", ".mkv", ".ts", ".m2ts"):
        copy = ["ffmpeg", "-v", "error", "-i", folder / "in.mov", "-c", "copy", folder / f"in{suffix}"]
        subprocess.run(copy, check=True)
    make_video(folder / "av1.mp4", scene(3, 64, 64), codec="libsvtav1", pix_fmt="yuv420p10le")
    return folder


def record(profile, compatibility):
    """Dolby's DOVIDecoderConfigurationRecord: level 1, with a base layer and its metadata."""
    return bytes([1, 0, profile << 1, (1 << 3) | 0b101, compatibility << 4])


def check_loss(path, needed):
    lines = []
    VideoFile(path, notice=lines.append)
    assert lines[-1] == f"{path}: its Dolby Vision metadata is left out" and len(lines) == 1 + bool(needed), lines
    if needed:
        assert lines[0] == f"{path}: is Dolby Vision of profile {needed}, whose colours are wrong without its metadata"


@pytest.mark.parametrize("suffix", [".mov", ".mp4"])
@pytest.mark.parametrize(("profile", "compatibility", "needed"), [(5, 0, 5), (7, 6, 0), (8, 1, 0), (9, 2, 0)])
def test_in_a_box_of_a_sample_entry(profile, compatibility, needed, suffix, plain, tmp_path):
    name = b"dvcC" if profile < 8 else b"dvvC"
    box = b"\0\0\0\x20" + name + record(profile, compatibility) + bytes(19)
    path = tmp_path / f"in{suffix}"
    path.write_bytes(with_box((plain / f"in{suffix}").read_bytes(), b"hev1", box))
    check_loss(path, needed)


@pytest.mark.parametrize(("compatibility", "needed"), [(0, 10), (1, 0), (4, 0)])
def test_in_a_box_of_av1(compatibility, needed, plain, tmp_path):
    box = b"\0\0\0\x20dvvC" + record(10, compatibility) + bytes(19)
    (tmp_path / "in.mp4").write_bytes(with_box((plain / "av1.mp4").read_bytes(), b"av01", box))
    check_loss(tmp_path / "in.mp4", needed)


def crc(data):
    """The CRC-32 of MPEG-2."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 1 << 31 else value << 1) & 0xFFFFFFFF
    return value.to_bytes(4, "big")


def with_descriptor(content, descriptor):
    """A transport stream with a descriptor more for the first stream of its program."""
    content, program = bytearray(content), None
    for place in range(0, len(content), 188):
        packet = bytes(content[place : place + 188])
        identity, begin = int.from_bytes(packet[1:3], "big") & 0x1FFF, 5 + (packet[4] + 1 if packet[3] & 0x20 else 0)
        if identity == 0:
            program = int.from_bytes(packet[begin + 10 : begin + 12], "big") & 0x1FFF
        elif identity == program:
            table = packet[begin : begin - 1 + (int.from_bytes(packet[begin + 1 : begin + 3], "big") & 0xFFF)]
            stream = 12 + (int.from_bytes(table[10:12], "big") & 0xFFF)
            length = int.from_bytes(table[stream + 3 : stream + 5], "big") + len(descriptor)
            end = stream + 5 + (length & 0xFFF) - len(descriptor)
            table = table[: stream + 3] + length.to_bytes(2, "big") + table[stream + 5 : end] + descriptor + table[end:]
            table = table[:1] + (0xB000 | len(table) + 1).to_bytes(2, "big") + table[3:]
            content[place : place + 188] = (packet[:begin] + table + crc(table)).ljust(188, b"\xff")
    return bytes(content)


@pytest.mark.parametrize(("profile", "compatibility", "needed"), [(5, 0, 5), (8, 1, 0), (8, 4, 0)])
def test_in_a_descriptor_of_a_transport_stream(profile, compatibility, needed, plain, tmp_path):
    content = record(profile, compatibility)
    path = tmp_path / "in.ts"
    path.write_bytes(with_descriptor((plain / "in.ts").read_bytes(), bytes([0xB0, len(content)]) + content))
    check_loss(path, needed)


def unsigned(value):
    """Exponential-Golomb code."""
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def metadata_unit(is_ipt):
    """A NAL unit of type 62: Dolby's reference processing unit with curves that change nothing."""
    head = f"{2:06b}{18:011b}{0 if is_ipt else 1:04b}0000" + "1"
    sequence = "000" + unsigned(23) + f"01{is_ipt:b}" + unsigned(2) * 2 + unsigned(4) + "0" + "000" + "0" + "1"
    curves = "00" + unsigned(0) * 3 + (unsigned(0) + f"{0:010b}{1023:010b}") * 3 + unsigned(0) * 2
    curves += (unsigned(0) * 2 + "0" + unsigned(0) + f"{0:023b}" + unsigned(1) + f"{0:023b}") * 3
    bits = head + sequence + curves
    bits += "0" * (-len(bits) % 8)
    content = int(bits, 2).to_bytes(len(bits) // 8, "big")
    unit, zeros = bytearray(), 0
    for byte in bytes([62 << 1, 1, 0x19]) + content + crc(content) + b"\x80":
        if zeros >= 2 and byte <= 3:  # as H.265 escapes it
            unit.append(3)
            zeros = 0
        unit.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(unit)


@pytest.mark.parametrize("is_ipt", [False, True])
@pytest.mark.parametrize("suffix", [".ts", ".m2ts", ".mov", ".mkv"])
def test_in_the_frames_alone(suffix, is_ipt, plain, tmp_path):
    unit, path = metadata_unit(is_ipt), tmp_path / f"in{suffix}"
    before = b"\0\0\0\1" if suffix.endswith("ts") else len(unit).to_bytes(4, "big")
    with av.open(str(plain / f"in{suffix}")) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                more = av.Packet(bytes(packet) + before + unit)
                more.pts, more.dts, more.time_base = packet.pts, packet.dts, packet.time_base
                more.is_keyframe, more.stream = packet.is_keyframe, stream
                out.mux_one(more)
    check_loss(path, 5 if is_ipt else 0)
