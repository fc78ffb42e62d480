import torch

from synhead.training.randomness import exposures_for, generator_for, warps_for

CPU = torch.device("cpu")


def test_streams_and_iterations_are_independent_and_repeatable() -> None:
    def first(seed: int, stream: str, iteration: int) -> float:
        return float(torch.rand((), generator=generator_for(seed, stream, iteration)))  # type: ignore[arg-type]

    assert first(0, "warp", 1) == first(0, "warp", 1)
    assert len({first(0, "warp", 1), first(0, "warp", 2), first(0, "codes", 1), first(1, "warp", 1)}) == 4


def test_warps_do_not_depend_on_the_split() -> None:
    whole = warps_for(3, 7, slice(0, 4), 4, CPU)
    parts = [warps_for(3, 7, slice(start, start + 2), 4, CPU) for start in (0, 2)]
    assert torch.equal(whole.affine, torch.cat([part.affine for part in parts]))
    assert torch.equal(whole.bend, torch.cat([part.bend for part in parts]))


def test_exposures_do_not_depend_on_the_split_and_keep_their_spread() -> None:
    whole = exposures_for(3, 7, slice(0, 4000), 4000, 0.2)
    parts = [exposures_for(3, 7, slice(start, start + 2000), 4000, 0.2) for start in (0, 2000)]
    assert torch.equal(whole, torch.cat(parts))
    assert abs(float(whole[:, 0].log().std()) - 0.2) < 0.02
    assert abs(float(whole[:, 1].std()) - 0.2) < 0.02
    assert abs(float(whole[:, 0].log().mean())) < 0.02
    assert not torch.equal(whole, exposures_for(3, 8, slice(0, 4000), 4000, 0.2))
