"""A real browser whose camera is a face video; skipped where Playwright, Chromium or mediapipe is missing."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synhead.app.listening import listen
from synhead.app.live.limits import LiveLimits
from synhead.app.live.router import PAGE, LiveModel
from synhead.app.live.serving import live_application, server_of
from synhead.app.models import untrained
from synhead.inference.animator import Animator
from tests.app.live.conftest import jpeg

sync_api = pytest.importorskip("playwright.sync_api")
skimage_data = pytest.importorskip("skimage.data")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("real_faces"),
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine"),
]

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
QUIET = [f"--{name}" for name in ("no-sandbox", "no-first-run")]
QUIET += [f"--disable-{name}" for name in ("background-networking", "component-update", "sync")]


class SlowEngine:
    """The tiny model with a pause, so that a camera of 20 frames a second is too fast for it. ``drawn`` counts."""

    def __init__(self, engine, seconds: float) -> None:
        self._engine, self._seconds, self.drawn = engine, seconds, 0

    def __getattr__(self, name: str):
        return getattr(self._engine, name)

    def render(self, source, driving):
        time.sleep(self._seconds)
        self.drawn += 1
        return self._engine.render(source, driving)


def face_pictures(count: int) -> list[np.ndarray]:
    """The photograph's face, moved about in a picture of 320 x 240."""
    photograph = Image.fromarray(skimage_data.astronaut())
    turns = np.linspace(0, 2 * np.pi, count, endpoint=False)
    boxes = [(60 + 25 * np.sin(t), 12 * np.sin(2 * t), 380 + 25 * np.sin(t), 240 + 12 * np.sin(2 * t)) for t in turns]
    return [np.asarray(photograph.resize((320, 240), box=np.clip(box, 0, 512))) for box in boxes]


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One JPEG after the other: what Chromium takes for a camera."""
    path = tmp_path_factory.mktemp("camera") / "face.mjpeg"
    path.write_bytes(b"".join(jpeg(picture) for picture in face_pictures(40)))
    return path


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("portrait") / "astronaut.png"
    Image.fromarray(skimage_data.astronaut()).save(path)
    return path


@pytest.fixture
def engine() -> SlowEngine:
    return SlowEngine(Animator(untrained("tiny")).engine, 0.1)


@pytest.fixture
def address(engine: SlowEngine) -> Iterator[str]:
    animator = Animator(untrained("tiny"), engine=engine)
    limits = LiveLimits()
    server = server_of(live_application(lambda: animator, limits, LiveModel(note="Not trained.")), limits)
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture
def browser(camera: Path):
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    fake.append(f"--use-file-for-fake-video-capture={camera}")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=[*QUIET, *fake])
        yield opened
        opened.close()


def open_page(browser, address: str, viewport, troubles: list[str], **context):
    page = browser.new_context(viewport=viewport, **context).new_page()
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    here = (address, "data:", f"blob:{address}")
    page.on("request", lambda sent: None if sent.url.startswith(here) else troubles.append(sent.url))
    page.goto(address + PAGE)
    return page


def begin(page, portrait: Path) -> None:
    page.set_input_files("#portrait", portrait)
    assert not page.is_enabled("#start"), "not without consent"
    page.check("#consent")
    page.click("#start")
    page.wait_for_selector("#stage:not([hidden])")


def wait_until(page, condition: str) -> None:
    """Polled from outside: the page's own policy forbids evaluating text in it."""
    until = time.monotonic() + 30
    while not page.evaluate(condition):
        assert time.monotonic() < until, condition
        time.sleep(0.05)


def result(page) -> np.ndarray:
    pixels = page.evaluate("[...$('#result').getContext('2d').getImageData(0, 0, 64, 64).data]")
    return np.array(pixels).reshape(64, 64, 4)[..., :3]


def test_frames_come_back_with_latency_and_rate(address: str, browser, portrait: Path) -> None:
    troubles: list[str] = []
    page = open_page(browser, address, DESKTOP, troubles)
    begin(page, portrait)
    assert page.inner_text("#note") == "Not trained."
    wait_until(page, "state.live.shown > 3")
    first = result(page)
    wait_until(page, "state.live.shown > 25 && $('#latency').textContent.endsWith('ms')")
    assert page.inner_text("#state") == "Following your face"
    assert np.abs(result(page) - first).max() > 0
    figures = {name: page.inner_text(f"#{name}") for name in ("latency", "rate", "dropped")}
    assert 100 < int(figures["latency"].removesuffix(" ms")) < 3000, figures
    assert 0.5 < float(figures["rate"]) <= 10, figures
    dropped, camera = map(int, figures["dropped"].split(" of "))
    assert 0 < dropped < camera
    assert page.evaluate("state.live.dropped < state.live.shown / 3"), "the page sends what the server can use"
    page.click("#recentre")
    shown = page.evaluate("state.live.shown")
    wait_until(page, f"state.live.shown > {shown + 2}")
    page.click("#stop")
    assert page.is_visible("#setup")
    assert page.is_hidden("#message")
    assert troubles == []


def test_a_browser_that_is_slow_never_makes_a_queue(address: str, browser, portrait: Path, engine: SlowEngine) -> None:
    page = open_page(browser, address, DESKTOP, [])
    begin(page, portrait)
    wait_until(page, "state.live.shown > 3")
    before = engine.drawn
    page.evaluate("() => { const end = performance.now() + 2000; while (performance.now() < end); }")
    assert engine.drawn - before <= 3, "what was on its way, and no more"
    page.evaluate("() => { state.live.replies = []; }")
    wait_until(page, "state.live.replies.length > 5")
    assert page.evaluate("median(state.live.replies.slice(2).map((reply) => reply.latency))") < 1000
    assert page.evaluate("state.live.sent - state.live.settled") <= 2


def test_on_a_phone_with_the_keyboard_and_a_portrait_without_a_face(
    address: str, browser, portrait: Path, tmp_path: Path
) -> None:
    troubles: list[str] = []
    page = open_page(browser, address, PHONE, troubles)
    Image.new("RGB", (300, 300), "grey").save(tmp_path / "grey.png")
    begin_without = tmp_path / "grey.png"
    page.set_input_files("#portrait", begin_without)
    page.focus("#consent")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#message:not([hidden])")
    assert "No face was found in the portrait: choose another" in page.inner_text("#message")
    page.set_input_files("#portrait", portrait)
    page.focus("#start")
    page.keyboard.press("Enter")
    page.wait_for_selector("#stage:not([hidden])")
    wait_until(page, "state.live.shown > 2")
    assert page.evaluate("document.activeElement.id") == "recentre"
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.is_visible("#setup")
    assert troubles == []


def test_a_server_that_goes_away_is_told(address: str, browser, portrait: Path) -> None:
    page = open_page(browser, address, DESKTOP, [])
    begin(page, portrait)
    page.evaluate("state.live.socket.close()")
    page.wait_for_selector("#message:not([hidden])")
    assert "connection was lost" in page.inner_text("#message")
    assert page.is_enabled("#start")


def test_a_portrait_too_large_to_be_received_is_told(address: str, browser, portrait: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(portrait.read_bytes() + bytes(LiveLimits().message_bytes))
    page = open_page(browser, address, DESKTOP, [])
    page.set_input_files("#portrait", large)
    page.check("#consent")
    page.click("#start")
    page.wait_for_selector("#message:not([hidden])")
    assert "too large" in page.inner_text("#message")
    page.set_input_files("#portrait", portrait)
    assert page.is_hidden("#message")
    page.click("#start")
    page.wait_for_selector("#stage:not([hidden])")


CONTRASTS = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[0-9.]+/g).slice(0, 3).map((x) => x / 255);
    const [R, G, B] = [r, g, b].map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * R + 0.7152 * G + 0.0722 * B + 0.05;
  };
  const behind = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour !== "rgba(0, 0, 0, 0)") return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const all = [...document.querySelectorAll("h1, strong, p, label, output, button, dt, dd")];
  const texts = all.filter((e) => e.offsetParent);
  return [light(behind(document.body)), ...texts.map((e) => {
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
    return Math.max(a, b) / Math.min(a, b);
  })];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_as_light_or_dark_as_asked_for_and_readable(address: str, browser, portrait: Path, scheme: str) -> None:
    page = open_page(browser, address, DESKTOP, [], color_scheme=scheme)
    page.evaluate("say('Something is wrong.')")
    background, *contrasts = page.evaluate(CONTRASTS)
    assert (background > 0.9) is (scheme == "light")
    begin(page, portrait)
    contrasts += page.evaluate(CONTRASTS)[1:]
    assert len(contrasts) > 20
    assert min(contrasts) >= 4.5
