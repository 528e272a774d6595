"""srgan-web in headless Chromium: what a photographer does on its page, and what the server refuses."""

import asyncio
import base64
import io
import json
import os
import pickle
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from browsing import require_chromium, set_screen, start_chromium
from helpers import ROOT, import_main, run_command
from PIL import Image
from upscaling import make_model, photograph

require_chromium()
pytest.importorskip("nicegui", reason="NiceGUI is not installed: pip install '.[web]'")

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from srgan.cli import upscale as command
from srgan.errors import SRGANError, UsageError


def free_port():
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


class Server:
    """srgan-web in a process of its own, with a temporary folder of its own."""

    def __init__(self, folder, *arguments, before=(), port=None, cwd=ROOT, prepare=""):
        self.port, self.temporary = port or free_port(), Path(tempfile.mkdtemp(dir=folder))
        self.url = f"http://127.0.0.1:{self.port}"
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "NICEGUI"))}
        code = f"{prepare}import sys; {import_main('web')}; sys.exit(main())"
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", code, "--no-browser", "--port", str(self.port), *map(str, arguments)],
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env={**environment, "TMPDIR": str(self.temporary)},
        )
        self.said = [self.process.stderr.readline()]
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                return socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
        raise AssertionError(self.process.stderr.read())

    def answer(self, path="/", data=None, **headers):
        """Status and body of a request."""
        request = Request(self.url + path, data=data, headers={k.replace("_", "-"): v for k, v in headers.items()})
        try:
            with urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            return error.code, error.read()

    def raw(self, text):
        """The status of what is answered to a request as it stands."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(text.replace("\n", "\r\n").encode())
            return int(connection.makefile("rb").readline().split()[1])

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        begun = time.monotonic()
        self.process.wait(10)
        self.said += self.process.stderr.readlines()
        return time.monotonic() - begun


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with a quick model, and one that has sisters."""
    from srgan.upscale.engines.loading import load_engine

    folder = tmp_path_factory.mktemp("models")
    make_model(folder / "quick.keras", skip="bilinear")
    load_engine(folder / "quick.keras")
    for seed, sister in enumerate(("", "-pixel", "-denoise0", "-denoise1")):
        make_model(folder / f"mine{sister}.keras", seed=seed)
    load_engine(folder / "mine.keras", strength=0.9, denoise=0.0)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory, models):
    server = Server(tmp_path_factory.mktemp("web"), "--models", models)
    yield server
    if server.process.poll() is None:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="module")
def browser():
    driver = start_chromium()
    yield driver
    driver.quit()


class Page:
    """The page of a server in a browser."""

    def __init__(self, driver, server):
        self.driver, self.server = driver, server
        driver.get(server.url)
        self.wait(lambda: driver.find_elements(By.CSS_SELECTOR, "#drop button"))
        self.wait(lambda: driver.execute_script("return window.socket?.connected ?? false"))

    def wait(self, condition, seconds=20):
        """Until the condition holds, of elements that the page may replace meanwhile."""
        replaced = [StaleElementReferenceException]
        return WebDriverWait(self.driver, seconds, 0.05, ignored_exceptions=replaced).until(lambda _: condition())

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def send(self, *paths, by="files"):
        self.find(f"#{by}").send_keys("\n".join(map(str, paths)))

    def drop(self, *paths, x=300, y=150):
        """Drop files or folders, as from another window."""
        data = {"items": [], "files": list(map(str, paths)), "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            place = {"type": kind, "x": x, "y": y, "data": data}
            self.driver.execute_cdp_cmd("Input.dispatchDragEvent", place)

    def row(self, name):
        found = self.driver.find_elements(By.CSS_SELECTOR, f".job[aria-label='{name}']")
        return found[0] if found else None

    def state(self, name):
        # By script: an element may be replaced between finding and reading it.
        script = "return document.querySelector(`.job[aria-label='${arguments[0]}'] .state`)?.textContent ?? ''"
        return self.driver.execute_script(script, name)

    def click(self, what, name):
        selector = f"button[aria-label='{what} {name}']"
        self.wait(lambda: self.driver.find_elements(By.CSS_SELECTOR, selector))
        self.driver.execute_script("document.querySelector(arguments[0]).click()", selector)

    def wait_until(self, name, text, seconds=20):
        self.wait(lambda: text in self.state(name), seconds)

    def choose(self, label, text):
        self.wait(lambda: self.driver.find_elements(By.CSS_SELECTOR, f"[aria-label='{label}']"))
        field = self.find(f"[aria-label='{label}']")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
        field.click()
        options = f"//div[contains(@class, 'q-item')][.//*[contains(text(), '{text}')]]"
        self.wait(lambda: self.driver.find_elements(By.XPATH, options))[0].click()
        self.wait(lambda: not self.driver.find_elements(By.CSS_SELECTOR, ".q-menu"))

    def address(self, name):
        self.wait(lambda: self.row(name) and self.row(name).find_elements(By.CSS_SELECTOR, "a"))
        return self.row(name).find_element(By.CSS_SELECTOR, "a").get_attribute("href").removeprefix(self.server.url)

    def remove_all(self):
        self.wait(lambda: not self.driver.find_elements(By.CSS_SELECTOR, ".job:not(:has([aria-label^=Remove]))"))
        self.driver.execute_script(
            "document.querySelectorAll('.job [aria-label^=Remove]').forEach(each => each.click())"
        )
        self.wait(lambda: not self.driver.find_elements(By.CSS_SELECTOR, ".job"))


@pytest.fixture
def page(browser, server):
    """The page without a job. Afterwards nothing may have gone wrong in it, nor asked for anything elsewhere."""
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    set_screen(browser)
    page = Page(browser, server)
    yield page
    page.driver.execute_script("localStorage.clear()")  # the options
    console = [entry["message"] for entry in browser.get_log("browser")]
    for name in page.driver.execute_script("return [...document.querySelectorAll('.job')].map(job => job.ariaLabel)"):
        if page.row(name).find_elements(By.XPATH, ".//button[starts-with(@aria-label, 'Cancel')]"):
            page.click("Cancel", name)  # of a test that failed: the next one is not to wait for it
    page.remove_all()  # under the eyes of the viewer, which then misses its pictures
    assert [line for line in console if "400" not in line] == []  # of files that are refused
    assert_local(browser, server.url)


def assert_local(browser, url):
    """Every request that the browser has made since the log was read last went to that server."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    urls += [m["params"]["url"] for m in messages if m["method"] == "Network.webSocketCreated"]
    assert len(urls) > 10 and any(each.startswith("ws:") for each in urls)
    local = (f"{url}/", url.replace("http:", "ws:") + "/", "data:", "about:", f"blob:{url}/")
    assert [each for each in urls if not each.startswith(local)] == []


def save(path, pixels=None, **options):
    Image.fromarray(photograph(48, 64) if pixels is None else pixels).save(path, **options)
    return path


def by_command(*arguments):
    command.main([*map(str, arguments), "-q"])


def test_a_dropped_picture_comes_back_as_the_command_makes_it(page, server, tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "a view"
    source = save(tmp_path / "my view.jpg", exif=exif)
    page.drop(source)
    page.wait_until("my view.jpg", "64 × 48 → 256 × 192")
    status, large = server.answer(page.address("my view.jpg"))
    by_command(source, tmp_path / "large.jpg")
    assert status == 200 and large == (tmp_path / "large.jpg").read_bytes()
    with urlopen(server.url + page.address("my view.jpg")) as answer:
        assert "my%20view-x4.jpg" in answer.headers["content-disposition"]


def test_the_slider_shows_both_and_the_true_pixels_at_1_to_1(page, tmp_path):
    source = save(tmp_path / "view.png")
    page.send(source)
    page.wait_until("view.png", "→")
    page.wait(lambda: page.driver.find_elements(By.CSS_SELECTOR, "iframe.viewer"))
    page.driver.switch_to.frame(page.find("iframe.viewer"))
    try:
        page.wait(lambda: page.driver.execute_script("return image('before').complete && image('after').complete"))
        handle = page.find(".handle")
        handle.send_keys(Keys.HOME)  # the line at the left: the result alone
        page.find("#one").click()
        page.driver.execute_async_script("draw(); requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        place = page.driver.execute_script("return { ...document.getElementById('stage').dataset }")
        url = page.driver.execute_script("return document.querySelector('canvas').toDataURL()")
        assert place["zoom"] == "1" and place["split"] == "0"
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))
        by_command(source, tmp_path / "large.png")
        x, y = int(place["x"]), int(place["y"])
        assert (shown[y : y + 192, x : x + 256] == np.asarray(Image.open(tmp_path / "large.png"))).all()
        handle.send_keys(Keys.END)
        page.driver.execute_async_script("draw(); requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        assert page.driver.execute_script("return document.querySelector('canvas').toDataURL()") != url
    finally:
        page.driver.switch_to.default_content()


def test_what_is_dropped_on_the_viewer_is_taken(page, tmp_path):
    page.send(save(tmp_path / "view.png"))
    page.wait_until("view.png", "→")
    page.wait(lambda: page.driver.find_elements(By.CSS_SELECTOR, "iframe.viewer"))
    time.sleep(1)  # until what it shows is loaded
    place = page.find("iframe.viewer").rect
    page.drop(save(tmp_path / "next.png"), x=place["x"] + place["width"] / 2, y=place["y"] + place["height"] / 2)
    page.wait_until("next.png", "→")
    assert len(page.driver.window_handles) == 1


def test_options_of_the_page_are_those_of_the_command(page, server, models, tmp_path):
    page.choose("Kind of picture (model)", "quick")
    page.choose("Enlarged by", "x2")
    page.choose("File format", "WebP")
    quality = page.find("[aria-label='Quality of JPEGs']")
    quality.send_keys(Keys.CONTROL, "a")
    quality.send_keys("60", Keys.TAB)
    time.sleep(2)  # until the server has it
    deep = tmp_path / "deep.png"
    from srgan.pictures import Picture, write_picture

    pixels = (photograph(40, 40).astype(np.uint16) * 257) + 3
    write_picture(Picture(np.concatenate([pixels, pixels[..., :1]], -1)), deep, kind="PNG")
    page.send(deep)
    page.wait_until("deep.png", "→ 80 × 80")
    _, large = server.answer(page.address("deep.png"))
    by_command(
        deep, tmp_path / "large.webp", "--model", models / "quick.keras", "--scale", 2, "--quality", 60,
    )  # fmt: skip
    assert large == (tmp_path / "large.webp").read_bytes()
    assert page.address("deep.png") and "16 are rounded" in page.state("deep.png")
    page.driver.refresh()  # the browser keeps the options
    page.wait(lambda: page.driver.find_elements(By.CSS_SELECTOR, ".slider"))
    assert all(text in page.find(".options").text for text in ("quick, your own", "x2", "WebP"))
    assert page.find("[aria-label='Quality of JPEGs']").get_property("value") == "60"
    for kept in ("5", "null", '{"quality": "x", "model": ["a"], "strength": null, "scale": 2, "other": 1}'):
        page.driver.execute_script("localStorage.srgan = arguments[0]", kept)
        page.driver.refresh()
        page.wait(lambda: page.row("deep.png"))
    assert page.find("[aria-label='Quality of JPEGs']").get_property("value") == "95"
    assert all(text in page.find(".options").text for text in ("(srgan-photo)", "x2"))  # what is right is kept
    page.choose("Kind of picture (model)", "quick")
    page.choose("File format", "PNG")
    page.click("Again", "deep.png")  # without dropping it once more
    page.wait(lambda: len(page.driver.find_elements(By.CSS_SELECTOR, ".job a")) == 2)
    _, again = server.answer(page.address("deep.png"))  # the newest is the first
    by_command(deep, tmp_path / "large.png", "--model", models / "quick.keras", "--scale", 2)
    assert again == (tmp_path / "large.png").read_bytes()


def test_a_model_with_sisters_has_less_and_more_of_detail_and_of_noise(page, server, models, tmp_path):
    page.choose("Kind of picture (model)", "quick,")
    detail, noise = (page.find(f"[aria-label='{label}']") for label in ("Invented detail", "Noise removed"))
    assert not noise.is_displayed() and not detail.is_enabled()
    assert page.find(".slider .soft").text == "Not with this model."
    page.choose("Kind of picture (model)", "mine,")
    page.wait(noise.is_displayed)
    box = page.find("[aria-label='Automatic']")
    detail.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)

    def large(name, denoise):
        source = save(tmp_path / f"{name}.png")
        page.send(source)
        page.wait_until(source.name, "→")
        options = ["--model", models / "mine.keras", "--strength", 0.9, "--denoise", denoise]
        by_command(source, tmp_path / "large.png", *options)
        assert server.answer(page.address(source.name))[1] == (tmp_path / "large.png").read_bytes()

    def kept():
        return page.driver.execute_script("return JSON.parse(localStorage.srgan).denoise")

    assert box.get_attribute("aria-checked") == "true"
    large("first", "auto")
    noise.send_keys(Keys.HOME)
    page.wait(lambda: box.get_attribute("aria-checked") == "false" and kept() == 0)
    box.click()
    page.wait(lambda: box.get_attribute("aria-checked") == "true" and kept() is None)
    box.click()  # the slider is where it was
    page.wait(lambda: kept() == 0)
    large("second", 0)


def test_a_dropped_model_is_a_choice_until_it_is_removed(page, server, models, tmp_path):
    model, source = shutil.copy(models / "quick.keras", tmp_path / "my own.keras"), save(tmp_path / "view.png")
    page.drop(model)
    page.wait_until("my own.keras", "A model that enlarges x4")
    page.click("Use", "my own.keras")
    page.wait(lambda: "my own.keras, dropped here" in page.find(".options").text)
    page.send(source)
    page.wait_until("view.png", "→")
    by_command(source, tmp_path / "large.png", "--model", model)
    assert server.answer(page.address("view.png"))[1] == (tmp_path / "large.png").read_bytes()
    page.click("Remove", "my own.keras")
    page.wait(lambda: "(srgan-photo)" in page.find(".options").text)


def test_a_dropped_model_that_is_a_program_is_not_run(page, tmp_path):
    class Program:
        def __reduce__(self):
            return Path.touch, (tmp_path / "run",)

    torch_zip = tmp_path / "evil.pth"
    with zipfile.ZipFile(torch_zip, "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps({"params": Program()}))
        archive.writestr("evil/version", "3")
    page.send(torch_zip)
    page.wait(lambda: page.driver.find_elements(By.CSS_SELECTOR, "[aria-label='evil.pth'][data-state=failed]"))
    assert "\n" not in page.state("evil.pth") and not (tmp_path / "run").exists()


def test_five_pictures_a_bad_one_among_them_a_reload_and_a_second_tab(page, server, models, tmp_path):
    page.choose("Kind of picture (model)", "quick")
    folder = tmp_path / "holiday"
    (folder / "inner").mkdir(parents=True)
    sources = [save(folder / f"{number}.png", photograph(32, 40, left=160 + number)) for number in range(4)]
    (folder / "inner" / "bad.png").write_bytes(b"\xff\xd8\xffno picture")
    (folder / "notes.txt").write_text("left alone, as in a folder on the command line")
    page.drop(folder)
    page.wait(lambda: len(page.driver.find_elements(By.CSS_SELECTOR, ".job")) == 5)
    page.wait(lambda: page.find("#said[role=status]").text == "5 files are in the list.")
    names = page.driver.execute_script("return [...document.querySelectorAll('.job')].map(job => job.ariaLabel)")
    assert names == ["bad.png", "3.png", "2.png", "1.png", "0.png"]  # the newest first, in the order of their names
    page.wait(lambda: re.search(r"^\d to go, \d+ s left$", page.find(".left").text))
    page.driver.refresh()
    for source in sources:
        page.wait_until(source.name, "40 × 32 → 160 × 128")
    page.wait_until("bad.png", "cannot be read as a picture")  # and not its name once more
    assert "bad.png" not in page.state("bad.png")
    assert len(page.driver.find_elements(By.CSS_SELECTOR, ".job")) == 5
    assert str(server.temporary) not in page.state("bad.png")
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    try:
        other = Page(page.driver, server)
        other.wait_until("3.png", "→")
        other.click("Remove", "3.png")
    finally:
        page.driver.close()
        page.driver.switch_to.window(first)
    page.wait(lambda: not page.row("3.png"))
    status, archive = server.answer("/all.zip")
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert sorted(opened.namelist()) == ["0-x4.png", "1-x4.png", "2-x4.png"] and opened.testzip() is None
        by_command(sources[0], tmp_path / "large.png", "--model", models / "quick.keras")
        assert status == 200 and opened.read("0-x4.png") == (tmp_path / "large.png").read_bytes()


def test_the_end_of_many_leaves_what_is_looked_at_and_one_alone_is_shown(page, tmp_path):
    page.drop(*[save(tmp_path / f"{number}.png") for number in range(3)])
    page.wait_until("0.png", "→")
    page.click("Compare", "0.png")
    for number in (1, 2):
        page.wait_until(f"{number}.png", "→")
    time.sleep(1)
    assert page.find(".shown .name").text == "0.png"
    page.send(save(tmp_path / "alone.png"))
    page.wait(lambda: page.find(".shown .name").text == "alone.png")


def test_what_is_no_picture_is_refused_in_one_line(page, tmp_path):
    (tmp_path / "notes.txt").write_text("text")
    page.send(tmp_path / "notes.txt")
    page.wait(lambda: page.find("#said").text.startswith("notes.txt"))
    refusal = "notes.txt: neither a picture nor a clip that can be read, nor a model"
    assert page.find("#said").text == refusal
    page.send(*[tmp_path / "notes.txt"] * 4, save(tmp_path / "view.png"))
    page.wait(lambda: page.find("#said").text == "\n".join([*[refusal] * 3, "and 1 more", "The file is in the list."]))


def test_a_picture_that_unpacks_to_too_many_pixels_is_refused_in_one_line(page, tmp_path):
    Image.new("L", (20_000, 6_000)).save(tmp_path / "bomb.gif")  # which is not read in strips
    page.send(tmp_path / "bomb.gif")
    page.wait_until("bomb.gif", "20000 x 6000 ")
    assert "\n" not in page.state("bomb.gif")


def test_files_of_one_name_are_told_apart_in_the_zip(tmp_path):
    from srgan.web import jobs, server

    kept = jobs.Jobs(tmp_path)
    for _ in range(3):
        job = kept.begin("a.png", {"format": None, "scale": None})
        job.state, job.result = "done", {"scale": 4}
        job.target.parent.mkdir(parents=True, exist_ok=True)
        job.target.write_bytes(b"picture")
    archive = io.BytesIO(b"".join(server._zipped(kept.all())))
    with zipfile.ZipFile(archive) as opened:
        assert sorted(opened.namelist()) == ["a-x4-2.png", "a-x4-3.png", "a-x4.png"]
        assert all(info.date_time[0] >= 2026 for info in opened.infolist())


def test_uploads_and_jobs_have_limits(server, tmp_path, monkeypatch):
    tab = re.search(rb"data-tab=\W+([\w-]{16})", server.answer()[1])[1].decode()
    upload = "POST /jobs?name=a.png&tab={tab} HTTP/1.1\nHost: {host}\nOrigin: http://{host}\nContent-Length: {size}\n\n"
    assert server.raw(upload.format(tab=tab, host=f"127.0.0.1:{server.port}", size=5 * 2**30)) == 413
    from srgan.web import jobs

    monkeypatch.setattr(jobs, "MAX_JOBS", 2)
    kept = jobs.Jobs(tmp_path)
    first, _ = kept.begin("a.png", {}), kept.begin("a.png", {})
    with pytest.raises(UsageError, match="there are 2 jobs already"):
        kept.begin("b.png", {})
    kept.remove(first)
    kept.begin("b.png", {})
    monkeypatch.setattr(jobs, "MAX_JOBS", 9)
    names = [kept.begin("generator.keras", {}).name for _ in range(3)]
    assert names == ["generator.keras", "generator (2).keras", "generator (3).keras"]


@pytest.mark.parametrize(
    "key, value, text",
    [
        ("quality", "x", "the quality has to be from 1 to 100"),
        ("strength", None, "the strength has to be from 0 to 1"),
        ("scale", [2], "the scale has to be from 1 to 32"),
        ("denoise", float("nan"), "the denoise has to be from 0 to 1"),
        ("format", {}, "the format is none that is written"),
        ("model", ["mine"], "the model is not there any more"),
    ],
)
def test_wrong_options_of_a_page_are_refused_in_one_line(models, tmp_path, monkeypatch, key, value, text):
    from srgan.web import jobs

    monkeypatch.setenv("SRGAN_MODELS", str(models))
    kept, right = jobs.Jobs(tmp_path), {"model": "mine", "scale": 2, "strength": 0.5, "denoise": 0.5}
    assert kept.check(right)["model"] == str(models / "mine.keras")
    with pytest.raises(SRGANError, match=f"^{text}"):
        kept.check(right | {key: value})


def test_models_are_offered_though_the_folder_of_ones_own_cannot_be_read_any_more(tmp_path, monkeypatch):
    from srgan.web import jobs

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", refused)  # a test as root may read all
    monkeypatch.setenv("SRGAN_MODELS", str(tmp_path))
    assert "srgan-photo" in jobs.Jobs(tmp_path).models()


def test_the_time_left_is_that_of_the_tiles_and_of_those_done_before(tmp_path, monkeypatch):
    from srgan.web import jobs

    kept = jobs.Jobs(tmp_path)
    large, waiting = kept.begin("a.png", {"model": "m"}), kept.begin("b.png", {"model": "m"})
    waiting.bytes = 300
    assert kept.seconds_left() is None
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    large.state, large.begun, large.progress = "working", (now - 10, 2), (4, 10)
    assert large.seconds_left() == 30 and kept.seconds_left() is None
    kept._speeds[waiting.kind] = {"jobs": 2, "starting": 4.0, "work": 10.0, "bytes": 100}
    assert kept.seconds_left() == 30 + 2 + 30


def test_all_are_cancelled_at_once_but_what_is_done_and_then_that_is_removed(tmp_path, monkeypatch):
    from srgan.web import jobs

    monkeypatch.setattr(jobs, "_UNDO", 2)
    kept = jobs.Jobs(tmp_path)
    done, *others = (kept.begin(f"{number}.png", {}) for number in range(3))
    done.state = "done"
    kept.remove_all(ended=False)
    assert kept.all() == [done] and done.folder.exists() and not any(job.folder.exists() for job in others)
    kept.remove_all(ended=True)
    timer = done.removed
    kept.remove(done)  # from another tab
    assert kept.all() == [] and kept.find(done.key) is None
    kept.put_back()
    timer.join()
    kept._forget(done)  # as when the time is over while it is put back
    assert kept.all() == [done] and kept.find(done.key) is done and done.folder.exists()


def test_without_nicegui_it_says_what_to_install():
    run = run_command("web", "--no-browser", before="import sys; sys.modules['nicegui'] = None")
    assert (
        run.returncode == 1
        and run.stderr == "srgan: the page needs NiceGUI: pip install 'srgan[web]', or '.[web]' in a checkout\n"
    )


def test_cancel_stops_a_job_within_two_seconds_and_the_next_one_works(page, server, tmp_path):
    page.choose("Kind of picture (model)", "srresnet")
    page.send(save(tmp_path / "large.png", np.tile(photograph(), (12, 9, 1))))
    page.wait_until("large.png", "working")
    page.choose("Kind of picture (model)", "quick")
    page.send(save(tmp_path / "next.png"))
    time.sleep(1)
    begun = time.monotonic()
    page.click("Cancel", "large.png")
    page.wait(lambda: not page.row("large.png"))
    page.wait(lambda: "worker" not in children(server.process.pid) or page.state("next.png") != "waiting")
    assert time.monotonic() - begun < 2
    page.wait_until("next.png", "→")


def children(pid):
    import psutil

    return " ".join(" ".join(child.cmdline()) for child in psutil.Process(pid).children(recursive=True))


def test_a_clip_is_done_as_the_command_does_it_and_plays(page, server, models, tmp_path):
    from videos import make_video, scene

    source = tmp_path / "clip.mp4"
    make_video(source, scene(30))
    page.choose("Kind of picture (model)", "quick")
    page.send(source)
    page.wait_until("clip.mp4", "→ 128 × 96 pixels, ", 40)
    _, large = server.answer(page.address("clip.mp4"))
    by_command(source, tmp_path / "large" / "clip.mp4", "--model", models / "quick.keras")
    assert large == (tmp_path / "large" / "clip.mp4").read_bytes()
    page.wait(lambda: page.driver.execute_script("return document.querySelector('video')?.readyState >= 2"))
    assert page.driver.execute_script("return document.querySelector('video').videoWidth") == 4 * 32


def test_a_clip_is_cancelled_midway_and_nothing_is_left(page, server, tmp_path):
    from videos import make_video, scene

    make_video(tmp_path / "clip.mp4", scene(60, 160, 120))
    page.choose("Kind of picture (model)", "(srresnet)")
    (folder,) = server.temporary.iterdir()
    others = set(folder.iterdir())
    page.send(tmp_path / "clip.mp4")
    page.wait_until("clip.mp4", "srgan-video flickers less, srgan-fast is quicker")
    page.wait(lambda: re.match(r"\d+ %, \d+ (s|min) left$", page.state("clip.mp4"), re.M), 60)
    begun = time.monotonic()
    page.click("Cancel", "clip.mp4")
    page.wait(lambda: not page.row("clip.mp4"))
    page.wait(lambda: "worker" not in children(server.process.pid))
    assert time.monotonic() - begun < 2
    page.wait(lambda: set(folder.iterdir()) <= others)


def test_what_is_being_sent_arrives_whole_though_it_is_removed_meanwhile(tmp_path, monkeypatch):
    from srgan.web import jobs, server

    monkeypatch.setattr(jobs, "_UNDO", 0.5)
    kept, sent = jobs.Jobs(tmp_path), b""
    job = kept.begin("a.png", {})
    job.source.write_bytes(b"a" * 1000)
    job.state, job.result = "done", {"before": "a.png"}

    async def send(message):
        nonlocal sent
        kept.remove(job)  # as soon as its length is promised
        sent += message.get("body", b"")

    request = {"type": "http", "method": "GET", "headers": [], "asgi": {"spec_version": "2.4"}}
    asyncio.run(server._shown(job, "before")(request, None, send))
    assert sent == b"a" * 1000 and kept.all() == []
    while job.folder.exists():
        time.sleep(0.1)


GET = "GET / HTTP/1.1\nHost: {host}\nConnection: close\n\n"
SOCKET = (
    "GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\nHost: {host}\nOrigin: {origin}\nUpgrade: websocket\n"
    "Connection: Upgrade\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n"
)
POST = "POST /jobs?name=a.png HTTP/1.1\nHost: {host}\n{more}Content-Length: 1\nConnection: close\n\na"


@pytest.mark.parametrize(
    "host", ["example.org:{port}", "127.0.0.1", "localhost.evil.org:{port}", "192.168.0.1:{port}", ""]
)
def test_another_host_is_refused(server, host):
    host = host.format(port=server.port)
    assert server.raw(GET.format(host=host)) == 403
    assert server.raw(SOCKET.format(host=host, origin=f"http://{host}")) == 403


@pytest.mark.parametrize("origin", ["http://example.org", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1"])
def test_another_origin_is_refused(server, origin):
    host, origin = f"127.0.0.1:{server.port}", origin.format(port=server.port)
    assert server.raw(SOCKET.format(host=host, origin=origin)) == 403
    assert server.raw(POST.format(host=host, more=f"Origin: {origin}\n")) == 403
    assert server.raw(POST.format(host=host, more="")) == 403
    assert server.raw(SOCKET.format(host=host, origin=f"http://{host}")) == 101
    assert server.raw(POST.format(host=host, more=f"Origin: http://{host}\n")) == 409  # its own, of no tab


def test_another_site_can_neither_send_a_form_nor_show_a_picture(browser, server, tmp_path):
    (tmp_path / "evil.html").write_text(
        f"<form method=post enctype=multipart/form-data action='{server.url}/jobs?name=a.png'><input name=a value=b></form>"
        f"<img id=i src='{server.url}/all.zip' onerror='document.title=\"refused\"'>"
    )
    browser.get((tmp_path / "evil.html").as_uri())
    WebDriverWait(browser, 10).until(lambda _: browser.title == "refused")
    browser.execute_script("document.forms[0].submit()")
    WebDriverWait(browser, 10).until(lambda _: "srgan-web" in browser.page_source)
    assert "only its own page may ask" in browser.page_source


@pytest.mark.parametrize(
    "path",
    [
        *("/jobs/../../etc/passwd/view", "/jobs/..%2f..%2fetc%2fpasswd/before", "/jobs/x/../../../etc/passwd"),
        *("/_nicegui/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/jobs/%00/download"),
    ],
)
def test_nothing_outside_can_be_fetched(server, path):
    assert server.raw(f"GET {path} HTTP/1.1\nHost: 127.0.0.1:{server.port}\nConnection: close\n\n") == 404


def test_names_of_uploads_stay_in_their_folder():
    from srgan.web.jobs import _safe_name

    for name in (
        "../../etc/a.png",
        "..\\a.png",
        "/a.png",
        ".a.png",
        "--a.png",
        "a\n.png",
        "x" * 300 + ".png",
        "%05d.png",
        "",
    ):
        safe = _safe_name(name)
        assert not set(safe) & set("/\\\n%") and safe[0] not in ".-" and len(safe) <= 112


def test_its_folder_is_private_and_gone_when_it_ends(browser, tmp_path):
    (tmp_path / "models").mkdir()
    make_model(tmp_path / "models" / "new.keras", seed=1)  # which is converted first, for seconds
    server = Server(tmp_path, "--models", tmp_path / "models")
    page = Page(browser, server)
    page.choose("Kind of picture (model)", "new")
    page.send(save(tmp_path / "view.png"))
    page.wait(lambda: "engines.conversion" in children(server.process.pid))
    (folder,) = server.temporary.iterdir()  # with what the conversion writes
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert server.stop(signal.SIGINT) < 2 and server.process.returncode == 130
    assert list(server.temporary.iterdir()) == []
    assert not any("Traceback" in line for line in server.said)


def test_a_job_is_done_by_the_package_that_the_server_runs_and_a_long_one_when_it_is_confirmed(browser, tmp_path):
    (tmp_path / "srgan").symlink_to(ROOT / "srgan")  # imported from here, not where it is installed
    long = "import srgan.web.jobs; srgan.web.jobs._LONG = srgan.web.jobs._SAMPLE = 0; "
    server = Server(tmp_path, cwd=tmp_path, prepare=long)
    try:
        page = Page(browser, server)
        page.send(save(tmp_path / "large.png", np.tile(photograph(), (12, 9, 1))), save(tmp_path / "view.png"))
        page.wait_until("view.png", "→")
        assert re.match(r"takes \d+ (s|min|h) on this computer", page.state("large.png"))
        page.click("Start anyway", "large.png")
        page.wait_until("large.png", "left")
        assert "converting" not in page.state("view.png")  # a shipped model, whose OpenVINO form lies beside it
    finally:
        seconds = server.stop(signal.SIGTERM)
    assert seconds < 2 and server.process.returncode == 143 and list(server.temporary.iterdir()) == []


@pytest.fixture
def patient_page(browser, tmp_path):
    """The page of a server of its own, on which what is removed can be put back for long."""
    server = Server(tmp_path, prepare="import srgan.web.jobs; srgan.web.jobs._UNDO = 600; ")
    set_screen(browser)
    try:
        yield Page(browser, server)
    finally:
        server.stop()


def test_the_page_works_by_keyboard(patient_page, tmp_path):
    page = patient_page
    for name in ("one.png", "two.png", "three.png"):
        page.send(save(tmp_path / name))
        page.wait_until(name, "→")
        page.wait(lambda name=name: name in page.find("iframe.viewer").get_attribute("title"))

    def press(key):
        page.driver.switch_to.active_element.send_keys(key)
        focused = page.driver.switch_to.active_element
        return focused.get_attribute("aria-label") or focused.get_attribute("title") or focused.text

    reached = [press(Keys.TAB)]
    while len(reached) < 40 and not reached[-1].startswith("Before and after"):
        reached.append(press(Keys.TAB))
    rows = [
        f"{what} {name}.png" for name in ("three", "two", "one") for what in ("Download", "Compare", "Again", "Remove")
    ]
    choices = ["Kind of picture (model)", "Enlarged by", "File format", "Quality of JPEGs"]
    options = [*choices, "Invented detail", "Noise removed", "Automatic"]
    all_of_them = ["Remove all", "Download all (ZIP)"]
    shown = ["Download three.png", "Before and after of three.png"]
    assert reached == ["Choose files", "Choose a folder", *options, *all_of_them, *rows, *shown]

    def remove(name):
        page.driver.execute_script("document.querySelector(`[aria-label='Remove ${arguments[0]}']`).focus()", name)
        page.driver.switch_to.active_element.send_keys(Keys.ENTER)  # no `press`: the button goes, and its name
        page.wait(lambda: not page.row(name))
        return press("")

    assert remove("two.png") == "Download one.png"  # the next row
    assert remove("one.png") == "Download three.png"  # the last of all goes to the one before
    assert remove("three.png") == "Choose files"
    undo = page.driver.find_element(By.XPATH, "//button[.='Undo Remove']")
    undo.send_keys(Keys.ENTER)
    names = "return [...document.querySelectorAll('.job')].map(job => job.ariaLabel)"
    page.wait(lambda: page.driver.execute_script(names) == ["three.png", "two.png", "one.png"])
    page.driver.execute_script("document.querySelector(`[aria-label='Compare one.png']`).focus()")
    press(Keys.ENTER)
    page.wait(lambda: "one.png" in page.find("iframe.viewer").get_attribute("title"))
    page.find("[aria-label='Remove two.png']").click()
    page.wait(lambda: not page.row("two.png"))
    assert page.driver.switch_to.active_element.tag_name == "body"  # the mouse takes the focus nowhere
    undo.click()
    page.wait(lambda: page.row("two.png"))
    assert page.driver.execute_script(names) == ["three.png", "two.png", "one.png"]  # by age
    assert "one.png" in page.find("iframe.viewer").get_attribute("title")  # what is put back is not new


@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_the_result_comes_first_and_nothing_is_wider_than_the_screen(page, size, tmp_path):
    set_screen(page.driver, size, "dark")
    page.send(save(tmp_path / f"{'a long name of a picture ' * 4}.png"))
    page.wait(lambda: page.driver.find_elements(By.CSS_SELECTOR, "iframe.viewer"))
    assert page.driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    box = page.find("iframe.viewer").rect
    assert 0 < box["y"] < 400 and box["y"] + box["height"] / 2 < page.driver.execute_script("return innerHeight")
    rows, options = page.find(".jobs").rect, page.find(".options").rect
    if size == "phone":
        assert box["y"] < rows["y"] < options["y"]
    else:  # by the Tab key, too: the options, the rows, the viewer
        assert options["y"] < rows["y"] and rows["x"] < box["x"]
    assert page.driver.execute_script("return getComputedStyle(document.documentElement).colorScheme") == "light dark"


def test_another_address_comes_with_warnings_and_asks_for_the_password(browser, tmp_path):
    server = Server(tmp_path, "--host", "0.0.0.0", "--password", "open sesame")
    try:
        host = f"127.0.0.1:{server.port}"
        assert server.answer()[0] == 401
        wrong, right = (base64.b64encode(f"me:{word}".encode()).decode() for word in ("open", "open sesame"))
        assert server.answer(Authorization=f"Basic {wrong}")[0] == 401
        assert server.answer(Authorization=f"Basic {right}")[0] == 200
        assert server.raw(SOCKET.format(host=host, origin=f"http://{host}")) == 403
        assert server.raw(GET.format(host=f"example.org:{server.port}")) == 403
        assert server.raw(GET.format(host=f"192.168.0.1:{server.port}")) == 401  # one of this machine's, perhaps
        browser.get(f"http://me:open%20sesame@{host}")  # as if typed when the browser asks
        page = Page(browser, server)
        page.send(save(tmp_path / "view.png"))
        page.wait_until("view.png", "→")
        page.wait(lambda: browser.find_elements(By.CSS_SELECTOR, "iframe.viewer"))
        page.driver.switch_to.frame(page.find("iframe.viewer"))
        page.wait(lambda: browser.execute_script("return image('after').naturalWidth") == 256)
    finally:
        server.stop()
    assert any("everyone who reaches 0.0.0.0" in line for line in server.said)
    assert any("plain HTTP shows the password" in line for line in server.said)


def test_wrong_options_are_one_line(tmp_path):
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    for arguments, text, status in (
        (["--port", "70000"], "--port: 70000", 2),
        (["--models", "nowhere"], "--models: nowhere is no folder", 2),
        (["--port", taken.getsockname()[1]], "cannot be served on", 1),
        (["--host", "203.0.113.1"], "cannot be served on", 1),
    ):
        run = run_command("web", "--no-browser", *arguments)
        assert run.returncode == status and text in run.stderr and len(run.stderr.splitlines()) == 1


def may_unshare(*options):
    """Whether this process may have a namespace of its own."""
    return (
        shutil.which("unshare") and subprocess.run(["unshare", *options, "true"], capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not may_unshare("-rm"), reason="no mounts of one's own are allowed here")
def test_a_full_disk_is_one_line_and_the_next_picture_works(browser, tmp_path, models):
    small = f'mount -t tmpfs -o size=3m none {tmp_path} && exec "$@"'
    # The folder that TMPDIR names lies on it: made here it would be hidden, so the server makes it.
    server = Server(tmp_path, "--models", models, before=["unshare", "-rm", "sh", "-c", small.replace("&& exec", '&& mkdir "$TMPDIR" && exec'), "sh"])  # fmt: skip
    try:
        page = Page(browser, server)
        page.choose("Kind of picture (model)", "quick")
        noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)
        page.send(save(tmp_path.with_suffix(".png"), noise))
        page.wait(lambda: "No space left" in page.find("#said").text)
        large = save(tmp_path.with_name("result.png"), noise[:400, :400])
        page.send(large)
        page.wait(lambda: "No space left" in page.state("result.png"))
        page.send(save(tmp_path.with_name("next.png")))
        page.wait_until("next.png", "→")
    finally:
        server.stop()


@pytest.mark.skipif(not (may_unshare("-rn") and shutil.which("ip")), reason="no network of one's own is allowed here")
def test_it_works_where_there_is_no_network_but_loopback(tmp_path):
    code = "import pathlib, sys, test_web; test_web.drop_a_picture(pathlib.Path(sys.argv[1]))"
    alone = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-c", code, tmp_path]
    run = subprocess.run(alone, capture_output=True, text=True, cwd=Path(__file__).parent)
    assert run.returncode == 0 and run.stdout.startswith("64 × 48 → 256 × 192 "), run.stderr[-2000:]


def drop_a_picture(folder):
    """A server, a browser and a picture of their own, in a process that may have no network; print what became of it."""
    server, browser = Server(folder), start_chromium()
    try:
        page = Page(browser, server)
        page.drop(save(folder / "view.png"))
        page.wait_until("view.png", "→")
        page.wait(lambda: browser.find_elements(By.CSS_SELECTOR, "iframe.viewer"))
        print(page.state("view.png"))
        assert_local(browser, server.url)
    finally:
        browser.quit()
        server.stop()
