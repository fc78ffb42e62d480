"""Clusters that are not there, and what fits into those that are; Ray itself is not needed for it."""

from __future__ import annotations

import signal
import socket
import sys
from types import ModuleType, SimpleNamespace

import pytest

from synhead.config import ConfigError
from synhead.inference.batch.errors import ClusterError
from synhead.inference.batch.ray_cluster import RayOptions, connected, fitted, one_line

Node = dict[str, float]


def cluster(*nodes: Node) -> ModuleType:
    """Ray's module, with these resources."""
    module = ModuleType("ray")
    module.nodes = lambda: [  # type: ignore[attr-defined]
        *({"Alive": True, "Resources": {kind: float(count) for kind, count in node.items()}} for node in nodes),
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    return module


@pytest.mark.parametrize(
    ("nodes", "asked", "workers", "gpus"),
    [
        ([{"CPU": 4}], RayOptions(), 4, 0),
        ([{"CPU": 4}], RayOptions(cpus=2), 2, 0),
        ([{"CPU": 4}], RayOptions(workers=3), 3, 0),
        ([{"CPU": 8, "GPU": 2}, {"CPU": 2, "GPU": 4}], RayOptions(), 4, 1),
        ([{"CPU": 8, "GPU": 2}], RayOptions(gpus=0.5), 4, 0.5),
        ([{"CPU": 8, "GPU": 2}], RayOptions(gpus=0.0), 8, 0),
        ([{"CPU": 2}, {"CPU": 3}], RayOptions(cpus=2), 2, 0),
        ([{"CPU": 64}], RayOptions(), 10, 0),  # one a job
    ],
)
def test_room(nodes: list[Node], asked: RayOptions, workers: int, gpus: float) -> None:
    found = fitted(cluster(*nodes), asked, jobs=10)
    assert (found.workers, found.gpus) == (workers, gpus)


@pytest.mark.parametrize("asked", [RayOptions(cpus=3), RayOptions(gpus=1.0)])
def test_no_room(asked: RayOptions) -> None:
    with pytest.raises(ClusterError, match=r"no node has room.*2 and 0 at most.*--cpus-per-worker"):
        fitted(cluster({"CPU": 2}, {"CPU": 1}), asked, jobs=10)


@pytest.mark.parametrize("address", ["", "here", "ray://head:10001", "head", "head:x", "head:123456", ":6379"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigError, match=r"not understood; give HOST:PORT"):
        RayOptions(address=address)


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"cpus": 0}, {"gpus": -1.0}])
def test_numbers_that_are_none(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="or more"):
        RayOptions(**wrong)  # type: ignore[arg-type]


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", cluster())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        told = rf"no Ray cluster at {address}: nobody answers.*ray start --head"
        with pytest.raises(ClusterError, match=told), connected(RayOptions(address=address)):
            pass


def test_a_cluster_that_this_machine_is_not_part_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**options: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.\n\n  Please specify the one to connect to")

    module = cluster()
    module.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", module)
    told = r"no Ray cluster at auto: Could not find any running Ray instance; --address needs"
    with pytest.raises(ClusterError, match=told), connected(RayOptions(address="auto")):
        pass


def test_nothing_is_reported_and_nobody_else_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster of our own stays on this machine; a running one is its owner's matter."""
    given: list[dict[str, object]] = []
    module = cluster()
    module.init = lambda **options: given.append(options)  # type: ignore[attr-defined]
    module.shutdown = lambda: given.append({})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", module)
    environment: dict[str, str] = {}
    monkeypatch.setattr("synhead.inference.batch.ray_cluster.os", SimpleNamespace(environ=environment))
    with connected(RayOptions(workers=3, cpus=2)) as ray:
        assert ray is module
    options, end = given
    assert (options["address"], options["num_cpus"], options["include_dashboard"], end) == ("local", 6, False, {})
    assert environment["RAY_USAGE_STATS_ENABLED"] == "0"
    assert environment.pop("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") == "0"
    monkeypatch.setattr("synhead.inference.batch.ray_cluster._reach", lambda _: None)
    with connected(RayOptions(address="head:6379")):
        pass
    assert given[2]["address"] == "head:6379"
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in environment


def test_what_is_arranged_for_termination_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    module = cluster()
    module.init = lambda **_: signal.signal(signal.SIGTERM, signal.SIG_IGN)  # type: ignore[attr-defined]
    module.shutdown = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", module)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with connected(RayOptions()):
            assert signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGTERM, before)


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match="ray"), connected(RayOptions()):
        pass


def test_words_of_rays_errors() -> None:
    long = (
        "The actor died unexpectedly before finishing this task.\n\tclass_name: Worker\n\tpid: 5\n"
        "The actor is dead because its worker process has died. End of file. Some common causes include: (1) memory"
    )
    assert one_line(Exception(long)) == (
        "The actor died unexpectedly before finishing this task. "
        "The actor is dead because its worker process has died. End of file."
    )
    assert one_line(ValueError()) == "ValueError"
