"""What the loop and the command line ask of a kind of network."""

from abc import ABC, abstractmethod
from argparse import Namespace
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from bokehcli.model import Card, ModelCard
from bokehcli.trainer.batch import Batch
from bokehcli.trainer.samples import MIXED
from bokehcli.trainer.schedule import Stage

PREVIEW_PX = 256


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A network's options and its training: what is trained when, in how many steps, at which peak rate.

    mix: of the samples, by its name (`bokehcli.trainer.samples`).
    """

    network: Any
    stages: tuple[Stage, ...]
    steps: int = 20_000
    rate: float = 1.5e-3
    mix: str = MIXED


class Kind(ABC):
    """A kind of network: how it is built, what teaches it, what it leaves behind."""

    presets: dict[str, Preset]
    default: str  # name of a preset
    weight_decay: float

    @abstractmethod
    def restored(self, written: dict[str, Any]) -> Any:
        """The network's options from what a checkpoint or a model card holds. Raises TypeError."""

    @abstractmethod
    def build(self, options: Any) -> nn.Module:
        """A network with random weights."""

    @abstractmethod
    def prepare(self, network: nn.Module, mix: str, pictures: int) -> None:
        """Set what learns, and how, before a step of that many pictures."""

    @abstractmethod
    def losses(self, network: nn.Module, batch: Batch, stage: Stage, features: nn.Module | None = None) -> list[Tensor]:
        """Loss of each part that learns in a stage. features: what a perceptual loss compares, where the user named it."""

    def preview_px(self, stages: tuple[Stage, ...]) -> int:  # noqa: ARG002 (most kinds see any size alike)
        """Side of the samples that previews show."""
        return PREVIEW_PX

    @abstractmethod
    def columns(self, network: nn.Module, batch: Batch, stage: Stage) -> list[Tensor]:
        """For a preview, (N, 3, H, W) each in [0, 1]: photo, target, result, and what else there is to see."""

    def complaints(self, columns: list[Tensor]) -> list[str]:  # noqa: ARG002 (most kinds have none)
        """What is wrong with a preview, a line each."""
        return []

    @abstractmethod
    def export(
        self, network: nn.Module, about: dict[str, Any], samples: Batch, stage: Stage, asked: Namespace, base: ModelCard | None
    ) -> tuple[Card, float]:
        """Write the model into the folder `asked.out`: its card, and by how much ONNX Runtime and torch differ.

        network: in eval mode. samples: real ones to compare on. asked: the command line. base: the model that training went
        on from, if any. Raises ModelError where the files do not compute what the network does.
        """

    @abstractmethod
    def part_of(self, name: str) -> str:
        """To which level a module belongs, by its name in the network, for `--describe`."""

    @abstractmethod
    def run_once(self, network: nn.Module, size: tuple[int, int]) -> None:
        """Render one photo of (height, width) pixels on the device where the weights are, the meta device included."""
