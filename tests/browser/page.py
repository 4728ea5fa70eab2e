#!/usr/bin/python3
"""Looks at a page of `twtrace report --html` as a browser shows it.

    page.py FILE.html SCREENSHOT.png

Says one line per problem, and ends with 1 if there is any: a message of the console, a request for
anything but the file, a chart that cannot be seen or sticks out, a button or a hint that does not
work, or a page that is wider than its window. Needs Debian's python3-selenium and chromium-driver.
"""

import json
import pathlib
import sys

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

CHARTS = ["population", "rates", "ends", "fullness", "heat-connect", "lifetimes"]
WIDTHS = [1600, 1280, 400]
# Smaller than this nothing can be read from a chart.
LEAST = (200, 60)

BOXES = """
return arguments[0].map((id) => {
  const place = document.querySelector(`#${id}`);
  const area = document.querySelector(`#${id} .area`);
  const said = place && place.querySelector(".unavailable, .none");
  const box = area && area.getBoundingClientRect();
  return [id, box && [box.left, box.width, box.height], said && said.innerText];
});
"""
BUCKETS = "return JSON.parse(document.getElementById('data').textContent).buckets.length"
COLOR = "return getComputedStyle(document.body).backgroundColor"


def browser():
    options = webdriver.ChromeOptions()
    for argument in [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1280,1000",
    ]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    return webdriver.Chrome(options=options)


def requests(driver):
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            yield message["params"]["request"]["url"]


def sizes(driver, width):
    # A window cannot be as narrow as a telephone; its viewport can.
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wide = driver.execute_script("return document.documentElement.scrollWidth")
    if wide > width:
        yield f"at {width} px the page is {wide} px wide"
    for chart, box, said in driver.execute_script(BOXES, CHARTS):
        if box is None:
            # A page may say why there is nothing to see.
            if not said:
                yield f"there is no chart {chart}"
        elif box[1] < LEAST[0] or box[2] < LEAST[1]:
            yield f"at {width} px the chart {chart} has {box[1]:.0f} by {box[2]:.0f} px"
        elif box[0] < 0 or box[0] + box[1] > width:
            yield f"at {width} px the chart {chart} sticks out"


def theme(driver):
    before = driver.execute_script(COLOR)
    button = driver.find_element(By.ID, "theme")
    button.click()
    if driver.execute_script(COLOR) == before:
        yield "the button for light and dark changes no colour"
    button.click()
    if driver.execute_script(COLOR) != before:
        yield "the button for light and dark does not go back"


def show(driver, element):
    # Hints go when the page scrolls, which is told a frame later.
    driver.execute_async_script(
        "arguments[0].scrollIntoView({block: 'center'});"
        "const done = arguments[1];"
        "requestAnimationFrame(() => requestAnimationFrame(done));",
        element,
    )


def hint(driver):
    areas = driver.find_elements(By.CSS_SELECTOR, ".area.time")
    if not areas:
        return
    area = areas[0]
    show(driver, area)
    tip = driver.find_element(By.ID, "tip")
    ActionChains(driver).move_to_element(area).perform()
    if not tip.is_displayed() or not tip.text:
        yield "there is no hint at the pointer"
    if len(driver.find_elements(By.CSS_SELECTOR, ".area.time .cursor")) != len(areas):
        yield "the cursor is not in all charts over time"
    shown = tip.text
    area.send_keys(Keys.ARROW_LEFT)
    if tip.text == shown and driver.execute_script(BUCKETS) > 1:
        yield "the arrow keys do not move the cursor"


def bar_hint(driver):
    bars = driver.find_elements(By.CSS_SELECTOR, "#lifetimes [data-tip]")
    if not bars:
        return
    show(driver, bars[-1])
    ActionChains(driver).move_to_element(bars[-1]).perform()
    wanted = bars[-1].get_attribute("data-tip").replace("\u00a0", " ")
    if driver.find_element(By.ID, "tip").text != wanted:
        yield "there is no hint at a bar"


def problems(path, screenshot):
    driver = browser()
    try:
        driver.get(path.as_uri())
        for width in WIDTHS:
            yield from sizes(driver, width)
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        yield from theme(driver)
        yield from bar_hint(driver)
        yield from hint(driver)
        driver.save_screenshot(str(screenshot))
        for entry in driver.get_log("browser"):
            yield f"console: {entry['level']}: {entry['message']}"
        for url in requests(driver):
            if url != path.as_uri() and not url.startswith("data:"):
                yield f"it asks for {url}"
    finally:
        driver.quit()


def main():
    if len(sys.argv) != 3:
        print(__doc__.strip(), file=sys.stderr)
        return 1
    path = pathlib.Path(sys.argv[1]).resolve()
    if not path.is_file():
        print(f"{path}: no such file")
        return 1
    found = 0
    try:
        for problem in problems(path, sys.argv[2]):
            print(problem, flush=True)
            found += 1
    except WebDriverException as error:
        print(f"the browser failed: {(error.msg or str(error)).splitlines()[0]}")
        found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
