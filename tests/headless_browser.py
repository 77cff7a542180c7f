"""A browser without a window, for tests of pages: Debian's chromium and chromium-driver."""

import os
import shutil

import pytest

# What is drawn after a change is drawn in the next frame: a script that waits for it.
_DRAWN = (
    "const done = arguments[0]; ready.then(() => { draw();"
    " drawing.then(() => requestAnimationFrame(() => done())) })"
)


class Browser:
    """One page at a time, opened from a file."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, width=1366, height=900):
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        self.driver.get_log("browser")  # of the page before
        self.driver.get(path.resolve().as_uri())
        self.wait()

    def wait(self):
        self.driver.execute_async_script(_DRAWN)

    def ask(self, expression, *arguments):
        """What an expression gives in the page."""
        return self.driver.execute_script(f"return {expression}", *arguments)

    def change(self, identity, value):
        """Give a control a value as a user's hand would, and wait until that is drawn."""
        self.set(identity, value)
        self.wait()

    def set(self, identity, value):
        """Give a control a value; what follows from it is drawn in the next frame."""
        self.driver.execute_script(
            """const control = document.getElementById(arguments[0]);
            control.value = arguments[1];
            control.dispatchEvent(new Event("input", {bubbles: true}));
            control.dispatchEvent(new Event("change", {bubbles: true}));""",
            identity,
            value,
        )

    def click(self, selector):
        self.driver.execute_script("document.querySelector(arguments[0]).click()", selector)
        self.wait()

    def column(self, figure, head, source, column):
        """What a figure holds, out of Bokeh's ColumnDataSource."""
        return self.driver.execute_async_script(
            """const [kind, head, source, column, done] = arguments;
            figure(kind, head).then((doc) =>
              done(Array.from(doc.get_model_by_name(source).data[column], (one) =>
                one?.length === undefined || typeof one === "string" ? one : Array.from(one))));""",
            figure,
            head,
            source,
            column,
        )

    def property(self, figure, head, model, name):
        """A property of a model of a figure."""
        return self.driver.execute_async_script(
            """const [kind, head, model, name, done] = arguments;
            figure(kind, head).then((doc) => done(doc.get_model_by_name(model)[name]));""",
            figure,
            head,
            model,
            name,
        )

    def hover_over_row(self, head, row):
        """Point at a box among the length scales; what is shown then, or None."""
        from selenium.webdriver import ActionChains

        x, y = self.driver.execute_async_script(
            """const [head, row, done] = arguments;
            figure("reach", head).then((doc) => {
              const plot = doc.roots()[0], {left, right} = doc.get_model_by_name("boxes").data;
              const place = document.getElementById(`reach-${head}`);
              place.scrollIntoView({block: "center"});
              const box = place.getBoundingClientRect();
              const part = (range, value) => (value - range.start) / (range.end - range.start);
              const across = part(plot.x_range, left[row] + 0.3 * (right[row] - left[row]));
              const up = part(plot.y_range, -row);
              done([box.right - 24 - plot.inner_width * (1 - across),
                    box.bottom - (box.height - 30 - plot.inner_height) - plot.inner_height * up]);
            });""",
            head,
            row,
        )
        actions = ActionChains(self.driver)
        actions.w3c_actions.pointer_action.move_to_location(int(x), int(y))
        actions.perform()
        return self.driver.execute_async_script(
            """const done = arguments[0];
            const all = (root) => [...root.children, ...(root.shadowRoot?.children ?? [])]
              .flatMap((one) => [one, ...all(one)]);
            const told = (tip) => tip &&
              {text: tip.textContent, markup: tip.querySelectorAll("img, script, b").length};
            const isTip = (one) => /tooltip-content/.test(one.className);
            const tell = () => done(told(all(document.body).find(isTip)));
            requestAnimationFrame(() => requestAnimationFrame(tell));
            """
        )

    def complaints(self):
        """What the console shows above mere information."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] not in ("INFO", "DEBUG")
        ]


@pytest.fixture(scope="session")
def browser():
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        how = "apt-get install chromium chromium-driver"
        must_be_there = "CI" in os.environ and "AMICI_XR_WITHOUT_CHROMIUM" not in os.environ
        (pytest.fail if must_be_there else pytest.skip)(f"there is no Chromium here: {how}")
    webdriver = pytest.importorskip("selenium.webdriver")  # the environment for AMICI has none
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as started:
        started.set_script_timeout(60)
        yield Browser(started)
