"""Who may work in a pool; workers themselves are tried in tests/app/test_batch_on_ray.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from synhead.config.version import version
from synhead.inference.batch.errors import ClusterError
from synhead.inference.batch.ray_pool import check_identity
from synhead.inference.batch.worker import Identity

GOOD = Identity(host="node-b", process=5, version=version(), made_by="abc", blind=())


def test_the_same_program_weights_and_files() -> None:
    check_identity(GOOD, "abc")
    assert str(GOOD) == "node-b, process 5"


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (replace(GOOD, version="0.0.1"), r"node-b has Synhead 0\.0\.1.*install the same"),
        (replace(GOOD, made_by="xyz"), r"weights on node-b \(xyz\) are not those of this machine \(abc\)"),
        (replace(GOOD, blind=(Path("/data/out"),)), r"node-b does not see .* in /data/out: .* file system that all"),
    ],
)
def test_others_are_refused_with_a_remedy(other: Identity, told: str) -> None:
    with pytest.raises(ClusterError, match=told):
        check_identity(other, "abc")
