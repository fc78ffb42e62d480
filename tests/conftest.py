"""For all tests: signers made by tests stay out of the user's configuration."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest_plugins = ["tests.native"]  # the fixture ``kernels``


@pytest.fixture(scope="session", autouse=True)
def _own_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNHEAD_CONFIG", str(tmp_path_factory.mktemp("config")))
        patch.delenv("SYNHEAD_SIGN_CERT", raising=False)
        patch.delenv("SYNHEAD_SIGN_KEY", raising=False)
        yield
