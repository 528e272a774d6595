"""Models by name: in the user's folder, and on a hub that a local server stands for."""

import hashlib
import http.server
import json
import os
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers import run_command
from PIL import Image

from srgan.errors import UsageError
from srgan.models import find_model, own_models

FOREIGN = Path(__file__).parent / "data" / "foreign"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "in.png"
    Image.fromarray(np.zeros((10, 12, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def own(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("SRGAN_MODELS", str(folder))
    return folder


@pytest.mark.parametrize("name", ["2x-Mine", "2x-Mine.pth"])
def test_model_in_the_users_folder_is_called_by_name(name, own):
    path = shutil.copy(FOREIGN / "compact-x2.pth", own / "2x-Mine.pth")
    assert find_model(name) == Path(path)
    with pytest.raises(UsageError, match="of your own: 2x-Mine"):
        find_model("3x-Mine")


def test_files_of_one_name_are_told_apart_by_their_suffixes(own):
    for suffix in (".safetensors", ".pth"):
        (own / f"2x My v1.2{suffix}").write_bytes(b"")
    assert find_model("2x My v1.2").suffix == ".pth"
    for suffix in (".safetensors", ".pth"):
        assert find_model(f"2x My v1.2{suffix}").suffix == suffix


def test_what_lies_beside_a_model_is_not_listed(own):
    for name in ("mine", "mine-pixel", "mine-denoise0", "mine-denoise1", "other-pixel"):
        (own / f"{name}.keras").write_bytes(b"")
    assert list(own_models()) == ["mine", "other-pixel"]
    assert find_model("mine-pixel") == own / "mine-pixel.keras"


def test_shipped_name_wins_with_a_line(own, caplog):
    caplog.set_level("INFO", "srgan")
    shutil.copy(FOREIGN / "compact-x2.pth", own / "srresnet.pth")
    assert find_model("srresnet").suffix == ".keras"
    assert "srresnet.pth" in caplog.text


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as a download needs."""

    files = {"one": ["README.md", "model.pth"], "two": ["a.pth", "b.safetensors"]}

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        content, extra = None, {}
        if (match := re.fullmatch(r"/api/models/me/(\w+)/tree/[\w.]+", path)) and match[1] in self.files:
            tree = [{"type": "file", "path": name, "size": 1, "oid": COMMIT} for name in self.files[match[1]]]
            content = json.dumps(tree).encode()
        match = re.fullmatch(r"/me/(\w+)/resolve/[\w.]+/(.+)", path)
        if match and match[2] in self.files.get(match[1], []):
            content = (FOREIGN / "compact-x2.pth").read_bytes()
            extra = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        self.send_response(404 if content is None else 200)
        for name, value in extra.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if content and self.command == "GET":
            self.wfile.write(content)


@pytest.fixture
def hub(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    yield {
        **os.environ,
        "HF_ENDPOINT": address,
        "HF_HOME": str(tmp_path / "hub"),
        "NO_PROXY": "*",
        "HF_HUB_DISABLE_XET": "1",
    }
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("address", ["hf://me/one", "hf://me/one@main", "hf://me/two/a.pth"])
def test_model_comes_from_the_hub(address, hub, picture, tmp_path):
    done = run_command("upscale", picture, tmp_path / "out.png", "--model", address, env=hub)
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "out.png").size == (24, 20)


@pytest.mark.parametrize(
    ("address", "status", "reason"),
    [
        ("hf://me/two", 2, "it has a.pth, b.safetensors"),
        ("hf://me/none", 1, "no such repository"),
        ("hf://me/one/none.pth", 1, "cannot be had from the hub"),
        ("hf://me", 2, "hf://OWNER/NAME"),
    ],
)
def test_what_the_hub_lacks_gets_one_line(address, status, reason, hub, picture, tmp_path):
    done = run_command("upscale", picture, tmp_path / "out.png", "--model", address, env=hub)
    assert done.returncode == status, done.stderr
    assert reason in done.stderr and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("address", ["hf://me/one", "hf://me/one/model.pth"])
def test_what_was_downloaded_needs_no_network(address, hub, picture, tmp_path):
    for endpoint in (hub["HF_ENDPOINT"], "http://127.0.0.1:9"):
        environment = {**hub, "HF_ENDPOINT": endpoint}
        done = run_command("upscale", picture, tmp_path / "out.png", "--model", address, env=environment)
        assert done.returncode == 0, done.stderr
        (tmp_path / "out.png").unlink()


def test_no_network_gets_one_line(hub, picture, tmp_path):
    hub["HF_ENDPOINT"] = "http://127.0.0.1:9"
    done = run_command("upscale", picture, tmp_path / "out.png", "--model", "hf://me/one", env=hub)
    assert done.returncode == 1, done.stderr
    assert "is there a network?" in done.stderr and len(done.stderr.strip().splitlines()) == 1
