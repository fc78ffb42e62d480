"""Batches for CUDA graphs: which sizes are recorded, and how smaller ones are filled up."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from synhead.inference.replay import Replayed, batch_to_run, fill_up

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.mark.parametrize(
    ("count", "known", "wanted"),
    [
        (8, (), 8),
        (8, (8,), 8),
        (5, (8,), 8),
        (4, (8,), 4),  # half of it would be idle
        (3, (8,), 4),
        (1, (8, 32), 1),
        (12, (8,), 12),
        (20, (8, 32), 32),
        (9, (8, 32), 16),
    ],
)
def test_a_recorded_size_is_taken_if_it_is_well_filled(count, known, wanted):
    assert batch_to_run(count, known) == wanted


def test_a_stream_of_all_sizes_records_few():
    known: set[int] = set()
    for count in (64, *range(1, 65)):
        known.add(batch_to_run(count, known))
    assert known == {1, 2, 4, 8, 16, 32, 64}


def test_filling_up_repeats_the_last():
    rows = torch.arange(6.0).reshape(3, 2)
    filled = fill_up(rows, 5)
    assert filled.shape == (5, 2)
    assert torch.equal(filled[:3], rows)
    assert torch.equal(filled[3:], rows[-1:].expand(2, 2))
    assert fill_up(rows, 3) is rows


def test_rows_are_read_anew_and_constants_kept(monkeypatch):
    """On a CPU, with a graph that runs the function: a buffer that its owner overwrites is no old picture."""
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)

    made: list[SimpleNamespace] = []

    def recording(_, tensors):
        if not made:
            inputs, outputs = tuple(tensor.clone() for tensor in tensors), (torch.empty_like(tensors[0]),)
            graph = SimpleNamespace(replay=lambda: outputs[0].copy_(inputs[0] + inputs[1]))
            made.append(SimpleNamespace(graph=graph, inputs=inputs, outputs=outputs, given=[None] * len(inputs)))
        assert tuple(tensor.shape for tensor in tensors) == tuple(tensor.shape for tensor in made[0].inputs)
        return made[0]

    monkeypatch.setattr(Replayed, "_recording", recording)
    replayed = Replayed(lambda rows, constant: (rows + constant,), batched=1)
    rows, constant = torch.zeros(3, 2), torch.ones(2)
    first = replayed(rows, constant)[0]
    rows += 5
    assert torch.equal(replayed(rows, constant)[0], torch.full((3, 2), 6.0))
    assert torch.equal(replayed(rows[:2], torch.full((2,), 10.0))[0], torch.full((2, 2), 15.0)), "filled up to three"
    assert torch.equal(first, torch.ones(3, 2)), "a result outlives the next replay"


@needs_gpu
def test_a_recording_computes_what_the_function_does():
    device = torch.device("cuda")
    replayed = Replayed(lambda rows, constant: (rows * 2 + constant,), batched=1)
    constant = torch.full((2,), 3.0, device=device)
    with torch.inference_mode():
        for count in (3, 2, 3, 1):
            rows = torch.randn(count, 2, device=device)
            assert torch.equal(replayed(rows, constant)[0], rows * 2 + constant)
        constant = torch.zeros(2, device=device)
        first, second = torch.randn(3, 2, device=device), torch.randn(3, 2, device=device)
        found = replayed(first, constant)[0], replayed(second, constant)[0]
        assert torch.equal(found[0], first * 2), "a result outlives the next replay"
        assert torch.equal(found[1], second * 2)
