"""Addresses that servers tell, and names by which they may be asked for."""

from __future__ import annotations

import pytest

testclient = pytest.importorskip("fastapi.testclient")

from fastapi import FastAPI  # noqa: E402 - where it is installed

from synhead.app.hosts import LOCAL, KnownHosts, address, served_hosts  # noqa: E402 - as above


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert address("::1", 8765) == "http://[::1]:8765/"
    assert address("127.0.0.1", 80, "/live/") == "http://127.0.0.1:80/live/"


@pytest.mark.parametrize("host", ["[::1]:8765", "[::1]", "127.0.0.1:1", "LOCALHOST"])
@pytest.mark.parametrize("listens", LOCAL)
def test_this_machine_is_served_under_its_own_names(host: str, listens: str) -> None:
    assert status(served_hosts(listens), host) == 404  # nothing is there, but it was asked for


@pytest.mark.parametrize("host", ["evil.example", "[::2]:8765", "[", "::1", "", "127.0.0.1.evil.example"])
def test_other_names_are_refused(host: str) -> None:
    assert status(served_hosts("::1"), host) == 400
    assert status(served_hosts("0.0.0.0"), host) == 404


def status(hosts: tuple[str, ...], host: str) -> int:
    web = FastAPI(openapi_url=None)
    web.add_middleware(KnownHosts, hosts=hosts)
    return testclient.TestClient(web).get("/", headers={"Host": host}).status_code
