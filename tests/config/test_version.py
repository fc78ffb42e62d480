"""Where the package is not installed there is a version all the same."""

from importlib import metadata

import pytest

from synhead.config.version import version


def test_the_installed_version_or_a_word_for_the_source_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert version() == metadata.version("synhead")

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert version() == "0+source"
