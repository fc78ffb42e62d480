"""What the OpenAPI description allows, and what it does not, made up by schemathesis."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from synhead.app.web.limits import Limits
from tests.app.web.conftest import Server, on_a_port

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")

EXAMPLES = int(os.environ.get("SYNHEAD_FUZZ_EXAMPLES", "15"))
"""For each route and mode; SYNHEAD_FUZZ_EXAMPLES=500 takes minutes."""
FORMS = ("POST /api/v1/jobs", "POST /api/v1/preview")


def check_route(operation, mode, base_url: str) -> int:
    """So many requests that fit the description (positive mode) or do not; returns how many were made."""
    # What is in a file cannot be described: random bytes fit the description of a picture, and a form without its
    # files does not, but both are refused by content.
    left_out = [checks.positive_data_acceptance, checks.negative_data_rejection] if operation.label in FORMS else []
    made = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case) -> None:
        nonlocal made
        made += 1
        case.call_and_validate(base_url=base_url, excluded_checks=left_out)

    with suppress(Unsatisfiable):  # where nothing is sent, nothing can be wrong
        check()
    return made


@pytest.mark.slow
def test_the_api_keeps_to_its_description(serve: Callable[..., Server]) -> None:
    server = serve(Limits(waiting=4, kept=4))
    with on_a_port(server.web) as base_url:
        schema = schemathesis.openapi.from_url(f"{base_url}/api/v1/openapi.json")
        made = {}
        for result in schema.get_all_operations():
            operation = result.ok()
            for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
                made[operation.label, mode] = check_route(operation, mode, base_url)
    assert {label for label, mode in made if made[label, mode] >= EXAMPLES} >= set(FORMS)
    assert min(made[label, schemathesis.GenerationMode.POSITIVE] for label, _ in made) > 0
    assert list(server.service.workspace.root.iterdir()) == []
