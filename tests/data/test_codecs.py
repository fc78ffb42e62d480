import av
import numpy as np
import pytest
from tests.output_kinds import pictures, write

from synhead.data import codecs
from synhead.data.codecs import CODECS, CODECS_OF, choose_encoding, has_encoder
from synhead.data.errors import MediaError
from synhead.data.video import read_frames

DECODERS = {"h264": {"h264"}, "h265": {"hevc"}, "av1": {"libdav1d", "av1"}, "vp9": {"vp9", "libvpx-vp9"}}
PAIRS = [(suffix, codec) for suffix, allowed in CODECS_OF.items() for codec in allowed]


@pytest.mark.parametrize(("suffix", "codec"), PAIRS)
def test_each_codec_in_each_container(tmp_path, suffix, codec):
    if not any(map(has_encoder, CODECS[codec].encoders)):
        pytest.skip(f"this PyAV has no encoder for {codec}")
    path = write(tmp_path / f"a{suffix}", codec=codec)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert context.name in DECODERS[codec]
        assert (context.pix_fmt, context.colorspace) == ("yuv420p", 1)
        if codec == "h265" and suffix != ".mkv":
            assert context.codec_tag == "hvc1"
    frames = [frame.image.astype(int) for frame in read_frames(path)]
    assert len(frames) == 6
    assert np.mean([np.abs(a - b).mean() for a, b in zip(frames, pictures(6), strict=True)]) < 8


@pytest.mark.parametrize("codec", ["h264", "h265", "av1", "vp9"])
def test_quality_is_obeyed(tmp_path, codec):
    sizes = [write(tmp_path / f"{crf}.mkv", codec=codec, crf=crf).stat().st_size for crf in (5, 50)]
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize(
    ("suffix", "codec", "crf", "remedy"),
    [
        (".webm", "h264", None, "choose vp9 or av1"),
        (".mov", "av1", None, "choose h264 or h265"),
        (".mp4", "h264", 52, "0 .* to 51"),
        (".mp4", "av1", 64, "to 63"),
        (".mp4", "h265", -1, "out of range"),
    ],
)
def test_wrong_choices_name_the_right_ones(suffix, codec, crf, remedy):
    with pytest.raises(MediaError, match=remedy):
        choose_encoding(suffix, codec, crf)


def test_a_missing_encoder_names_those_that_are_there(monkeypatch):
    monkeypatch.setattr(codecs, "has_encoder", lambda name: name == "libx264")
    with pytest.raises(MediaError, match=r"no encoder for h265 .*choose h264"):
        choose_encoding(".mp4", "h265", None)


def test_the_next_encoder_is_taken(monkeypatch):
    monkeypatch.setattr(codecs, "has_encoder", lambda name: name == "libaom-av1")
    encoding = choose_encoding(".mp4", "av1", None)
    assert encoding.encoder == "libaom-av1"
    assert "preset" not in encoding.options
