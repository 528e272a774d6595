"""srgan-download-coco against a real HTTP server on this machine that cuts, changes and lies."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers import ROOT

from srgan.cli.download_coco import main
from srgan.train.data import download

VAL, ANNOTATIONS = "/zips/val2017.zip", "/annotations/annotations_trainval2017.zip"
PICTURES = {f"val2017/{number:012d}.jpg": random.Random(number).randbytes(40_000) for number in range(8)}
INSTANCES = {f"annotations/instances_{split}.json": b'{"images": []}' for split in ("train2017", "val2017")}


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `files` (path to bytes); what it does wrong is set by the attributes."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {VAL: zipped(PICTURES), ANNOTATIONS: zipped(INSTANCES)}
        self.etags = {VAL: '"one"', ANNOTATIONS: '"one"'}
        self.cuts = {}  # path to a list: after how many bytes each next body is cut
        self.claims = {}  # path to a Content-Length that is not true
        self.ranges = True  # whether Range is honoured
        self.if_range = True  # whether If-Range is
        self.head = True  # whether HEAD is
        self.busy = 0  # how many next requests are answered with 503
        self.release = threading.Event()  # what a cut body waits for, with its connection open
        self.release.set()
        self.requests = []  # (method, path, Range)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def bodies(self, path):
        """The Range of each GET of `path` so far."""
        return [wanted for method, requested, wanted in self.requests if (method, requested) == ("GET", path)]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append((self.command, self.path, wanted))
        if not with_body and not server.head:
            return self.send_error(501)
        if server.busy:
            server.busy -= 1
            return self.send_error(503)
        if self.path not in server.files:
            return self.send_error(404)
        content, etag = server.files[self.path], server.etags[self.path]
        total, start = len(content), 0
        same = not server.if_range or self.headers.get("If-Range", etag) == etag
        if wanted and server.ranges and same:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= total:
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(server.claims.get(self.path, total - start)))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        if with_body:
            body = content[start:]
            if server.cuts.get(self.path):
                self.wfile.write(body[: server.cuts[self.path].pop(0)])
                self.wfile.flush()
                server.release.wait(60)
            else:
                self.wfile.write(body)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "BACK_OFF", (0, 0, 0))
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.05,))
    thread.start()
    yield running
    running.release.set()
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def output(tmp_path):
    return tmp_path / "coco"


def run(server, output, *more):
    return main(["--output", str(output), "--base-url", server.url, "val2017", *more])


def below(folder):
    """Every file below `folder`: relative path to content."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def one_line(capsys):
    """The error of a failed run: the last line, and no traceback."""
    error = capsys.readouterr().err
    assert "Traceback" not in error
    lines = [line for line in error.splitlines() if line.startswith("srgan: ")]
    assert len(lines) == 1
    return lines[0]


def test_all_is_fetched_and_a_second_run_asks_for_nothing(server, output, capsys):
    assert run(server, output) == 0
    assert below(output) == PICTURES | INSTANCES  # and neither archives nor .part files
    assert "8 files" in capsys.readouterr().out
    server.requests.clear()
    assert run(server, output) == 0
    assert server.requests == []
    assert capsys.readouterr().out.count("already there") == 2


def test_keep_leaves_the_archives(server, output):
    assert run(server, output, "--keep") == 0
    assert (output / "val2017.zip").read_bytes() == server.files[VAL]
    shutil.rmtree(output / "val2017")
    server.requests.clear()
    assert run(server, output) == 0  # unpacked from the kept archive
    assert server.requests == []
    assert below(output / "val2017").keys() == {name.removeprefix("val2017/") for name in PICTURES}


def test_two_splits_share_the_annotations(server, output):
    train = {name.replace("val2017", "train2017"): content for name, content in PICTURES.items()}
    server.files["/zips/train2017.zip"], server.etags["/zips/train2017.zip"] = zipped(train), '"one"'
    assert run(server, output, "train2017") == 0
    assert below(output) == PICTURES | train | INSTANCES
    assert len(server.bodies(ANNOTATIONS)) == 1


def test_a_cut_connection_is_continued_where_it_was_cut(server, output):
    server.cuts[VAL] = [100_000, 50_000]
    assert run(server, output) == 0
    assert server.bodies(VAL) == [None, "bytes=100000-", "bytes=150000-"]
    assert below(output) == PICTURES | INSTANCES


def test_a_server_that_cannot_resume_starts_again(server, output, capsys):
    server.cuts[VAL], server.ranges = [100_000], False
    assert run(server, output) == 0
    assert server.bodies(VAL) == [None, "bytes=100000-"]
    assert "cannot resume" in capsys.readouterr().err
    assert below(output) == PICTURES | INSTANCES


@pytest.mark.parametrize("if_range", [True, False], ids=["heeds If-Range", "ignores If-Range"])
def test_a_file_that_changed_between_is_not_mixed(server, output, if_range, capsys):
    server.cuts[VAL], server.if_range = [100_000, 0, 0, 0, 0], if_range  # until it gives up
    assert run(server, output) == 1
    assert (output / "val2017.zip.part").stat().st_size == 100_000
    server.cuts.clear()
    new = {name: content[::-1] for name, content in PICTURES.items()}  # the same size, another file
    server.files[VAL], server.etags[VAL] = zipped(new), '"two"'
    assert len(server.files[VAL]) == len(zipped(PICTURES))
    assert run(server, output) == 0
    assert "has changed" in capsys.readouterr().err
    assert below(output) == new | INSTANCES


def test_a_file_that_became_shorter_is_not_mixed(server, output):
    server.cuts[VAL] = [300_000, 0, 0, 0, 0]
    assert run(server, output) == 1
    few = dict(list(PICTURES.items())[:2])
    server.files[VAL], server.if_range, server.etags[VAL] = zipped(few), False, '"two"'
    server.cuts.clear()
    assert run(server, output) == 0
    assert below(output) == few | INSTANCES


def test_a_part_without_its_notes_is_not_trusted(server, output):
    output.mkdir()
    (output / "val2017.zip.part").write_bytes(b"something else")
    assert run(server, output) == 0
    assert server.bodies(VAL) == [None]
    assert below(output) == PICTURES | INSTANCES


def test_without_validators_the_size_decides(server, output):
    server.etags[VAL], server.cuts[VAL] = None, [100_000]
    assert run(server, output) == 0
    assert server.bodies(VAL) == [None, "bytes=100000-"]
    assert below(output) == PICTURES | INSTANCES


def test_a_file_shorter_than_its_content_length_is_an_error(server, output, capsys):
    server.claims[VAL] = len(server.files[VAL]) + 10
    assert run(server, output) == 1
    assert VAL in one_line(capsys)
    assert not (output / "val2017").exists() and not (output / "val2017.zip").exists()


def test_a_file_longer_than_its_content_length_is_damaged(server, output, capsys):
    server.claims[VAL] = len(server.files[VAL]) - 10
    assert run(server, output) == 1
    assert "damaged" in one_line(capsys)
    assert not (output / "val2017").exists() and not (output / "val2017.zip").exists()


def test_one_wrong_byte_leaves_nothing_in_place(server, output, capsys):
    whole = server.files[VAL]
    server.files[VAL] = whole[:200_000] + bytes([whole[200_000] ^ 1]) + whole[200_001:]
    assert run(server, output) == 1
    assert "damaged" in one_line(capsys)
    assert below(output) == {}
    server.files[VAL] = whole
    assert run(server, output) == 0
    assert below(output) == PICTURES | INSTANCES


def test_what_is_no_zip_is_an_error(server, output, capsys):
    server.files[VAL] = b"<html>please log in</html>"
    assert run(server, output) == 1
    assert "val2017.zip: damaged" in one_line(capsys)
    assert below(output) == {}


@pytest.mark.parametrize("name", ["../evil.jpg", "/evil.jpg", "val2017/../../evil.jpg", "val2017\\..\\..\\evil.jpg"])
def test_no_name_leads_out_of_the_folder(server, output, name, capsys):
    server.files[VAL] = zipped(PICTURES | {name: b"evil"})
    assert run(server, output) == 1
    assert "leads out" in one_line(capsys)
    assert not (output / "val2017").exists()
    assert not list(output.parent.rglob("evil*"))


def test_links_are_not_followed(server, output, capsys):
    link = zipfile.ZipInfo("val2017/link.jpg")
    link.external_attr = 0o120777 << 16
    server.files[VAL] = zipped({link: b"/etc/passwd"})
    assert run(server, output) == 1
    assert "leads out" in one_line(capsys)


def test_an_archive_of_something_else_is_an_error(server, output, capsys):
    server.files[VAL] = zipped({"other/picture.jpg": b"1"})
    assert run(server, output) == 1
    assert "no val2017/" in one_line(capsys)


def test_missing_is_said_at_once(server, output, capsys):
    del server.files[VAL]
    assert run(server, output) == 1
    line = one_line(capsys)
    assert "404" in line and VAL in line
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again(server, output):
    server.busy = 2
    assert run(server, output) == 0
    assert below(output) == PICTURES | INSTANCES


def test_a_server_without_head_will_do(server, output):
    server.head = False
    assert run(server, output) == 0
    assert below(output) == PICTURES | INSTANCES


def test_no_server_is_an_error(server, output, capsys):
    server.shutdown()
    server.server_close()
    assert run(server, output) == 1
    assert "refused" in one_line(capsys).lower()


def test_too_small_a_disk_is_said_before_anything_is_fetched(server, output, monkeypatch, capsys):
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: usage(10**12, 10**12, 1_000))
    server.claims[VAL] = 20_000_000_000
    assert run(server, output) == 1
    line = one_line(capsys)
    assert "41.0" in line and "0.00 GB" in line  # 20 GB of archive and 21 GB of pictures
    assert not server.bodies(VAL)


def test_annotations_of_other_years_stay(server, output):
    (output / "annotations").mkdir(parents=True)
    (output / "annotations" / "instances_val2014.json").write_text("{}")
    assert run(server, output) == 0
    assert below(output / "annotations").keys() == {
        "instances_val2014.json",
        "instances_val2017.json",
        "instances_train2017.json",
    }


def test_an_empty_folder_is_not_taken_for_the_pictures(server, output):
    (output / "val2017").mkdir(parents=True)
    assert run(server, output) == 0
    assert below(output) == PICTURES | INSTANCES


def test_usage_errors(server, output, capsys):
    assert main(["val2017", "--base-url", "ftp://example.org"]) == 2
    assert "ftp://example.org" in one_line(capsys)
    with pytest.raises(SystemExit) as stopped:
        main(["test2017"])
    assert stopped.value.code == 2


def start(server, output):
    command = [
        sys.executable,
        "-c",
        "import sys; from srgan.cli.download_coco import main; sys.exit(main())",
        "val2017",
    ]
    command += ["--output", output, "--base-url", server.url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals on Windows")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_a_stopped_process_leaves_what_the_next_one_continues(server, output, how):
    server.cuts[VAL] = [150_000]
    server.release.clear()  # the server falls silent after 150,000 bytes, and the process waits
    process, part = start(server, output), output / "val2017.zip.part"
    try:
        wait_for(lambda: part.exists() and part.stat().st_size >= 100_000)
    finally:
        process.send_signal(how)
        error = process.communicate(timeout=30)[1]
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert error.splitlines()[-1].startswith("srgan: interrupted") and "Traceback" not in error
    else:
        assert process.returncode == -how
    assert not (output / "val2017").exists()
    kept = part.stat().st_size
    assert part.read_bytes() == server.files[VAL][:kept]
    assert json.loads((output / "val2017.zip.part.json").read_text())["size"] == len(server.files[VAL])
    server.release.set()
    second = start(server, output)
    assert second.communicate(timeout=60)[1] == "" and second.returncode == 0
    assert server.bodies(VAL)[1:] == [f"bytes={kept}-"]
    assert below(output) == PICTURES | INSTANCES


def test_what_a_kill_while_unpacking_leaves_is_cleared(server, output):
    half = output / ".val2017.unpacking" / "val2017"
    half.mkdir(parents=True)
    (half / "stray.jpg").write_bytes(b"half")
    (output / "val2017.zip").write_bytes(server.files[VAL])
    assert run(server, output) == 0
    assert server.bodies(VAL) == []
    assert below(output) == PICTURES | INSTANCES
