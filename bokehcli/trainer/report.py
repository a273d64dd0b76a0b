"""What a run of training says, and the signals that it hears."""

import os
import signal
import sys
import time
from types import FrameType

from bokehcli.interrupts import PARENT
from bokehcli.trainer.loop import Record


class Stop:
    """Set by Ctrl-C or SIGTERM, or when the command that waits for the trainer is no more; the loop looks at it between steps.

    Whoever ends all processes of a group sends SIGTERM here, too, and the command that waits passes its own on: any number of
    them are one.
    """

    def __init__(self) -> None:
        self.asked = False
        self.interrupted = False
        self.parent = os.environ.get(PARENT)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.ask)

    @property
    def wanted(self) -> bool:
        """Whether training is to stop."""
        return self.asked or self.alone

    @property
    def alone(self) -> bool:
        """Whether the command that waited is no more, so that nobody is left for anything but the checkpoint."""
        return self.parent is not None and self.parent != str(os.getppid())

    def ask(self, number: int, _frame: FrameType | None) -> None:
        """Ask for a stop; a second Ctrl-C is once too often for a checkpoint."""
        if number == signal.SIGINT:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True
        self.asked = True


class Report:
    """A line on stderr every few seconds: step, level, loss, learning rate, pictures a second, time left."""

    EVERY_S = 5.0

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.losses: list[float] = []
        self.pictures = 0
        self.since = time.monotonic()

    def add(self, record: Record) -> None:
        """Take in one step."""
        self.losses.append(record.loss)
        self.pictures += record.pictures
        elapsed_s = time.monotonic() - self.since
        if elapsed_s < self.EVERY_S and record.step < self.steps:
            return
        stage = record.stage
        level = f"{stage.octaves} octaves" if stage.octaves else f"level {stage.lowest}"
        left_min = (self.steps - record.step) * elapsed_s / len(self.losses) / 60
        say(
            f"step {record.step}/{self.steps}  {level} at {stage.size} px  loss {sum(self.losses) / len(self.losses):.4f}  "
            f"rate {record.rate:.2e}  {self.pictures / elapsed_s:.1f} pictures/s  {left_min:.0f} min left"
        )
        self.losses, self.pictures, self.since = [], 0, time.monotonic()


def say(text: str) -> None:
    """One line for people."""
    print(text, file=sys.stderr, flush=True)
