"""Use a report in the system's browser."""

import os

import numpy as np
import pytest

from tests.reporting.test_report import example_task, report, write_run

__all__ = ["report"]  # the fixture

ACCURACY = np.array([[0.2, 0.2, 0.2], [0.5, 0.6, 0.7]])


@pytest.fixture
def reader(report, chromium, tmp_path):
    """Open a report of three runs; afterwards, check that no script failed and nothing was fetched."""
    from playwright.sync_api import sync_playwright

    write_run("1", ACCURACY, [example_task()], accuracy=0.91)
    write_run("2", ACCURACY, algo="protonet", accuracy=0.953, norm="a long name of a norm " * 5)
    write_run("3", ACCURACY, algo="anil", accuracy=0.088, test_shot=5)
    assert report()[0] == 0
    address = (tmp_path / "report.html").as_uri()
    errors, requests = [], []
    with sync_playwright() as playwright:
        sandbox = [] if os.geteuid() else ["--no-sandbox"]  # chromium has none for root
        browser = playwright.chromium.launch(executable_path=chromium, args=sandbox)

        def open_page(width=1280, scheme="light"):
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda message: errors.append(message.text))
            page.on("request", lambda request: requests.append(request.url))
            page.goto(address)
            return page

        yield open_page
        browser.close()
    assert errors == []
    assert {url for url in requests if not url.startswith("data:")} == {address}


def methods(page) -> list[str]:
    return page.locator("table.runs tbody tr:visible td:first-child").all_text_contents()


@pytest.mark.slow
def test_sorting_filtering_and_opening_runs(reader):
    page = reader()
    assert methods(page) == ["protonet", "maml", "anil"]
    page.get_by_role("button", name="accuracy %").click()
    assert methods(page) == ["protonet", "maml", "anil"]
    page.get_by_role("button", name="accuracy %").click()
    assert methods(page) == ["anil", "maml", "protonet"]  # by number: 8.80 is less than 91.00
    page.get_by_role("button", name="method").click()
    assert methods(page) == ["anil", "maml", "protonet"]
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"

    page.get_by_role("searchbox").fill("5w1s MAML")
    assert methods(page) == ["maml"]
    assert page.locator("#count").text_content() == "1 of 3"
    assert page.locator(".run:visible").count() == 1

    page.get_by_role("link", name="00000001").click()
    assert page.locator(".run[open] pre").first.is_visible()
    page.locator(".setting summary").first.click()
    assert not page.locator(".setting").first.locator("svg").first.is_visible()

    paper = "getComputedStyle(document.body).backgroundColor"
    for width, scheme in ((390, "dark"), (320, "light")):
        narrow = reader(width, scheme)
        assert narrow.evaluate("document.documentElement.scrollWidth") == width, "the page scrolls sideways"
        assert (narrow.evaluate(paper) == page.evaluate(paper)) == (scheme == "light")
