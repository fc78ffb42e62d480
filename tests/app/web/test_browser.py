"""The page in a real browser, from upload to download; skipped where Playwright or Chromium is missing."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from synhead.app.web.limits import Limits
from synhead.app.web.work import Run
from synhead.data.image import write_image
from tests.app.web.conftest import Server, on_a_port
from tests.data.video_factory import write_clip

sync_api = pytest.importorskip("playwright.sync_api")
data = pytest.importorskip("skimage.data")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")]

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
FRAMES = 40
STEP_S = 0.04


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_image(folder / "astronaut.png", data.astronaut()[:420, 40:440])
    write_clip(folder / "clip.mp4", frames=FRAMES, size=(96, 96))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff and nothing more")
    return folder


@pytest.fixture
def slowly(run_tiny: Run) -> Run:
    """A model as slow as a larger one, so that there is something to see."""

    def run(task, progress, check):
        def told(done: int, total: int | None) -> None:
            time.sleep(STEP_S)
            progress(done, total)

        return run_tiny(task, told, check)

    return run


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def troubles() -> Iterator[list[str]]:
    """What went wrong in the page, and whom it asked but its own server."""
    found: list[str] = []
    yield found
    assert found == []


def open_page(browser, address: str, troubles: list[str], viewport=DESKTOP, **context):
    page = browser.new_context(viewport=viewport, **context).new_page()
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    own = (address, "data:", "blob:")
    page.on("request", lambda sent: None if sent.url.startswith(own) else troubles.append(sent.url))
    page.goto(f"{address}/")
    return page


def choose(page, files: Path) -> None:
    page.set_input_files("#portrait", files / "astronaut.png")
    page.wait_for_selector("#preview:not([hidden])")
    page.set_input_files("#driver", files / "clip.mp4")


def until(page, condition: str, seconds: float = 30) -> None:
    """Polled from outside: the page's own policy forbids evaluating text in it."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.05)


def fits(page, viewport) -> bool:
    return page.evaluate("document.scrollingElement.scrollWidth") <= viewport["width"]


def test_from_upload_to_download(
    serve: Callable[..., Server], slowly: Run, browser, files: Path, troubles: list[str], tmp_path: Path
) -> None:
    server = serve(run=slowly)
    with on_a_port(server.web) as address:
        page = open_page(browser, address, troubles)
        choose(page, files)
        assert "One face found" in page.inner_text("#portrait-told")
        until(page, "document.querySelector('#preview').naturalWidth > 100")
        until(page, "document.querySelector('#clip').readyState >= 2")
        page.click("#start")
        page.wait_for_function("() => /Frame \\d+ of 40/.test(document.querySelector('#now').textContent)")
        until(page, "document.querySelector('#bar').position > 0.3")
        assert page.inner_text("#spoken") == "25 % done"
        page.wait_for_selector("#done:not([hidden])")
        until(page, "document.querySelector('#player video').readyState >= 3")
        until(page, "document.querySelector('#player video').currentTime > 0.2")
        narrow = page.evaluate("document.querySelector('#player video').videoWidth")
        page.click("#beside")
        until(page, f"document.querySelector('#player video').videoWidth > {2 * narrow}")
        page.click("#beside")
        with page.expect_download() as download:
            page.click("#download")
        assert download.value.suggested_filename.startswith("synhead-")
        download.value.save_as(tmp_path / "got.mp4")
        (folder,) = server.service.workspace.root.iterdir()
        assert (tmp_path / "got.mp4").read_bytes() == (folder / "result.mp4").read_bytes()
        page.reload()
        page.wait_for_selector("#done:not([hidden])")  # the address remembers the job
        page.click("#remove")
        page.wait_for_selector("#form:not([hidden])")
        assert list(server.service.workspace.root.iterdir()) == []
        page.context.close()


def test_with_the_keyboard_alone(
    serve: Callable[..., Server], slowly: Run, browser, files: Path, troubles: list[str]
) -> None:
    server = serve(run=slowly)
    with on_a_port(server.web) as address:
        page = open_page(browser, address, troubles)
        page.wait_for_load_state("networkidle")

        def go_to(selector: str) -> None:
            for _ in range(30):
                page.keyboard.press("Tab")
                if page.evaluate(f"document.activeElement === document.querySelector('{selector}')"):
                    return
            raise AssertionError(f"{selector} cannot be reached")

        for selector, name in (("#portrait", "astronaut.png"), ("#driver", "clip.mp4")):
            go_to(selector)
            ring = page.evaluate(
                f"getComputedStyle(document.querySelector('{selector}').closest('.drop')).outlineWidth"
            )
            assert ring == "3px"
            with page.expect_file_chooser() as chooser:
                page.keyboard.press("Space")
            chooser.value.set_files(files / name)
        page.wait_for_selector("#preview:not([hidden])")
        go_to("#more summary")
        page.keyboard.press("Enter")
        go_to("#multiplier")
        page.keyboard.press("ArrowLeft")
        assert page.inner_text("output[for=multiplier]") == "0.9"
        go_to("#start")
        page.keyboard.press("Enter")
        page.wait_for_function("() => /Frame/.test(document.querySelector('#now').textContent)")
        go_to("#cancel")
        page.keyboard.press("Enter")
        page.wait_for_selector("#form:not([hidden])")
        assert "Cancelled" in page.inner_text("#spoken")
        assert list(server.service.workspace.root.iterdir()) == []
        assert page.evaluate("document.activeElement.id") == "start"
        page.keyboard.press("Enter")
        page.wait_for_selector("#done:not([hidden])")
        go_to("#beside")
        page.keyboard.press("Space")
        assert page.get_attribute("#beside", "aria-pressed") == "true"
        until(page, "document.querySelector('#player video').readyState >= 2")
        page.context.close()


def test_on_a_phone(serve: Callable[..., Server], browser, files: Path, troubles: list[str]) -> None:
    server = serve()
    with on_a_port(server.web) as address:
        page = open_page(browser, address, troubles, PHONE, has_touch=True, is_mobile=True)
        assert fits(page, PHONE)
        choose(page, files)
        page.tap("#more summary")
        assert fits(page, PHONE)
        small = page.eval_on_selector_all(
            "button, select, input:not([type=checkbox]):not([type=range]), .check",
            "all => all.filter(e => e.offsetParent && e.getBoundingClientRect().height < 44).map(e => e.outerHTML)",
        )
        assert small == []
        page.tap("#start")
        page.wait_for_selector("#done:not([hidden])")
        until(page, "document.querySelector('#player video').readyState >= 2")
        assert fits(page, PHONE)
        page.context.close()


def test_errors_are_told_where_they_are(serve: Callable[..., Server], browser, files: Path) -> None:
    server = serve(Limits(driving_bytes=500))
    with on_a_port(server.web) as address:
        page = open_page(browser, address, [])
        page.click("#start")
        assert "photo first" in page.inner_text("#problem")
        assert page.evaluate("document.activeElement.id") == "portrait"
        page.set_input_files("#portrait", files / "broken.jpg")
        page.wait_for_selector("#portrait-told.bad")
        assert "damaged" in page.inner_text("#portrait-told")
        page.set_input_files("#driver", files / "clip.mp4")
        assert "is the most" in page.inner_text("#driver-told.bad")
        page.set_input_files("#portrait", files / "astronaut.png")
        page.wait_for_selector("#preview:not([hidden])")
        page.set_input_files("#driver", files / "broken.jpg")
        page.click("#start")
        page.wait_for_selector("#problem:not([hidden])")
        assert "still picture" in page.inner_text("#problem")
        page.goto(f"{address}/#{'0' * 32}")
        page.reload()
        page.wait_for_selector("#problem:not([hidden])")
        assert "No job has this id" in page.inner_text("#problem")
        page.context.close()


def test_a_file_too_large_takes_the_place_of_the_one_before(
    serve: Callable[..., Server], browser, files: Path, troubles: list[str], tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(bytes(400_001))
    with on_a_port(serve(Limits(portrait_bytes=400_000, driving_bytes=400_000)).web) as address:
        page = open_page(browser, address, troubles)
        for which, asked in (("portrait", "photo first"), ("driver", "clip first")):
            choose(page, files)
            page.set_input_files(f"#{which}", tmp_path / "large")
            assert "is the most" in page.inner_text(f"#{which}-told.bad")
            page.click("#start")
            assert asked in page.inner_text("#problem")
            assert page.is_hidden("#preview" if which == "portrait" else "#clip")
        page.context.close()


def test_a_wrong_number_out_of_sight_is_shown(
    serve: Callable[..., Server], browser, files: Path, troubles: list[str]
) -> None:
    with on_a_port(serve().web) as address:
        page = open_page(browser, address, troubles)
        choose(page, files)
        page.click("#more summary")
        page.fill("#max_side", "10")
        page.click("#more summary")
        assert page.is_hidden("#max_side")
        page.click("#start")
        until(page, "document.activeElement.id === 'max_side'", 5)
        assert page.is_visible("#max_side")
        page.fill("#max_side", "640")
        page.click("#start")
        page.wait_for_selector("#done:not([hidden])")
        page.context.close()


def test_a_job_is_not_lost_with_the_connection(serve: Callable[..., Server], slowly: Run, browser, files: Path) -> None:
    with on_a_port(serve(run=slowly).web) as address:
        page = open_page(browser, address, [])
        choose(page, files)
        page.click("#start")
        page.wait_for_function("() => /Frame/.test(document.querySelector('#now').textContent)")
        for shown, button in (("#running", "#cancel"), ("#done", "#remove")):
            page.wait_for_selector(f"{shown}:not([hidden])")
            page.context.set_offline(True)
            page.click(button)
            page.wait_for_selector("#problem:not([hidden])")
            assert "Reload this page" in page.inner_text("#problem")
            page.context.set_offline(False)
            page.reload()
            page.wait_for_selector("#done:not([hidden])")
        page.click("#remove")
        page.wait_for_selector("#form:not([hidden])")
        assert page.url == f"{address}/"
        page.context.close()


def test_the_password_is_asked_for_once(serve: Callable[..., Server], browser, files: Path) -> None:
    server = serve(password="open sesame")
    with on_a_port(server.web) as address:
        page = open_page(browser, address, [])
        page.wait_for_url("**/login")
        page.fill("#password", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=the password is wrong")
        page.fill("#password", "open sesame")
        page.keyboard.press("Enter")
        page.wait_for_selector("#form")
        choose(page, files)
        page.click("#start")
        page.wait_for_selector("#done:not([hidden])")
        page.context.clear_cookies()  # as when the session's time is over
        page.reload()
        page.wait_for_url("**/login#*")
        page.fill("#password", "open sesame")
        page.keyboard.press("Enter")
        page.wait_for_selector("#done:not([hidden])")  # the same job
        page.context.clear_cookies()
        page.click("#remove")
        page.wait_for_url("**/login#*")
        page.fill("#password", "open sesame")
        page.keyboard.press("Enter")
        page.wait_for_selector("#done:not([hidden])")
        page.click("#sign-out")
        page.wait_for_url("**/login")
        page.goto(f"{address}/")
        page.wait_for_url("**/login")
        page.context.close()
