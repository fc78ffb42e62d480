from dataclasses import replace

import pytest
import torch
from torch import nn

from synhead.config import ConfigError, ModelConfig, ablate, from_json, preset, to_json
from synhead.geometry.tps import RandomWarp, draw
from synhead.losses.adversarial import adaptive_weight, generator_loss
from synhead.losses.config import LossConfig, LossWeights
from synhead.losses.features import TrunkConfig, random_trunk
from synhead.losses.objective import GeneratorObjective, LossReport
from synhead.losses.perceptual import PerceptualLoss
from synhead.losses.regions import FacePoints
from synhead.model.discriminator import Discriminator
from synhead.model.talking_head import TalkingHead
from synhead.types import TrainingPass

TRUNK = TrunkConfig(widths=(8, 8), depths=(2, 1))
PUBLISHED = {
    "pixel",
    "perceptual",
    "pixel_low",
    "perceptual_low",
    "motion_code",
    "motion_reconstruction",
    "appearance_code",
    "equivariance_value",
    "equivariance_jacobian",
    "keypoint_distance",
}
ADVERSARIAL = {"adversarial", "adversarial_weight"}
START = LossConfig().adversarial_start


class Setup:
    """A tiny model, its discriminator, and one batch."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype = torch.float64) -> None:
        torch.manual_seed(0)
        self.model = TalkingHead(config).to(dtype)
        self.critic = Discriminator(width=8).to(dtype)
        size = config.image_size
        self.source, self.driving = (2 * torch.rand(2, 2, 3, size, size, dtype=dtype) - 1).unbind()
        warp = draw(2, torch.Generator().manual_seed(0))
        self.warp = RandomWarp(affine=warp.affine.to(dtype), bend=warp.bend.to(dtype))
        self.dtype = dtype

    def run(self) -> TrainingPass:
        passed: TrainingPass = self.model(self.source, self.driving, self.warp.warp_frame(self.driving))
        return passed

    def objective(self, config: LossConfig) -> GeneratorObjective:
        return GeneratorObjective(config, PerceptualLoss(random_trunk(TRUNK))).to(self.dtype)

    def plain_report(
        self, objective: GeneratorObjective, *, critic: Discriminator | None = None, points: FacePoints | None = None
    ) -> LossReport:
        """The same total as one plain graph from the parameters to the loss, with adversarial terms if given a critic;
        the adaptive weight is found by back-propagating to the weight of the last layer first.
        """
        made, weights = self.run(), objective.config.weights
        image = made.animation.image
        fine, low = objective._reconstruction_terms(image, made.low_resolution, self.driving, points)
        terms = fine | low | objective._direct_terms(made, self.warp, points)
        if critic is not None and weights.adversarial:
            loss = generator_loss(critic(image))
            losses = (sum(fine.values(), torch.zeros_like(loss)), loss)
            last = self.model.decoder.head.weight
            pulls = [torch.autograd.grad(each, last, retain_graph=True)[0] for each in losses]
            factor = adaptive_weight(*pulls, ceiling=weights.adversarial)
            terms |= {"adversarial": factor * loss, "adversarial_weight": factor}
        if critic is not None and weights.feature_matching:
            terms["feature_matching"] = objective._feature_matching(critic, image, self.driving)
        total = torch.stack([term for name, term in terms.items() if name != "adversarial_weight"]).sum()
        return LossReport(total=total, terms={name: term.detach() for name, term in terms.items()})

    def gradients(self, report: LossReport) -> dict[str, torch.Tensor | None]:
        self.model.zero_grad()
        report.total.backward()
        return {name: p.grad.clone() if p.grad is not None else None for name, p in self.model.named_parameters()}


@pytest.fixture(scope="module")
def tiny() -> Setup:
    return Setup(preset("tiny"))


def value(report: LossReport) -> torch.Tensor:
    return torch.stack([term for name, term in report.terms.items() if name != "adversarial_weight"]).sum()


@pytest.mark.parametrize(
    ("config", "adversarial"),
    [
        (LossConfig(), False),
        (LossConfig(), True),
        (
            LossConfig(
                keypoint_distance="hinge",
                weights=LossWeights(pixel=2.0, perceptual=0.5, feature_matching=1.0, ms_ssim=0.3, laplacian=0.7),
            ),
            True,
        ),
        (LossConfig(weights=LossWeights(low_resolution=0.0, adversarial=0.0, feature_matching=2.0)), True),
    ],
    ids=["before-start", "published", "all-terms", "matching-only"],
)
@pytest.mark.parametrize("blend", [False, True])
def test_surrogate_has_value_and_gradients_of_the_plain_total(blend, config: LossConfig, adversarial):
    tiny = Setup(replace(preset("tiny"), blend=blend))
    objective = tiny.objective(config)
    fast = objective(tiny.run(), tiny.driving, warp=tiny.warp, iteration=START + adversarial, critic=tiny.critic)
    found = tiny.gradients(fast)
    plain = tiny.plain_report(objective, critic=tiny.critic if adversarial else None)
    expected = tiny.gradients(plain)
    torch.testing.assert_close(fast.total, plain.total)
    torch.testing.assert_close(fast.total.detach(), value(fast))
    assert fast.terms.keys() == plain.terms.keys()
    for name, term in plain.terms.items():
        torch.testing.assert_close(fast.terms[name], term, msg=name)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=lambda text, name=name: f"{name}: {text}")


def test_without_a_low_resolution_image_its_terms_are_missing(tiny: Setup):
    whole, passed = tiny.run(), tiny.run()
    passed = replace(passed, low_resolution=None)
    objective = tiny.objective(LossConfig())
    report, full = (objective(each, tiny.driving, warp=tiny.warp, iteration=1) for each in (passed, whole))
    assert full.terms.keys() - report.terms.keys() == {"pixel_low", "perceptual_low"}
    torch.testing.assert_close(report.total.detach(), value(report))
    report.total.backward()


def test_published_terms_and_their_start(tiny: Setup):
    objective, passed = tiny.objective(LossConfig()), tiny.run()
    before = objective(passed, tiny.driving, warp=tiny.warp, iteration=5001, critic=tiny.critic)
    after = objective(passed, tiny.driving, warp=tiny.warp, iteration=5002, critic=tiny.critic)
    assert before.terms.keys() == PUBLISHED
    assert after.terms.keys() == PUBLISHED | ADVERSARIAL
    assert not any(term.requires_grad for term in after.terms.values())
    assert 0 < after.terms["adversarial_weight"] <= 0.8


def test_critic_gets_no_gradient_but_updates_its_statistics_once(tiny: Setup):
    norm = next(module for module in tiny.critic.modules() if isinstance(module, nn.BatchNorm2d))
    assert norm.num_batches_tracked is not None
    seen = norm.num_batches_tracked.item()
    tiny.critic.zero_grad()  # other tests differentiate the plain graph, which reaches it
    report = tiny.objective(LossConfig())(
        tiny.run(), tiny.driving, warp=tiny.warp, iteration=START + 1, critic=tiny.critic
    )
    report.total.backward()
    assert norm.num_batches_tracked.item() == seen + 1
    assert all(parameter.grad is None for parameter in tiny.critic.parameters())


def test_every_parameter_receives_a_gradient(tiny: Setup):
    report = tiny.objective(LossConfig())(
        tiny.run(), tiny.driving, warp=tiny.warp, iteration=START + 1, critic=tiny.critic
    )
    assert not [name for name, gradient in tiny.gradients(report).items() if gradient is None]


@pytest.mark.parametrize(
    ("ablation", "missing"),
    [
        ("baseline", {"motion_code", "motion_reconstruction", "appearance_code"}),
        ("mmc", {"appearance_code"}),
        ("smc", {"appearance_code"}),
    ],
)
def test_ablations_leave_terms_out(ablation, missing: set[str]):
    setup = Setup(ablate(preset("tiny"), ablation), torch.float32)
    report = setup.objective(LossConfig())(setup.run(), setup.driving, warp=setup.warp, iteration=1)
    report.total.backward()
    assert report.terms.keys() == PUBLISHED - missing


def test_without_graph_only_values(tiny: Setup):
    objective = tiny.objective(LossConfig())
    with torch.no_grad():
        report = objective(tiny.run(), tiny.driving, warp=tiny.warp, iteration=START + 1, critic=tiny.critic)
    assert not report.total.requires_grad
    assert report.terms.keys() == PUBLISHED | ADVERSARIAL


def test_bfloat16_autocast_comes_close():
    setup = Setup(preset("tiny"), torch.float32)
    objective = setup.objective(LossConfig())
    arguments = {"warp": setup.warp, "iteration": START + 1, "critic": setup.critic}
    exact = objective(setup.run(), setup.driving, **arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = objective(setup.run(), setup.driving, **arguments)
    half.total.backward()
    assert half.total.dtype == torch.float32
    for name in ("pixel", "perceptual", "adversarial_weight", "equivariance_value"):
        assert half.terms[name].item() == pytest.approx(exact.terms[name].item(), rel=0.1), name


def test_no_perceptual_network(tiny: Setup):
    objective = GeneratorObjective(LossConfig(perceptual="none"), None)
    report = objective(tiny.run(), tiny.driving, warp=tiny.warp, iteration=1)
    assert report.terms.keys() == PUBLISHED - {"perceptual", "perceptual_low"}


def test_config_round_trip_and_checks():
    config = LossConfig(keypoint_distance="hinge", weights=LossWeights(laplacian=1.0))
    assert from_json(LossConfig, to_json(config)) == config
    with pytest.raises(ConfigError, match=r"weights\.pixel"):
        LossWeights(pixel=-1.0)
    with pytest.raises(ConfigError, match="adversarial_start"):
        replace(config, adversarial_start=-1)
    assert not LossConfig().adversarial_active(5001)
    assert LossConfig().adversarial_active(5002)
    assert not LossConfig(weights=LossWeights(adversarial=0.0)).adversarial_active(9000)


def test_terms_of_landmarks_have_the_gradients_of_the_plain_total(tiny: Setup):
    objective = tiny.objective(LossConfig(weights=LossWeights(landmarks=3.0, regions=0.5)))
    found = torch.rand(2, 2, 12, 2, generator=torch.Generator().manual_seed(0), dtype=tiny.dtype) - 0.5
    points = FacePoints(source=found[0], driving=found[1])
    fast = objective(tiny.run(), tiny.driving, warp=tiny.warp, iteration=1, points=points)
    gradients = tiny.gradients(fast)
    plain = tiny.plain_report(objective, points=points)
    expected = tiny.gradients(plain)
    assert fast.terms.keys() - PUBLISHED == {"landmarks", "regions"}
    torch.testing.assert_close(fast.total, plain.total)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, msg=lambda text, name=name: f"{name}: {text}")
    without = objective(tiny.run(), tiny.driving, warp=tiny.warp, iteration=1)
    assert without.terms.keys() == PUBLISHED
