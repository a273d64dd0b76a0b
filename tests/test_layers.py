"""Which layers of blur a place needs."""

import numpy as np
import pytest

from bokehcli import layers, optics
from bokehcli.lens import Lens, render
from bokehcli.light import Scene
from bokehcli.options import LensOptions
from bokehcli.tiling import Box


@pytest.mark.parametrize("largest_px", [0.4, 1.0, 4.0, 14.2, 60.0, 69.3, 500.0])
def test_positions_rise_from_what_is_sharp_through_every_radius_to_the_last(largest_px: float) -> None:
    radii = optics.layer_radii_px(largest_px)
    circles_px = np.linspace(0.0, largest_px, 20_001, dtype=np.float32)
    positions = layers.layer_positions(circles_px, radii)
    np.testing.assert_allclose((positions[0], positions[-1]), (0.0, len(radii)), atol=1e-6)
    assert (np.diff(positions) >= 0.0).all()
    at_radii = layers.layer_positions(np.array(radii, np.float32), radii)
    np.testing.assert_allclose(at_radii, np.arange(1, len(radii) + 1), atol=1e-6)
    # sharp up to the smallest radius linearly, from there by the logarithm
    plain = np.interp(np.log2(np.maximum(circles_px, radii[0])), np.log2(radii), np.arange(1, len(radii) + 1))
    plain += np.minimum(circles_px / radii[0], 1.0) - 1.0
    assert np.abs(positions - plain).max() <= 1e-5


@pytest.mark.parametrize("largest_px", [0.4, 14.2, 69.3, 500.0])
def test_a_table_has_the_positions_of_a_map(largest_px: float) -> None:
    radii = optics.layer_radii_px(largest_px)
    values = np.random.default_rng(0).random((37, 41), np.float32)
    values[0, :2] = 0.0, 1.0
    found = layers.positions_at(values, layers.position_table(largest_px, radii))
    wanted = layers.layer_positions(values * np.float32(largest_px), radii)
    # a step of the map is 1/65535 of the largest radius, and positions change the fastest below the smallest
    assert np.abs(found - wanted).max() <= largest_px / 65535 / radii[0]
    np.testing.assert_allclose(found[0, :2], (0.0, len(radii)), atol=1e-6)


def test_a_block_of_one_layer_is_that_layer_alone() -> None:
    rng = np.random.default_rng(0)
    image, alpha = rng.integers(0, 256, (300, 320, 3), dtype=np.uint8), np.zeros((300, 320), np.uint8)
    alpha[100:200, 100:150] = 255
    far = np.ones((1, 1), np.float32)
    scene = Scene(image, alpha, gain=0.0)
    lens = Lens(scene, far, LensOptions(strength=1.0))
    assert {len(block.layers) for block in lens.blocks_of(Box(0, 300, 0, 320))} == {1}
    nearly = far.repeat(2, 1)
    nearly[0, 1] -= np.float32(1e-3)  # two layers, of which one has next to no share
    two = Lens(scene, nearly, LensOptions(strength=1.0))
    assert {len(block.layers) for block in two.blocks_of(Box(0, 300, 0, 320))} == {2}
    pictures = [render(image, alpha, defocus, LensOptions(strength=1.0)).astype(int) for defocus in (far, nearly)]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
