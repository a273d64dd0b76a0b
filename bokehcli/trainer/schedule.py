"""What is trained when: a pure function of the step.

As in the paper (section 3.2) levels join from 7 upwards, each starting from the one below, and sizes grow. Here every
active level keeps its loss. Low resolution first pays: most steps of levels 7-3 are at 128 and 192 pixels.
"""

from dataclasses import dataclass, replace
from typing import Any

WARM_UP_STEPS = 100
DECAY_FROM = 0.35  # share of a stage kind's steps after which the learning rate falls linearly


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of the schedule: up to share `until` of all steps, `batch` square pictures of `size` pixels.

    lowest: the highest-resolution level that is active. octaves: how many octaves are trained, the global levels
    frozen; 0 trains the global levels. overview: size at which the global levels see the picture then. finer: taken
    instead at every second step. rate: the stage's learning rate, relative to that of the run. constant: it neither warms up
    nor falls.
    """

    until: float
    lowest: int
    size: int
    batch: int
    octaves: int = 0
    overview: int = 512
    rate: float = 1.0
    constant: bool = False
    finer: "Stage | None" = None


# Every photo at the size of the web, and, in turn, the sharpest ones at full size: one octave more.
FINER = Stage(until=1.00, lowest=3, size=1280, batch=4, octaves=3)
OCTAVES = Stage(until=1.00, lowest=3, size=384, batch=6, octaves=2, finer=FINER)
STAGES = (
    Stage(until=0.01, lowest=7, size=128, batch=32),
    Stage(until=0.02, lowest=6, size=128, batch=32),
    Stage(until=0.03, lowest=5, size=128, batch=32),
    Stage(until=0.05, lowest=4, size=128, batch=32),
    Stage(until=0.40, lowest=3, size=128, batch=32),
    Stage(until=0.65, lowest=3, size=192, batch=24),
    Stage(until=0.95, lowest=3, size=256, batch=16),
    OCTAVES,
)
# Going on from a trained model: at a rate that does the global levels no harm the octaves would learn too little.
WARM_STAGES = (
    Stage(until=0.45, lowest=3, size=256, batch=16),
    Stage(until=0.72, lowest=3, size=384, batch=8),
    replace(OCTAVES, rate=3.0, finer=replace(FINER, rate=3.0)),
)
# Going on from a trained model, on what is pointed at alone. Small objects need pixels, so the sizes grow to full. The
# octaves stay as they are; at the end the hidden channels learn to serve them.
POINTED_STAGES = (
    Stage(until=0.30, lowest=3, size=384, batch=8),
    Stage(until=0.96, lowest=3, size=512, batch=6),
    OCTAVES,
)
# Going on from a trained model, for photos in which nobody points. The octaves follow it to its new hidden channels.
UNPOINTED_STAGES = (
    Stage(until=0.20, lowest=3, size=256, batch=16),
    Stage(until=0.55, lowest=3, size=384, batch=8),
    Stage(until=0.92, lowest=3, size=512, batch=6),
    OCTAVES,
)
# For trying things out: everything happens, at sizes that take seconds.
TINY_STAGES = (
    Stage(until=0.10, lowest=7, size=64, batch=8),
    Stage(until=0.20, lowest=6, size=64, batch=8),
    Stage(until=0.30, lowest=5, size=64, batch=8),
    Stage(until=0.40, lowest=4, size=64, batch=8),
    Stage(until=0.85, lowest=3, size=64, batch=8),
    Stage(until=1.00, lowest=3, size=128, batch=4, octaves=2, overview=128),
)


def stage_from(written: dict[str, Any]) -> Stage:
    """A stage from its fields, as dataclasses.asdict gives them. Raises TypeError."""
    finer = written.get("finer")
    return Stage(**{**written, "finer": None if finer is None else stage_from(finer)})


def stage_at(step: int, steps: int, stages: tuple[Stage, ...] = STAGES) -> Stage:
    """The stage of `step` of `steps`."""
    stage = next((stage for stage in stages if step < stage.until * steps), stages[-1])
    return stage.finer if stage.finer is not None and step % 2 else stage


def learning_rate(step: int, steps: int, peak: float, stages: tuple[Stage, ...] = STAGES) -> float:
    """Warm-up, constant, linear decay to a hundredth; once for the global levels and once for the octaves."""
    stage = stage_at(step, steps, stages)
    if stage.constant:
        return peak * stage.rate
    split = next((round(stage.until * steps) for stage in reversed(stages) if not stage.octaves), 0)
    first, last = (0, split) if step < split else (split, steps)
    done = (step - first) / max(1, last - first)
    warm_up = min(1.0, (step - first + 1) / min(WARM_UP_STEPS, max(1, (last - first) // 10)))
    decay = min(1.0, (1.0 - done) / (1.0 - DECAY_FROM))
    return peak * stage.rate * warm_up * max(0.01, decay)
