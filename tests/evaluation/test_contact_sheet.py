from __future__ import annotations

import pytest

from synhead.evaluation.contact_sheet import contact_sheet, write_contact_sheet


def test_size_and_colours(make_trial, tmp_path):
    trials = [make_trial("a", 1), make_trial("b", 2)]
    sheet = contact_sheet(trials, {"same": {one.name: one.driving for one in trials}}, tile=32, examples=2)
    assert sheet.size == (5 * 34, 14 + 2 * 46)
    assert sheet.getpixel((5, 20)) == tuple(trials[0].source[6, 5])
    write_contact_sheet(sheet, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").is_file()
    with pytest.raises(ValueError, match="no clip to show"):
        contact_sheet([], {})
