"""Signers and markers for the tests of marking."""

from __future__ import annotations

from pathlib import Path

import pytest

from synhead.provenance.credentials import Credentials, local_test_credentials
from synhead.provenance.marker import Marker
from synhead.provenance.statement import Statement

SAID = Statement(model="tiny", model_sha256="ab" * 32)


@pytest.fixture
def config(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty configuration folder."""
    folder = tmp_path_factory.mktemp("config") / "synhead"
    monkeypatch.setenv("SYNHEAD_CONFIG", str(folder))
    return folder


@pytest.fixture(scope="session")
def signer() -> Credentials:
    return local_test_credentials()


@pytest.fixture(params=["signed", "hash"])
def marker(request: pytest.FixtureRequest, signer: Credentials) -> Marker:
    """With the extra ``provenance``, and without."""
    return Marker(SAID, signer if request.param == "signed" else None)
