"""Layers of blur, a few to an octave of radii: which of them a place in the picture needs, and how much of each."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bokehcli.light import looked_up
from bokehcli.opencv import cv2
from bokehcli.pixels import neighbours
from bokehcli.tiling import Box

Float = NDArray[np.float32]
Between = tuple[NDArray[np.intp], NDArray[np.intp], Float]

STEPS = 65_536  # of a map's values: of a radius of 500 pixels one is a hundredth of a pixel


def places_of(position: Float, layers: range) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """The layers that have a share in any of the positions (h, w), and rows and columns beyond which they have none."""
    extremes = [(position.min(axis), position.max(axis)) for axis in (1, 0)]
    for layer in layers:
        down, across = (np.flatnonzero((low < layer + 1) & (high > layer - 1)) for low, high in extremes)
        if down.size and across.size:
            yield layer, (slice(int(down[0]), int(down[-1]) + 1), slice(int(across[0]), int(across[-1]) + 1))


def layer_positions(circle_px: Float, radii_px: list[float]) -> Float:
    """Where circles of confusion lie among the layers: 0 is sharp, n is radii_px[n - 1], linear in log2 radius between."""
    relative, octaves = circle_px / np.float32(radii_px[0]), np.log2(np.array(radii_px) / radii_px[0])
    above = np.interp(np.log2(np.maximum(relative, np.float32(1.0))), octaves, range(len(radii_px)))
    position: Float = np.minimum(relative, np.float32(1.0)) + above.astype(np.float32)
    return position


def position_table(largest_px: float, radii_px: list[float]) -> Float:
    """(STEPS,): `layer_positions` of the circles of confusion from 0 to `largest_px`."""
    return layer_positions(np.linspace(0.0, largest_px, STEPS, dtype=np.float32), radii_px)


def positions_at(values: Float, table: Float) -> Float:
    """(h, w): what a `position_table` has for values [0, 1] of a map, without a logarithm for each."""
    steps = cv2.addWeighted(values, STEPS - 1, values, 0.0, 0.0, dtype=cv2.CV_16U)  # rounds, and ends at the top
    return looked_up(steps, table)


def map_at(values: Float, size: tuple[int, int], box: Box, reduction: int) -> Float:
    """(h, w): a map at a box of the picture of `size` at 1/reduction, bilinear, pixel centres aligned, its border repeated."""
    (above, below, down), (before, after, across) = neighbours_of(values, size, box, reduction)
    part = values[:, before[0] : after[-1] + 1]
    rows = part[above]
    rows += (part[below] - rows) * down[:, None]
    left: Float = rows[:, before - before[0]]
    left += (rows[:, after - before[0]] - left) * across[None, :]
    return left


def neighbours_of(values: Float, size: tuple[int, int], box: Box, reduction: int) -> tuple[Between, Between]:
    """`neighbours` for the rows and the columns of a box at 1/reduction."""
    return (
        neighbours(values.shape[0], reduction / size[0], box.top, box.bottom),
        neighbours(values.shape[1], reduction / size[1], box.left, box.right),
    )
