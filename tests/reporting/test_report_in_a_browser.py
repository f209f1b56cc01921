"""Use a report in the system's browser."""

import os
from pathlib import Path

import numpy as np
import pytest

from metarun.system.atomic_write import write_json, write_text
from tests.reporting.test_report import example_task, report, write_run

__all__ = ["report"]  # the fixture

ACCURACY = np.array([[0.2, 0.2, 0.2], [0.5, 0.6, 0.7]])


@pytest.fixture
def open_reports(report, chromium, tmp_path, monkeypatch):
    """Write a report and open it; afterwards, check that no script failed and nothing was fetched."""
    from playwright.sync_api import sync_playwright

    monkeypatch.chdir(tmp_path)
    address = (tmp_path / "report.html").as_uri()
    errors, requests = [], []
    with sync_playwright() as playwright:
        sandbox = [] if os.geteuid() else ["--no-sandbox"]  # chromium has none for root
        browser = playwright.chromium.launch(executable_path=chromium, args=sandbox)

        def open_page(width=1280, scheme="light"):
            assert report()[0] == 0
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


@pytest.fixture
def reader(open_reports):
    """Open a report of three runs."""
    write_run("1", ACCURACY, [example_task()], accuracy=0.91)
    write_run("2", ACCURACY, algo="protonet", accuracy=0.953, norm="a long name of a norm " * 5)
    write_run("3", ACCURACY, algo="anil", accuracy=0.088, test_shot=5)
    return open_reports


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


@pytest.fixture
def many(open_reports):
    """Open a report of ten configurations in one setting, of which eight are drawn at first."""
    for i in range(10):
        name = f"method{i}"
        write_run(str(i), ACCURACY - i / 100, algo=name, accuracy=0.9 - i / 100, adapt_ms=10.0 + i, transductive=i > 5)
    write_text(Path("results/runs/3/config.yaml"), "seed: 0\nalgo:\n  inner_lr: 0.5\nforce: true\n")
    write_text(Path("results/runs/9/config.yaml"), "seed: 0\nalgo:\n  inner_lr: 0.25\n")
    write_json(Path("results/runs/9/environment.json"), {"host": "there", "versions": {"torch": "2.13.0"}})
    return open_reports


def drawn(page, title: str) -> set[str]:
    """The rows of the table of which a chart shows anything."""
    figure = page.locator(f'.setting figure:has(h4:text-is("{title}"))')
    return set(
        figure.locator("g[data-row]:visible, tr[data-row]:visible").evaluate_all(
            "all => all.map(each => each.dataset.row)"
        )
    )


ALL_CHARTS = (
    "Results",
    "Differences",
    "Adaptation by step",
    "Meta-validation",
    "Task by task",
    "Calibration over tasks",
)


@pytest.mark.slow
def test_charts_show_the_rows_that_pass_the_filter_at_most_eight(many):
    page = many()
    first = {str(i) for i in range(8)}
    assert {title: drawn(page, title) for title in ALL_CHARTS} == dict.fromkeys(ALL_CHARTS, first)
    page.get_by_role("searchbox").fill("method9")
    assert drawn(page, "Adaptation by step") == drawn(page, "Task by task") == drawn(page, "Results") == {"9"}
    assert page.locator(".legend li:visible").count() == 1
    assert not page.locator("#headline p[data-both]").is_visible()
    page.get_by_role("searchbox").fill("yes")  # transductive: the last four; two of them have no colour of their own
    assert drawn(page, "Adaptation by step") == {"6", "7", "8", "9"}
    colours = page.locator(".setting .legend li:visible").evaluate_all("all => all.map(each => each.className)")
    assert colours == ["c6", "c7", "c0", "c1"]
    labels = page.locator('figure:has(h4:text-is("Adaptation by step")) .label:visible')
    heights = sorted(float(y) for y in labels.evaluate_all("all => all.map(each => each.getAttribute('y'))"))
    assert min(np.diff(heights)) >= 13
    page.get_by_role("searchbox").fill("")
    assert drawn(page, "Results") == first


@pytest.mark.slow
def test_a_column_is_hidden_with_its_charts(many):
    page = many()
    page.get_by_text("Columns and charts").click()
    by_time = page.locator('figure:has(h4:text-is("Adaptation by time"))')
    assert by_time.is_visible()
    assert page.locator(".floor").first.is_visible()
    for name in ("ms/task", "floor", "Meta-validation"):
        page.get_by_label(name, exact=True).uncheck()
    assert not by_time.is_visible()
    assert not page.get_by_role("button", name="ms/task").is_visible()
    assert not page.locator(".floor").first.is_visible()
    assert page.locator('figure:has(h4:text-is("Meta-validation"))').count() == 1
    assert not page.locator('figure:has(h4:text-is("Meta-validation"))').is_visible()
    page.get_by_label("ms/task", exact=True).check()
    assert by_time.is_visible()


@pytest.mark.slow
def test_two_pinned_runs_are_side_by_side(many):
    page = many()
    page.get_by_label("Pin method3").first.check()
    assert "pin another run" in page.locator("#pins").text_content()
    page.get_by_label("Pin method9").first.check()
    side = page.locator("#side-by-side")
    rows = [row.split("\t") for row in side.locator("tr.differs").all_inner_texts()]
    assert ["≠ algo.inner_lr", "0.5", "0.25"] in rows
    assert ["≠ host", "here", "there"] in rows
    assert ["≠ torch", "–", "2.13.0"] in rows
    assert not side.get_by_text("seed", exact=True).first.is_visible()
    page.get_by_label("also show equal values").check()
    assert side.get_by_role("row", name="seed 0 0").is_visible()
    assert side.get_by_text("force").count() == 0
    titles = side.locator("h4").all_text_contents()
    assert titles[:2] == ["Adaptation by step: method3", "Adaptation by step: method9"]
    shown = side.locator("figure").first.locator(".entry:visible")
    assert shown.evaluate_all("all => all.map(each => each.dataset.row)") == ["3"]
    page.get_by_label("Pin method1").first.check()  # a third one replaces the first
    assert page.locator(".runs:not(.seeds) .pin:checked").count() == 2
    assert "method9" in page.locator("#pins").text_content()
