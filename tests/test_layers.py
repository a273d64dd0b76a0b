"""Which layers of blur a place needs."""

import numpy as np
import pytest

from bokehcli import layers, optics
from bokehcli.lens import Lens
from bokehcli.options import LensOptions
from bokehcli.tiling import Box


@pytest.mark.parametrize("largest_px", [0.4, 1.0, 4.0, 14.2, 60.0, 69.3, 500.0])
def test_positions_rise_from_what_is_sharp_through_every_radius_to_the_last(largest_px: float) -> None:
    radii = optics.octave_radii_px(largest_px)
    circles_px = np.linspace(0.0, largest_px, 20_001, dtype=np.float32)
    positions = layers.layer_positions(circles_px, radii)
    assert (positions[0], positions[-1]) == (0.0, len(radii))
    assert (np.diff(positions) >= 0.0).all()
    at_radii = layers.layer_positions(np.array(radii, np.float32), radii)
    np.testing.assert_allclose(at_radii, np.arange(1, len(radii) + 1), atol=1e-6)
    # sharp up to the smallest radius linearly, from there by the logarithm; what is near to a layer is in it
    plain = np.interp(np.log2(np.maximum(circles_px, radii[0])), np.log2(radii), np.arange(1, len(radii) + 1))
    plain += np.minimum(circles_px / radii[0], 1.0) - 1.0
    assert np.abs(positions - plain).max() <= optics.IN_LAYER + 1e-5
    near = np.abs(plain - np.rint(plain)) < 0.99 * optics.IN_LAYER
    assert near.any()
    np.testing.assert_array_equal(positions[near], np.rint(plain[near]))


@pytest.mark.parametrize("largest_px", [0.4, 14.2, 69.3, 500.0])
def test_a_table_has_the_positions_of_a_map(largest_px: float) -> None:
    radii = optics.octave_radii_px(largest_px)
    values = np.random.default_rng(0).random((37, 41), np.float32)
    values[0, :2] = 0.0, 1.0
    found = layers.positions_at(values, layers.position_table(largest_px, radii))
    wanted = layers.layer_positions(values * np.float32(largest_px), radii)
    # a step of the map is 1/65535 of the largest radius, and positions change the fastest below the smallest
    assert np.abs(found - wanted).max() <= largest_px / 65535 / radii[0] / (1.0 - 2.0 * optics.IN_LAYER)
    assert (found[0, 0], found[0, 1]) == (0.0, len(radii))


def test_a_background_whose_blur_differs_by_little_is_one_layer() -> None:
    image, alpha = np.zeros((400, 600, 3), np.uint8), np.zeros((400, 600), np.uint8)
    far, nearer = (np.linspace(low, 1.0, 600, dtype=np.float32)[None] for low in (0.99, 0.9))
    whole = Box(0, 400, 0, 600)
    for defocus, wanted in ((far, 1), (nearer, 2)):
        lens = Lens(image, alpha, defocus, LensOptions(strength=1.0))
        assert max(len(block.layers) for block in lens.blocks_of(whole)) == wanted
