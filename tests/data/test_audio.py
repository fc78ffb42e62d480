"""Sound keeps its place for ten minutes, copied and transcoded, in every container that has sound."""

from fractions import Fraction

import av
import numpy as np
import pytest
from tests.output_kinds import spec
from video_factory import NTSC

from synhead.data.outputs import open_output

SECONDS = 600
BEEPS = (2.0, 300.0, 597.0)
BEEP_S = 0.2


def write_beeps(path, codec, rate, seconds, beeps):
    """Silence with a tone at these moments; no pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        tone = (16000 * np.sin(2 * np.pi * 1000 * np.arange(int(BEEP_S * rate)) / rate)).astype(np.int16)
        for second in range(seconds):
            samples = np.zeros(rate, dtype=np.int16)
            for beep in beeps:
                if int(beep) == second:
                    begin = round((beep - second) * rate)
                    samples[begin : begin + tone.size] = tone
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, second * rate, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def heard(path):
    """Moments at which a tone begins."""
    moments, silent_since = [], 0.0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(np.float32)
            loud = np.nonzero(np.abs(samples).max(axis=0) > 0.1 * (32768 if frame.format.name.startswith("s") else 1))[
                0
            ]
            if loud.size:
                moment = float(frame.pts * frame.time_base) + int(loud[0]) / frame.sample_rate
                if moment - silent_since > 0.5:
                    moments.append(moment)
                silent_since = moment
    return moments


def pictures_end(path):
    with av.open(str(path)) as container:
        return max(float(p.pts * p.time_base) for p in container.demux(video=0) if p.pts is not None)


def check(tmp_path, name, source, codec, seconds, beeps):
    driver = write_beeps(tmp_path / source, codec, 48000 if codec == "aac" else 44100, seconds, beeps)
    count = int(seconds * NTSC)
    blank = np.zeros((16, 16, 3), dtype=np.uint8)
    with open_output(tmp_path / name, spec(rate=NTSC, size=(16, 16), audio_from=driver)) as output:
        for _ in range(count):
            output.write(blank)
        mode = output.audio
    assert pictures_end(tmp_path / name) == pytest.approx(float((count - 1) / NTSC), abs=0.001)
    assert heard(tmp_path / name) == pytest.approx(beeps, abs=float(1 / NTSC) / 10)
    return mode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "source", "codec", "mode"),
    [
        ("a.mp4", "d.mp4", "aac", "copied"),
        ("a.mp4", "d.mov", "pcm_s16le", "transcoded"),
        ("a.webm", "d.mov", "pcm_s16le", "transcoded"),
        ("a.mkv", "d.mov", "pcm_s16le", "copied"),
    ],
)
def test_ten_minutes_stay_within_a_tenth_of_a_frame(tmp_path, name, source, codec, mode):
    assert check(tmp_path, name, source, codec, SECONDS, list(BEEPS)) == mode


@pytest.mark.parametrize(
    ("name", "codec", "mode"),
    [("a.webm", "libopus", "copied"), ("a.webm", "aac", "transcoded"), ("a.mov", "libopus", "transcoded")],
)
def test_a_short_clip_too(tmp_path, name, codec, mode):
    source = "d.mkv" if codec == "libopus" else "d.mp4"
    driver = write_beeps(tmp_path / source, codec, 48000, 5, [1.0, 3.5])
    blank = np.zeros((16, 16, 3), dtype=np.uint8)
    with open_output(tmp_path / name, spec(rate=NTSC, size=(16, 16), audio_from=driver)) as output:
        for _ in range(100):
            output.write(blank)
        assert output.audio == mode
    assert heard(tmp_path / name) == pytest.approx([m for m in heard(driver) if m < 100 / NTSC], abs=0.003)
