"""A Ray cluster to work in: one of this machine alone, or one that is running already."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType

from synhead.config import ConfigError
from synhead.inference.batch.errors import ClusterError

CONNECT_S = 5.0
MAX_WORDS = 400
ADVICE = "Some common causes"
STORE_BYTES = 80 * 2**20
"""Of the object store of a cluster of our own: frames do not pass through it, the smallest will do."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to Ray's makers
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # Ray prints what workers and daemons say among our results
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray's name for "no other machines": it then listens on 127.0.0.1, as it does on macOS; else on all interfaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RayOptions:
    """``address``: of a running cluster, ``HOST:PORT`` or ``auto``; None: one of this machine alone, that ends with the
    run. ``workers``: None as many as the cluster has room for, one a job at most. ``cpus``, ``gpus``: of each; None: a
    GPU if the cluster has any.
    """

    address: str | None = None
    workers: int | None = None
    cpus: int = 1
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.address is not None and self.address != "auto" and _host_and_port(self.address) is None:
            raise ConfigError(f"address {self.address!r} is not understood; give HOST:PORT of the head node, or auto")
        if min(self.cpus, 1 if self.workers is None else self.workers) < 1 or (self.gpus or 0) < 0:
            raise ConfigError("workers and their CPUs must be 1 or more, their GPUs 0 or more")


@contextmanager
def connected(options: RayOptions) -> Iterator[ModuleType]:
    """Ray, with this process as part of the cluster. Raises ModuleNotFoundError without it, ClusterError."""
    os.environ.update(QUIET if options.address else {**QUIET, **LOOPBACK_ONLY})
    import ray  # noqa: PLC0415 - needs the extra, and its settings before it

    try:
        with _termination_kept():
            if options.address is None:
                _start(ray, options)
            else:
                _join(ray, options.address)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        where = "on this machine" if options.address is None else f"at {options.address}"
        raise ClusterError(f"no Ray cluster {where}: {one_line(error).rstrip('.')}; {_REMEDY}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _termination_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself and ends with other exit codes; what was arranged for it before holds afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


_REMEDY = (
    "--address needs a cluster that this machine belongs to: ray start --head on one machine, "
    "ray start --address=HOST:PORT on the others"
)


def _start(ray: ModuleType, options: RayOptions) -> None:
    ray.init(
        address="local",
        num_cpus=None if options.workers is None else options.workers * options.cpus,
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        log_to_driver=False,
        logging_level="CRITICAL",
        _node_ip_address="127.0.0.1",
    )


def _join(ray: ModuleType, address: str) -> None:
    _reach(address)
    ray.init(address=address, log_to_driver=False, logging_level="CRITICAL")


def _reach(address: str) -> None:
    """Ray itself waits for minutes where nobody listens. Raises ConnectionError."""
    place = _host_and_port(address)
    if place is None:
        return
    try:
        socket.create_connection(place, timeout=CONNECT_S).close()
    except OSError as error:
        raise ConnectionError(f"nobody answers there ({error})") from error


def _host_and_port(address: str) -> tuple[str, int] | None:
    host, _, port = address.rpartition(":")
    return (host, int(port)) if host and "/" not in host and port.isdecimal() and int(port) < 2**16 else None


def fitted(ray: ModuleType, options: RayOptions, jobs: int) -> RayOptions:
    """The number of workers and the GPUs of each, from what the nodes have. Raises ClusterError if none has room."""
    nodes: list[Mapping[str, float]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = float(any(node.get("GPU", 0) >= 1 for node in nodes)) if options.gpus is None else options.gpus
    room = sum(_room(node, options.cpus, gpus) for node in nodes)
    if room == 0:
        most = [max((node.get(kind, 0.0) for node in nodes), default=0.0) for kind in ("CPU", "GPU")]
        raise ClusterError(
            f"no node has room for a worker of {options.cpus} CPUs and {gpus:g} GPUs "
            f"(they have {most[0]:g} and {most[1]:g} at most); "
            "ask for less with --cpus-per-worker and --gpus-per-worker"
        )
    return replace(options, workers=min(options.workers or room, jobs), gpus=gpus)


def _room(node: Mapping[str, float], cpus: int, gpus: float) -> int:
    """Workers that one node has room for."""
    by_cpus = int(node.get("CPU", 0) // cpus)
    return by_cpus if gpus == 0 else min(by_cpus, int(node.get("GPU", 0) / gpus))


def one_line(error: BaseException) -> str:
    """The words of an error in one line, without Ray's advice of many."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = " ".join([*lines[:1], *(line for line in lines[1:] if line.startswith("The actor is dead"))])
    return told.split(ADVICE)[0].strip()[:MAX_WORDS] or type(error).__name__
