"""The page of srgan-compare in headless Chromium: what a person does with it, and that it shows the true pixels."""

import base64
import io
import json
import math

import numpy as np
import pytest
from browsing import SIZES, require_chromium, set_screen, start_chromium
from PIL import Image
from skimage import data

from srgan.compare.methods import Method
from srgan.compare.scores import WITH_ORIGINAL

require_chromium()

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.keys import Keys

from srgan.compare.report import compare
from srgan.pictures import read_rgb
from srgan.pictures.arrays import downscale, resize_bicubic


def darker(low):
    """An enlargement that differs from bicubic everywhere."""
    enlarged = resize_bicubic(low, 4 * low.shape[1], 4 * low.shape[0])
    return (enlarged * 0.7).astype(np.uint8)


def rougher(low):
    """Another: bicubic and a fixed noise."""
    noise = np.random.default_rng(0).integers(0, 40, (4 * low.shape[0], 4 * low.shape[1], 3))
    return (resize_bicubic(low, *noise.shape[1::-1]) * 0.8 + noise).astype(np.uint8)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A comparison of three photographs, written to disk: its folder, and every version of every picture by its name."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "in").mkdir()
    sources = {
        "cat": data.chelsea()[50:210, 100:300],
        "tall <i>cup & more": data.coffee()[60:300, 200:312],
        "astronaut": data.astronaut()[0:128, 128:288],
    }
    for name, pixels in sources.items():
        Image.fromarray(pixels).save(folder / "in" / f"{name}.png")
    methods = [Method(name, folder, "0" * 64, "numpy", way) for name, way in (("darker", darker), ("rougher", rougher))]
    patch = pytest.MonkeyPatch()
    patch.setattr("srgan.compare.report.load_methods", lambda models, **options: (methods, 4))
    try:
        figures = compare([folder / "in"], folder / "out", [])
    finally:
        patch.undo()
    versions = {}
    for picture in figures["pictures"]:
        original = read_rgb(picture["path"])
        low = downscale(original, 4)
        bicubic = resize_bicubic(low, original.shape[1], original.shape[0])
        large = {"bicubic": bicubic, "darker": darker(low), "rougher": rougher(low), "original": original}
        versions[picture["name"]] = {"low": low.repeat(4, 0).repeat(4, 1), **large}
    return folder / "out" / "index.html", figures, versions


class Page:
    """The page in a browser, and what of it the tests look at."""

    def __init__(self, driver, url):
        self.driver = driver
        self.console, self.requests = [], []
        driver.get(url)
        self.wait()

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait(self):
        """Until every picture in sight is decoded and the frame with it is drawn."""
        self.driver.execute_async_script("""
            const done = arguments[0];
            const names = view.mode === "wipe" ? [view.left, view.right] : labels;
            Promise.all(names.map((name) => image(name).decode())).then(() => {
              draw();
              requestAnimationFrame(() => requestAnimationFrame(done));
            });""")

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def click(self, selector):
        self.run("document.querySelector(arguments[0]).scrollIntoView({ block: 'center' })", selector)
        self.find(selector).click()
        self.wait()

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()
        self.wait()

    def state(self):
        values = self.run("return { ...document.getElementById('stage').dataset }")
        return {key: value if key == "mode" else float(value) for key, value in values.items()}

    def pixels(self, pane=0):
        """What the canvas of a pane shows, uint8 (height, width, 4)."""
        url = self.run("return document.querySelectorAll('.pane canvas')[arguments[0]].toDataURL('image/png')", pane)
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGBA"))

    def edge(self, pixels):
        """The first column right of the line."""
        return math.floor(self.state()["split"] * pixels.shape[1] + 0.5)

    def assert_shows(self, version, pixels, columns=None):
        """Every pixel of the canvas (or of some `columns` of it) is the right one of `version`, at a whole zoom."""
        state = self.state()
        zoom, left, top = int(state["zoom"]), int(state["x"]), int(state["y"])
        assert zoom == state["zoom"]
        columns = columns or slice(0, pixels.shape[1])
        y, x = np.mgrid[0 : pixels.shape[0], columns.start : columns.stop]
        y, x = (y - top) // zoom, (x - left) // zoom
        inside = (y >= 0) & (y < version.shape[0]) & (x >= 0) & (x < version.shape[1])
        shown = pixels[:, columns]
        assert inside.sum() > 1000
        assert (shown[inside][:, :3] == version[y[inside], x[inside]]).all()
        assert (shown[~inside][:, 3] == 0).all()


@pytest.fixture(scope="module")
def browser():
    driver = start_chromium()
    yield driver
    driver.quit()


@pytest.fixture
def open_page(browser, report):
    """A function that opens the page on a screen of SIZES, light or dark. Afterwards nothing may have gone wrong in it."""

    def opened(size="desktop", scheme="light"):
        set_screen(browser, size, scheme)
        return Page(browser, report[0].as_uri())

    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    yield opened
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert report[0].as_uri() in urls
    assert [url for url in urls if not url.startswith("data:") and url != report[0].as_uri()] == []


def test_the_table_says_what_the_figures_are_and_marks_the_best(open_page, report):
    page = open_page()
    means = report[1]["means"]
    rows = {row.text.split()[0]: row for row in page.driver.find_elements("css selector", "#means tbody tr")}
    assert list(rows) == ["bicubic", "darker", "rougher"]
    psnr = {name: row.find_element("css selector", "td").text.split()[0] for name, row in rows.items()}
    assert psnr == {name: f"{means[name]['psnr_y']:.2f}" for name in means}
    best = {
        (key, name)
        for key, metric in WITH_ORIGINAL.items()
        for name in means
        if metric.is_best(means[name][key], [row[key] for row in means.values()])
    }
    assert len(best) < len(WITH_ORIGINAL) * len(means) and ("psnr_y", "bicubic") in best
    marked = page.run("""return [...document.querySelectorAll("#means tbody tr")].flatMap((row) =>
        [...row.querySelectorAll("td")].map((cell, i) => cell.querySelector(".best") ? [Object.keys(metrics)[i], row.cells[0].textContent] : null))
        .filter(Boolean)""")
    assert {tuple(pair) for pair in marked} == best


def test_the_slider_shows_one_picture_left_of_the_line_and_the_other_right(open_page, report):
    page = open_page()
    page.click("#one")
    versions, pixels = report[2]["astronaut"], page.pixels()
    edge = page.edge(pixels)
    page.assert_shows(versions["bicubic"], pixels, slice(0, edge))
    page.assert_shows(versions["rougher"], pixels, slice(edge, pixels.shape[1]))


def test_the_line_is_moved_by_the_pointer(open_page, report):
    page = open_page()
    page.click("#one")
    handle, stage = page.find(".handle"), page.find("#stage")
    ActionChains(page.driver).drag_and_drop_by_offset(handle, 60, 0).perform()
    page.wait()
    assert page.state()["split"] == pytest.approx(0.5 + 60 / stage.size["width"], abs=0.003)
    assert handle.rect["x"] + handle.rect["width"] / 2 == pytest.approx(
        stage.rect["x"] + stage.size["width"] / 2 + 60, abs=2
    )
    pixels = page.pixels()
    edge = page.edge(pixels)
    page.assert_shows(report[2]["astronaut"]["bicubic"], pixels, slice(edge - 60, edge))


def test_the_line_is_moved_by_the_keyboard(open_page):
    page = open_page()
    handle = page.find(".handle")
    page.run("arguments[0].focus()", handle)
    assert handle.get_attribute("role") == "slider"
    for keys, value in (
        ([Keys.ARROW_RIGHT], "51"),
        ([Keys.ARROW_LEFT, Keys.ARROW_LEFT], "49"),
        ([Keys.END], "100"),
        ([Keys.HOME], "0"),
    ):
        page.press(*keys)
        assert handle.get_attribute("aria-valuenow") == value
    ActionChains(page.driver).key_down(Keys.SHIFT).send_keys(Keys.ARROW_RIGHT).key_up(Keys.SHIFT).perform()
    page.wait()
    assert handle.get_attribute("aria-valuetext") == "10 %, bicubic left, rougher right"


def test_any_two_versions_can_be_compared(open_page, report):
    page = open_page()
    page.click("#one")
    versions = report[2]["astronaut"]
    for left, right in (("darker", "original"), ("low", "bicubic"), ("original", "darker")):
        for side, label in (("left", left), ("right", right)):
            page.find(f"#{side} option[value={label}]").click()
        page.wait()
        pixels = page.pixels()
        edge = page.edge(pixels)
        page.assert_shows(versions[left], pixels, slice(0, edge))
        page.assert_shows(versions[right], pixels, slice(edge, pixels.shape[1]))
    page.find("#left option[value=darker]").click()  # what is on the other side changes places
    assert page.run("return [view.left, view.right]") == ["darker", "original"]
    page.click("#swap")
    assert page.run("return [view.left, view.right]") == ["original", "darker"]


def test_zoom_and_pan_stay_in_step_to_the_pixel(open_page, report):
    page = open_page()
    versions = report[2]["astronaut"]

    def assert_in_step():
        pixels = page.pixels()
        edge = page.edge(pixels)
        page.assert_shows(versions["bicubic"], pixels, slice(0, edge))
        page.assert_shows(versions["rougher"], pixels, slice(edge, pixels.shape[1]))

    page.click("#one")
    for zoom in (2, 4, 8):
        page.click("#in")
        assert page.state()["zoom"] == zoom
        assert_in_step()
    before = page.state()
    ActionChains(page.driver).move_to_element_with_offset(page.find("#stage"), 150, 80).click_and_hold().move_by_offset(
        -37, 21
    ).release().perform()
    page.wait()
    after = page.state()
    assert (after["x"] - before["x"], after["y"] - before["y"]) == (-37, 21)
    assert_in_step()
    page.run("document.getElementById('stage').focus()")
    page.press(Keys.ARROW_RIGHT)
    assert page.state()["x"] < after["x"]
    assert_in_step()
    page.press("d")
    assert page.state()["zoom"] >= 2
    assert_in_step()
    page.press("0")
    assert page.state()["zoom"] == page.run("return fitZoom()")
    page.click("#out")
    assert page.state()["zoom"] >= 1


def test_the_wheel_zooms_on_the_point_under_it(open_page, report):
    page = open_page()
    page.click("#one")
    for _ in range(3):
        page.click("#in")  # until the picture is larger than the stage, so that nothing holds it in the middle
    page.run("document.getElementById('stage').scrollIntoView({ block: 'center', behavior: 'instant' })")
    page.driver.execute_async_script("setTimeout(arguments[0], 400)")  # the page comes to rest
    stage, (dx, dy) = page.find("#stage"), (60, -30)
    under = page.run(
        """const box = document.getElementById("stage").getBoundingClientRect();
        return [box.width / 2 + arguments[0], box.height / 2 + arguments[1]]""", dx, dy,
    )  # fmt: skip
    point = []
    for amount in (-50, -300, -500, 200):
        before = page.state()
        ActionChains(page.driver).scroll_from_origin(ScrollOrigin.from_element(stage, dx, dy), 0, amount).perform()
        page.wait()
        after = page.state()
        assert (after["zoom"] > before["zoom"]) == (amount < 0)
        point.append([(at - after[axis]) / after["zoom"] for at, axis in zip(under, "xy", strict=True)])
    assert np.ptp(point, axis=0) == pytest.approx(0, abs=1.2)


def test_side_by_side_shows_every_version_in_step(open_page, report):
    page = open_page()
    page.click("#side")
    labels = page.run("return [...document.querySelectorAll('.pane')].map((pane) => pane.dataset.label)")
    assert labels == ["low", "bicubic", "darker", "rougher", "original"]
    for action in ("#one", "#in", "#in", "#differ"):
        page.click(action)
        for index, label in enumerate(labels):
            page.assert_shows(report[2]["astronaut"][label], page.pixels(index))
    page.click("#in")
    before = page.state()
    pane = page.driver.find_elements("css selector", ".pane")[3]
    ActionChains(page.driver).click_and_hold(pane).move_by_offset(25, -18).release().perform()
    page.wait()
    after = page.state()
    assert (after["x"] - before["x"], after["y"] - before["y"]) == (25, -18)
    for index, label in enumerate(labels):
        page.assert_shows(report[2]["astronaut"][label], page.pixels(index))


def test_every_picture_can_be_opened(open_page, report):
    page = open_page()
    names = [picture["name"] for picture in report[1]["pictures"]]
    assert names == ["astronaut", "cat", "tall <i>cup & more"]
    assert page.find("#name").text == names[0]
    page.click("#next")
    assert page.find("#name").text == names[1]
    page.click("#strip button:nth-child(3)")
    assert page.find("#name").text == names[2]
    assert page.find("#next").get_attribute("disabled")
    page.click("#one")
    pixels = page.pixels()
    page.assert_shows(report[2][names[2]]["bicubic"], pixels, slice(0, page.edge(pixels)))
    own = page.find("#own tbody tr:nth-child(2)").text.split()
    assert own[:2] == ["darker", f"{report[1]['pictures'][2]['scores']['darker']['psnr_y']:.2f}"]
    page.run("document.getElementById('stage').focus()")
    page.press(Keys.PAGE_UP)
    assert page.find("#name").text == names[1]
    page.click("#all tbody tr:nth-child(1) button")
    assert page.find("#name").text == names[0]


def test_the_list_of_pictures_is_sorted_by_any_column_and_score(open_page, report):
    page = open_page()

    def shown():
        rows = page.driver.find_elements("css selector", "#all tbody tr")
        return [
            (
                row.find_element("css selector", "th").text,
                row.find_element("css selector", "td:nth-child(3)").text.split()[0],
            )
            for row in rows
        ]

    page.click("#metric button:nth-child(3)")
    page.click("#all thead th:nth-child(3) button")
    expected = {picture["name"]: picture["scores"]["darker"]["lpips"] for picture in report[1]["pictures"]}
    descending = sorted(expected, key=expected.get, reverse=True)
    assert shown() == [(name, f"{expected[name]:.3f}") for name in descending]
    assert page.find("#all thead th:nth-child(3)").get_attribute("aria-sort") == "descending"
    page.click("#all thead th:nth-child(3) button")
    assert [name for name, _ in shown()] == descending[::-1]


def touch(page, kind, *points):
    touches = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]
    page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})


def test_fingers_move_the_line_pinch_and_pan(open_page, report):
    page = open_page("phone")
    page.run("document.getElementById('stage').scrollIntoView({ block: 'center', behavior: 'instant' })")
    box = page.run("return document.getElementById('stage').getBoundingClientRect().toJSON()")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch(page, "touchStart", (x, y))
    for step in range(1, 6):
        touch(page, "touchMove", (x + 16 * step, y))
    touch(page, "touchEnd")
    page.wait()
    assert page.state()["split"] == pytest.approx(0.5 + 80 / box["width"], abs=0.01)

    before = page.state()
    touch(page, "touchStart", (x - 20, y))
    touch(page, "touchStart", (x - 20, y), (x + 20, y))
    for step in range(1, 9):
        touch(page, "touchMove", (x - 20 - 10 * step, y), (x + 20 + 10 * step, y))
    touch(page, "touchEnd")
    page.wait()
    pinched = page.state()
    assert pinched["zoom"] / before["zoom"] == pytest.approx(5, rel=0.05)

    assert pinched["split"] == before["split"]

    touch(page, "touchStart", (x, y))
    for step in range(1, 6):
        touch(page, "touchMove", (x + 6 * step, y - 8 * step))
    touch(page, "touchEnd")
    page.wait()
    panned = page.state()
    assert panned["split"] == pinched["split"]
    assert (panned["x"] - pinched["x"], panned["y"] - pinched["y"]) == pytest.approx(
        (60, -80), abs=4
    )  # two a CSS pixel


READABILITY = """
const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
const luminance = (colour) => { const [r, g, b] = colour.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const background = (node) => { if (!node) return [255, 255, 255]; const own = parse(getComputedStyle(node).backgroundColor);
  return own[3] === 1 ? own.slice(0, 3) : over(own, background(node.parentElement)); };
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let text; (text = walker.nextNode());) {
  const node = text.parentElement, style = getComputedStyle(node), box = node.getBoundingClientRect();
  if (!text.data.trim() || !node.checkVisibility() || node.closest("script, style, .unseen, option, :disabled") || box.width < 2) continue;
  if (style.position === "absolute" && style.clipPath !== "none") continue;
  const below = background(node), colour = over(parse(style.color), below);
  const [light, dark] = [luminance(colour), luminance(below)].sort((a, b) => b - a);
  found.push({ text: text.data.trim().slice(0, 30), size: parseFloat(style.fontSize), contrast: (light + 0.05) / (dark + 0.05),
    left: box.left, right: box.right, scrolls: Boolean(node.closest(".scroll, .strip")) });
}
const controls = [...document.querySelectorAll("button, select, .handle")].filter((node) => node.checkVisibility()).map((node) => {
  const box = node.getBoundingClientRect(), style = getComputedStyle(node);
  return { name: node.getAttribute("aria-label") || node.textContent.trim() || node.querySelector("img")?.alt || node.labels?.[0]?.textContent,
    width: box.width, height: box.height, left: box.left, right: box.right, scrolls: Boolean(node.closest(".scroll, .strip")),
    inTable: Boolean(node.closest("table")), cut: node.scrollWidth > node.clientWidth + 1 && node.tagName === "BUTTON" };
});
return { found, controls, width: innerWidth, page: document.documentElement.scrollWidth };
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_text_and_controls_are_readable(open_page, size, scheme):
    page = open_page(size, scheme)
    seen = page.run(READABILITY)
    assert seen["page"] <= seen["width"] == SIZES[size][0]
    assert len(seen["found"]) > 60 and len(seen["controls"]) > 15
    for text in seen["found"]:
        assert text["size"] >= 12, text
        assert text["contrast"] >= 4.5, text
        assert text["scrolls"] or (text["left"] >= 0 and text["right"] <= seen["width"] + 1), text
    for control in seen["controls"]:
        assert control["name"], control
        assert control["inTable"] or min(control["width"], control["height"]) >= 36, control
        assert control["scrolls"] or (control["left"] >= 0 and control["right"] <= seen["width"] + 23), control
        assert not control["cut"], control
    background = page.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(background) < 60) if scheme == "dark" else (min(background) > 200)


def test_everything_can_be_reached_and_left_by_the_tab_key(open_page):
    page = open_page()
    reached = []
    for _ in range(60):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        reached.append(
            page.run("const at = document.activeElement; return at.id || at.className || at.title || at.tagName")
        )
        if reached[-1] == "BODY":
            break
    for wanted in ("left", "swap", "right", "wipe", "side", "in", "fit", "one", "differ", "stage", "handle", "next"):
        assert wanted in reached
    assert page.run("return document.querySelector('#stage').matches(':focus-within')") is False
