from __future__ import annotations

import colorsys

import numpy as np
import pytest

from synhead.evaluation.figures.colour import (
    feature_colours,
    flow_colours,
    grey,
    grey_legend,
    long_px,
    rms_length,
    round_limit,
    wheel_legend,
    without_pattern,
)


def flow(x, y, size=4):
    return np.stack([np.full((size, size), float(x)), np.full((size, size), float(y))])


def hue_and_saturation(picture):
    hue, saturation, _ = colorsys.rgb_to_hsv(*(picture[0, 0] / 255))
    return hue * 360, saturation


@pytest.mark.parametrize(("x", "y", "hue"), [(1, 0, 0), (0, 1, 90), (-1, 0, 180), (0, -1, 270)])
def test_hue_is_the_direction_clockwise_from_the_right(x, y, hue):
    found, saturation = hue_and_saturation(flow_colours(flow(2 * x, 2 * y), 2.0))
    assert found == pytest.approx(hue, abs=1)
    assert saturation == pytest.approx(1)


def test_saturation_is_the_length_up_to_the_limit():
    assert (flow_colours(flow(0, 0), 2.0) == 255).all()
    saturation = [hue_and_saturation(flow_colours(flow(length, 0), 2.0))[1] for length in (0.5, 1, 2, 4)]
    assert saturation[0] < saturation[1] < saturation[2] == saturation[3] == 1


def test_limits_are_round_and_ignore_a_bad_corner():
    flows = flow(3, 4, size=64)
    flows[:, 0, 0] = 1000
    assert long_px([flows]) == pytest.approx(5)
    assert [round_limit(value) for value in (0.0, 0.012, 1.0, 1.2, 6.1, 9.0, 33.0)] == [1e-3, 0.015, 1, 1.5, 8, 10, 40]


def test_equal_features_have_equal_colours_across_pictures():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(16, 8, 8)).astype(np.float32)
    pictures = feature_colours([first, first[:, ::-1], first * 0.1])
    np.testing.assert_array_equal(pictures[0][::-1], pictures[1])
    assert pictures[2].std() < 0.5 * pictures[0].std()
    np.testing.assert_array_equal(pictures[0], feature_colours([first, first[:, ::-1], first * 0.1])[0])


def test_rms_is_of_lengths_not_of_components():
    assert rms_length(flow(3, 4)) == pytest.approx(5)
    mixed = np.stack([np.array([[0.0, 2.0]]), np.array([[0.0, 0.0]])])
    assert rms_length(mixed) == pytest.approx(2**0.5)


def test_what_all_tokens_share_is_taken_away_and_what_differs_stays():
    rng = np.random.default_rng(0)
    pattern, tokens = rng.normal(size=(3, 4, 4)), rng.normal(size=(3, 8, 8))
    tokens -= tokens.mean(axis=(1, 2), keepdims=True)
    content = tokens.repeat(4, axis=1).repeat(4, axis=2)
    plain, share = without_pattern(np.tile(pattern, (1, 8, 8)) + content, 8)
    np.testing.assert_allclose(plain, content, atol=1e-9)
    spread = pattern - pattern.mean(axis=(1, 2), keepdims=True)
    assert share == pytest.approx(np.square(spread).mean() / (np.square(spread).mean() + np.square(tokens).mean()))
    assert without_pattern(tokens, 8)[1] == pytest.approx(0)  # one place a token: no pattern


def test_colours_separate_what_differs_most():
    feature = np.zeros((5, 4, 4), np.float32)
    feature[3, :, 2:] = 7
    (picture,) = feature_colours([feature])
    assert abs(int(picture[0, 0, 0]) - int(picture[0, 3, 0])) == 255
    assert (feature_colours([np.zeros((5, 4, 4), np.float32)])[0] == feature_colours([np.ones((5, 4, 4))])[0]).all()
    assert feature_colours([np.random.default_rng(0).normal(size=(2, 4, 4))])[0].shape == (4, 4, 3)


def test_grey_and_legends():
    assert grey(np.array([[0.0, 0.5, 1.0, 2.0]]))[0, :, 0].tolist() == [0, 128, 255, 255]
    for legend in (grey_legend("title", "0", "1"), wheel_legend("flow", 2.0, 64)):
        assert legend.height == 72
        assert np.array(legend)[:, 80:].min() < 128, "no words beside the picture"
