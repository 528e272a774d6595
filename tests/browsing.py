"""A headless Chromium for the tests of pages."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
SIZES = {"desktop": (1400, 900, 1), "phone": (390, 844, 2)}  # width, height, screen pixels a pixel


def require_chromium():
    """Skip the module where there is no browser or no selenium; return selenium's webdriver."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("no Chromium with its chromedriver is installed", allow_module_level=True)
    return pytest.importorskip("selenium.webdriver", reason="selenium is not installed")


def start_chromium(**preferences):
    """A driver that logs the console and all requests; to be quit."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1400,1000",
    ):
        options.add_argument(argument)
    options.add_experimental_option("prefs", preferences)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(30)
    return driver


def set_screen(driver, size="desktop", scheme="light"):
    """Let the page be seen on a screen of SIZES, light or dark."""
    width, height, ratio = SIZES[size]
    metrics = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": size == "phone"}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": size == "phone", "maxTouchPoints": 2})
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
