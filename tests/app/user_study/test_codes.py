from __future__ import annotations

import math
import re

import pytest

from synhead.app.user_study import codes
from synhead.app.user_study.codes import ALPHABET, new_code, respelled


def test_codes_cannot_be_guessed_and_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {new_code() for _ in range(200)}
    assert len(found) == 200
    for code in found:
        assert re.fullmatch(r"([a-z2-9]{5}-){2}[a-z2-9]{5}", code)
        assert not set(code) & set("ilo01")
    letters = "".join(found).replace("-", "")
    assert set(letters) == set(ALPHABET), "every letter is used"
    assert 15 * math.log2(len(ALPHABET)) >= 64
    monkeypatch.setattr(codes.secrets, "choice", lambda letters: letters[0])
    assert new_code() == "aaaaa-aaaaa-aaaaa", "drawn by secrets"


@pytest.mark.parametrize("typed", ["k7fq2-mwdx9-hbtrs", "K7FQ2-MWDX9-HBTRS", "k7fq2mwdx9hbtrs", "K7fq2_mwdx9hbtrs-"])
def test_however_it_is_typed(typed: str) -> None:
    assert respelled(typed) == "k7fq2-mwdx9-hbtrs"


@pytest.mark.parametrize("typed", ["161e23", "someone", "k7fq2-mwdx9-hbtr", "k7fq2-mwdx9-hbtr0", "k7fq2-mwdx9-hbtrss"])
def test_other_codes_are_nobody_elses(typed: str) -> None:
    assert respelled(typed) is None
