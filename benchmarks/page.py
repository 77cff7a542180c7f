"""Measure a page of `report` in Chromium: ``python benchmarks/page.py PAGE [--axe axe.min.js]``.

Prints its weight and, at the width of a screen and of a phone, the time until the first figures are
drawn, whether anything scrolls sideways, parts without height, and warnings on the console. With
the script of axe-core (``npm install axe-core``) also what it finds of hindrances to assistive
technology.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from selenium import webdriver

SIZES = ((1300, 900), (390, 844))
_FIRST_FIGURE = """const done = arguments[0];
ready.then(() => { draw(); drawing.then(() => requestAnimationFrame(() => done())) })"""
_EMPTY = """return [...document.querySelectorAll("main section, .panel:not([hidden]) > div")]
  .filter((part) => part.offsetParent !== null && part.getBoundingClientRect().height === 0)
  .map((part) => part.id || part.getAttribute("aria-labelledby"))"""
_AXE = """const done = arguments[0]; axe.run().then(({violations}) =>
  done(violations.map(({impact, id, nodes}) => `${impact}: ${id}, ${nodes.length} places`)))"""


def browser() -> Any:
    """Start Chromium without a window."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))


def main() -> None:
    """Measure one page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--axe", type=Path, help="axe.min.js of axe-core")
    arguments = parser.parse_args()
    print(f"{arguments.page}: {arguments.page.stat().st_size / 1e6:.2f} MB")
    with browser() as driver:
        driver.set_script_timeout(60)
        driver.get("about:blank")
        for width, height in SIZES:
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
            is_phone = {"mobile": width < 500}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics | is_phone)
            start = time.perf_counter()
            driver.get(arguments.page.resolve().as_uri())
            driver.execute_async_script(_FIRST_FIGURE)
            seconds = time.perf_counter() - start
            across = driver.execute_script("return document.documentElement.scrollWidth")
            print(f"{width} × {height}: figures of the first view after {seconds:.2f} s")
            print(f"    scrolls sideways: {'yes' if across > width else 'no'}")
            print(f"    parts without height: {driver.execute_script(_EMPTY) or 'none'}")
            log = [entry for entry in driver.get_log("browser") if entry["level"] != "INFO"]
            print(f"    console: {log or 'nothing'}")
            if arguments.axe is not None:
                driver.execute_script(arguments.axe.read_text("utf-8"))
                print(f"    axe-core: {driver.execute_async_script(_AXE) or 'nothing'}")


if __name__ == "__main__":
    main()
