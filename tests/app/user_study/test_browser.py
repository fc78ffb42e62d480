"""Three simulated participants in a real browser; skipped where Playwright or Chromium is missing."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from synhead.app.listening import listen
from synhead.app.user_study.material import Material
from synhead.app.user_study.pages import QUESTIONS, Design
from synhead.app.user_study.results import compute, write
from synhead.app.user_study.server import Study, web_application
from synhead.app.user_study.storage import Storage
from tests.app.user_study.conftest import EXAMPLES, SYSTEMS

sync_api = pytest.importorskip("playwright.sync_api")
uvicorn = pytest.importorskip("uvicorn")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")]

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

TASTES = {
    "clicker": {"appearance": (0, 1, 2), "motion": (0, 2, 1), "overall": (0, 1, 2)},
    "typist": {"appearance": (1, 0, 2), "motion": (0, 1, 2), "overall": (0, 1, 2)},
    "phone": {"appearance": (0, 1, 2), "motion": (2, 1, 0), "overall": (1, 0, 2)},
}


@pytest.fixture
def study(material: Material, tmp_path: Path) -> Study:
    storage = Storage(tmp_path / "study.sqlite")
    storage.create(material.systems, material.examples, Design())
    return Study(material, Design(), storage)


@pytest.fixture
def address(study: Study) -> Iterator[str]:
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(web_application(study), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server.should_exit = True
        thread.join()


@pytest.fixture
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


def open_page(browser, address: str, viewport, troubles: list[str], **context):
    page = browser.new_context(viewport=viewport, **context).new_page()
    page.on("console", lambda told: troubles.append(told.text) if told.type == "error" and not unknown(told) else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith((address, "data:")) else troubles.append(sent.url))
    page.goto(address)
    return page


def unknown(told) -> bool:
    """What Chromium says of the answer to a code that nobody has yet."""
    return "404" in told.text and told.location["url"].endswith("/api/join")


def wanted(study: Study, page, code: str, question: str) -> list[tuple[str, str]]:
    """(token, letter) of the videos of the open page, best first by this participant's taste."""
    shown = page.eval_on_selector_all("#videos figure", "all => all.map(f => [f.children[0].src, f.innerText.trim()])")
    by_system = {}
    for source, letter in shown:
        token = source.rsplit("/", 1)[1]
        by_system[study.storage.video(token)[0]] = (token, letter)
    return [by_system[SYSTEMS[i]] for i in TASTES[code][question]]


def begin(page, code: str) -> None:
    page.fill("#code", code)
    page.click("text=Start")
    page.wait_for_selector("#videos video, #begin:visible")
    if page.is_visible("#begin"):
        assert "not known" in page.inner_text("#message")
        page.click("#begin")
    page.wait_for_selector("#videos video")


def rank_by_click(study: Study, page, code: str) -> None:
    for question in QUESTIONS:
        for token, _ in wanted(study, page, code, question)[:-1]:  # the last place follows by itself
            page.click(f'fieldset[data-question={question}] button[data-token="{token}"]')


def rank_by_key(study: Study, page, code: str) -> None:
    for question in QUESTIONS:
        first, second, _ = wanted(study, page, code, question)
        page.keyboard.press(second[1])
        page.keyboard.press("Backspace")
        page.keyboard.press(first[1])
        page.keyboard.press(second[1].lower())


def wait_for_page(page, number: int) -> None:
    page.wait_for_selector(f"text=Page {number} of {len(EXAMPLES)}")


def wait_for_videos(page, condition: str) -> None:
    """Polled from outside: the page's own policy forbids evaluating text in it."""
    until = time.monotonic() + 30
    while not page.evaluate(f"[...document.querySelectorAll('video')].every(video => {condition})"):
        assert time.monotonic() < until, condition
        time.sleep(0.05)


def test_three_participants(study: Study, address: str, browser, tmp_path: Path) -> None:
    troubles: list[str] = []
    clicker = open_page(browser, address, DESKTOP, troubles)
    begin(clicker, "clicker")
    assert not clicker.is_enabled("#next")
    for number in range(1, len(EXAMPLES) + 1):
        wait_for_page(clicker, number)
        rank_by_click(study, clicker, "clicker")
        clicker.click("#next")
    clicker.wait_for_selector("text=Thank you")

    typist = open_page(browser, address, DESKTOP, troubles)
    begin(typist, "typist")
    for number in range(1, len(EXAMPLES) + 1):
        wait_for_page(typist, number)
        typist.evaluate("document.activeElement.blur()")
        rank_by_key(study, typist, "typist")
        typist.focus(".choice")
        typist.keyboard.press("Enter")
    typist.wait_for_selector("text=Thank you")

    phone = open_page(browser, address, PHONE, troubles, has_touch=True, is_mobile=True)
    begin(phone, "phone")
    rank_by_click(study, phone, "phone")
    phone.click("#next")
    wait_for_page(phone, 2)
    again = open_page(browser, address, PHONE, troubles, has_touch=True, is_mobile=True)
    begin(again, "phone")
    wait_for_page(again, 2)
    assert again.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
    rank_by_click(study, again, "phone")
    again.click("#next")
    again.wait_for_selector("text=Thank you")

    assert troubles == []
    found = compute(study.storage)
    assert (found.participants, found.pages) == (3, 3 * len(EXAMPLES))
    for question, standings in found.questions.items():
        places = np.array([[taste[question].index(i) + 1 for i in range(3)] for taste in TASTES.values()])
        assert [s.mean_rank.value for s in standings] == pytest.approx(list(places.mean(axis=0)))
    assert all(path.stat().st_size for path in write(found, tmp_path / "results"))


def test_videos_play_and_seek(address: str, browser) -> None:
    page = open_page(browser, address, DESKTOP, [])
    begin(page, "viewer")
    wait_for_videos(page, "video.readyState >= 3")
    page.evaluate("document.activeElement.blur()")
    wait_for_videos(page, "!video.paused")
    page.keyboard.press(" ")
    wait_for_videos(page, "video.paused")
    place = page.evaluate("""async () => {
        const video = document.querySelector('#videos video');
        video.currentTime = 0.5;
        await new Promise((done) => video.addEventListener('seeked', done, { once: true }));
        return video.currentTime;
    }""")
    assert place == pytest.approx(0.5, abs=0.05)


def test_an_unreachable_server_keeps_the_ranking(study: Study, address: str, browser) -> None:
    page = open_page(browser, address, DESKTOP, [])
    begin(page, "clicker")
    rank_by_click(study, page, "clicker")
    page.route("**/api/answer", lambda route: route.abort())
    page.click("#next")
    page.wait_for_selector("#message:not([hidden])")
    assert page.eval_on_selector_all(".choice[aria-pressed=true]", "all => all.length") == 9
    page.unroute("**/api/answer")
    page.click("#next")
    wait_for_page(page, 2)
    assert page.is_hidden("#message")
