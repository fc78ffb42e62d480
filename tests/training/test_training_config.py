import pytest

from synhead.config import ConfigError, from_json, preset, to_json
from synhead.training.config import OptimizerConfig, RunConfig, override, recipe


def test_published_schedule_halves_at_the_published_iterations() -> None:
    config = recipe("published", preset("paper")).training
    rates = {i: config.optimizer.rate_at(i, last=config.iterations) for i in (1, 200_000, 200_001, 225_000, 225_001)}
    assert rates == {1: 8e-5, 200_000: 8e-5, 200_001: 4e-5, 225_000: 4e-5, 225_001: 2e-5}


def test_published_recipe_is_spec_d() -> None:
    config = recipe("published", preset("paper"))
    training = config.training
    assert (training.iterations, training.batch, training.optimizer.betas) == (250_000, 4, (0.9, 0.99))
    assert (training.ema.decay, training.ema.scope) == (0.995, "generator")
    assert training.execution.precision == "fp32"
    assert training.gradient_norm is None
    assert not config.losses.adversarial_active(5001)
    assert config.losses.adversarial_active(5002)


def test_warm_up_and_cosine() -> None:
    config = OptimizerConfig(rate=1.0, schedule="cosine", warmup=10, floor=0.1)
    rates = [config.rate_at(i, last=100) for i in range(1, 101)]
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert max(rates) == rates[9]
    assert rates[-1] == pytest.approx(0.1)


def test_a_warm_restart_rises_again() -> None:
    config = OptimizerConfig(rate=1.0, schedule="constant", restart_warmup=10)
    assert [config.rate_at(i, last=100, restarted_at=50) for i in (51, 55, 60, 70)] == [0.1, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("name", ["published", "synhead"])
@pytest.mark.parametrize("size", ["paper", "base", "lite", "tiny"])
def test_recipes_survive_json(name: str, size: str) -> None:
    config = recipe(name, preset(size))  # type: ignore[arg-type]
    assert from_json(RunConfig, to_json(config)) == config


def test_override() -> None:
    config = override(
        recipe("published", preset("tiny")),
        {"training.optimizer.rate": 1e-3, "training.gradient_norm": 1, "training.batch": None, "data.crop.shift": 0.5},
    )
    assert (config.training.optimizer.rate, config.training.gradient_norm) == (1e-3, 1.0)
    assert (config.training.batch, config.data.crop.shift) == (4, 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training.optimiser.rate": 1e-3}, "unknown setting 'training.optimiser.rate'"),
        ({"training.batch": 0}, "training.batch"),
        ({"training.execution.precision": "fp16"}, "fp16"),
        ({"data.size": 128}, "image_size"),
        ({"recipe": "synhead"}, "choose it by --recipe"),
    ],
)
def test_override_names_what_is_wrong(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(recipe("published", preset("tiny")), changes)
