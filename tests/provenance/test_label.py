"""The label is small, in its corner, and legible on any picture."""

from __future__ import annotations

import numpy as np
import pytest

from synhead.provenance import label
from synhead.provenance.errors import ProvenanceError
from synhead.provenance.label import Label


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("size", [(128, 128), (256, 256), (1080, 1920), (768, 256)])
def test_legible_on_black_and_on_white(level: int, size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), level, dtype=np.uint8)
    labelled = Label("AI-generated", size).apply(image)
    changed = np.argwhere((labelled != image).any(axis=2))
    top, left = changed.min(axis=0)
    height, width = changed.max(axis=0) - changed.min(axis=0) + 1
    plate = labelled[top:, left : left + width].astype(int)
    assert top > size[1] * 0.8
    assert left <= size[0] * 0.05 + 2
    assert width * height < 0.08 * size[0] * size[1]
    assert plate.max() - np.median(plate[:height]) > 120
    assert (image == level).all()


def test_long_texts_shrink_and_then_fail() -> None:
    assert Label("Made with a machine", (256, 256)).apply(np.zeros((256, 256, 3), dtype=np.uint8)).any()
    with pytest.raises(ProvenanceError, match="shorten it"):
        Label("word " * 60, (256, 256))


def test_no_text_is_an_error() -> None:
    with pytest.raises(ProvenanceError, match="no text"):
        Label("  ", (256, 256))
    with pytest.raises(ProvenanceError, match="words"):
        Label("\u200b", (256, 256))


@pytest.mark.parametrize("text", ["生成AI", "made by 🙂"])
def test_letters_that_no_font_has_are_named(text: str) -> None:
    missing = next(letter for letter in text if not letter.isascii())
    with pytest.raises(ProvenanceError, match="letters that the fonts here lack: ") as refused:
        Label(text, (256, 256))
    assert missing in str(refused.value)


@pytest.mark.parametrize("text", ["Von KI erzeugt: Größe", "généré par IA", "ge\u0301ne\u0301re\u0301", "Создано ИИ"])
def test_letters_beyond_ascii_are_drawn_with_another_font_where_there_is_one(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    grey = np.full((256, 256, 3), 128, dtype=np.uint8)
    assert not np.array_equal(Label(text, (256, 256)).apply(grey), grey)
    monkeypatch.setattr(label, "find_spec", lambda _: None)
    with pytest.raises(ProvenanceError, match="lack"):
        Label(text, (256, 256))


def test_an_old_label_looks_as_before() -> None:
    """What Pillow's own font has is drawn with it."""
    assert label._drawable("AI-generated") == ("AI-generated", None)
