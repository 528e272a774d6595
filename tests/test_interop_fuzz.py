"""Cut, changed and hostile model files: a picture or one line, never a traceback, a crash or a hang."""

import copy
import io
import random
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers import run_command

from srgan.errors import SRGANError
from srgan.interop.reading import read_tensors

FOREIGN = Path(__file__).parent / "data" / "foreign"
FILES = ["compact-x2.pth", "rrdb-old-x4.pth", "compact-x3.safetensors", "nchw.onnx"]


def _changed(content, seed):
    """The content cut, with bits flipped, or with a part in another place."""
    draw = random.Random(seed)
    kind, content = seed % 3, bytearray(content)
    if kind == 0:
        del content[draw.randrange(len(content)) :]
    elif kind == 1:
        for _ in range(draw.randrange(1, 20)):
            content[draw.randrange(min(len(content), draw.choice([64, 1000, len(content)])))] ^= 1 << draw.randrange(8)
    else:
        start, target, length = (draw.randrange(len(content)) for _ in range(3))
        part = content[start : start + length % 500]
        content[target : target + len(part)] = part
    return bytes(content)


@pytest.mark.parametrize("name", FILES[:3])
def test_damaged_files_of_tensors_are_read_or_refused(name, tmp_path):
    content, refused = (FOREIGN / name).read_bytes(), 0
    path = tmp_path / name
    for seed in range(300):
        path.write_bytes(_changed(content, seed))
        try:
            read_tensors(path)
        except SRGANError as error:
            refused += 1
            assert str(error).startswith(str(path)) and "\n" not in str(error)
    assert refused > 100
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", FILES)
def test_command_ends_in_a_picture_or_one_line(name, tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "in.png")
    for seed in (1, 2):
        path = tmp_path / f"{seed}-{name}"
        path.write_bytes(_changed((FOREIGN / name).read_bytes(), seed))
        done = run_command("upscale", tmp_path / "in.png", tmp_path / "out.png", "--model", path, timeout=120)
        assert done.returncode in (0, 1, 2), done.stderr
        assert "Traceback" not in done.stderr
        if done.returncode:
            assert not (tmp_path / "out.png").exists() and done.stderr.count("\n") <= 4
        (tmp_path / "out.png").unlink(missing_ok=True)


def _number(value):
    return b"\x8b" + len(value).to_bytes(4, "little") + value


DEEP = b")" + b"\x85" * 300_000  # a tuple in a tuple, and so on: hashing it overflows the stack of Python itself
HOSTILE = {
    "marks": b"N" * 200_000 + b"(1" * 200_000,
    "deep key": b"}" + DEEP + b"K\x01s",
    "deep keys": b"}(" + DEEP + b"K\x01u",
    "deep member": b"c__builtin__\nset\n(](" + DEEP + b"etR",
    "deep pair": b"ccollections\nOrderedDict\n(](" + DEEP + b"K\x01\x86etR",
    "nested key": b"})" + b"\x85" * 5000 + b"K\x01s",
    "huge number": b"}" + _number(b"\x7f" * 10**5) + b"K\x01s",
    "two lines": b"}X\x03\x00\x00\x00a\nbK\x01s",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickle_gets_one_line(name, tmp_path):
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + HOSTILE[name] + b".")
    code = "import sys; from srgan.interop.recognition import read_network as r; r(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, (done.returncode, done.stderr)  # and not a signal's
    assert re.search(r"srgan\.errors\.SRGANError: .*model\.pth: its? [^\n]*\n$", done.stderr), done.stderr[-500:]


def test_overlapping_storages_are_refused(tmp_path):
    """Entries of a zip that are all the same place in it, which together are more than memory holds."""
    path = tmp_path / "model.pth"
    pickled = io.BytesIO()
    pickled.write(b"\x80\x02}(")
    for index in range(100):
        key = b"%d" % index
        storage = (
            b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX%c\x00\x00\x00%bX\x03\x00\x00\x00cpuJ\x00\x00\x10\x00tQ"
        )
        tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage % (len(key), key) + b"K\x00K\x01\x85K\x01\x85\x89}tR"
        pickled.write(b"X\x02\x00\x00\x00%02d" % index + tensor)
    pickled.write(b"u.")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled.getvalue())
        archive.writestr("archive/data/0", bytes(2**22))
        first = archive.getinfo("archive/data/0")
        for index in range(1, 100):
            entry = copy.copy(first)
            entry.filename = f"archive/data/{index}"
            archive.filelist.append(entry)
            archive.NameToInfo[entry.filename] = entry
    with pytest.raises(SRGANError, match="overlap|damaged"):
        read_tensors(path)
