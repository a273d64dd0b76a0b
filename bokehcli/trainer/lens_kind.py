"""Our network: two maps, and a lens that renders the photo from them."""

import itertools
from argparse import Namespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from bokehcli import optics
from bokehcli.model import POINTED, Card, ModelCard
from bokehcli.pixels import fit_multiples
from bokehcli.pyramid import level_sizes, octave_count
from bokehcli.trainer.batch import STRENGTH, Batch, overview_of, target_of
from bokehcli.trainer.fine import octave_losses, octave_states, pair_states
from bokehcli.trainer.kind import PREVIEW_PX, Kind, Preset
from bokehcli.trainer.lens import render
from bokehcli.trainer.loss import level_loss, pair_loss
from bokehcli.trainer.network import LONG_SIDE, MULTIPLE, STATE, STEM, LensNet, NetworkOptions, stretched
from bokehcli.trainer.samples import MIXED, UNPOINTED
from bokehcli.trainer.schedule import OCTAVES, POINTED_STAGES, STAGES, TINY_STAGES, UNPOINTED_STAGES, Stage

MEASURED = 32  # pictures a step from which batch norm measures its statistics anew when training goes on


class LensKind(Kind):
    """Maps from the levels, edges from the octaves."""

    presets = {  # noqa: RUF012 (never changed)
        "full": Preset(network=NetworkOptions(), stages=STAGES),
        "octaves": Preset(network=NetworkOptions(), stages=(OCTAVES,)),
        UNPOINTED: Preset(network=NetworkOptions(), stages=UNPOINTED_STAGES, mix=UNPOINTED),
        POINTED: Preset(network=NetworkOptions(), stages=POINTED_STAGES, mix=POINTED),
        "tiny": Preset(
            network=NetworkOptions(widths=(8, 12, 16, 24, 32), blocks=(1, 1, 1, 1, 1), octave=8), stages=TINY_STAGES
        ),
    }
    default = "full"
    weight_decay = 0.02

    @override
    def restored(self, written: dict[str, Any]) -> NetworkOptions:
        """See `Kind.restored`."""
        return NetworkOptions.restored(written)

    @override
    def build(self, options: NetworkOptions) -> LensNet:
        """See `Kind.build`."""
        return LensNet(options)

    @override
    def prepare(self, network: nn.Module, mix: str, pictures: int) -> None:
        """See `Kind.prepare`. The octaves are shared with another network where somebody points, and stay as they are."""
        assert isinstance(network, LensNet)
        network.octave.requires_grad_(mix != POINTED)
        network.octave.train(mix != POINTED)
        small = mix != MIXED and pictures < MEASURED
        if small:
            hold_statistics(network.network)
        hold_wide_kernels(network.network, small)

    @override
    def losses(self, network: nn.Module, batch: Batch, stage: Stage, features: nn.Module | None = None) -> list[Tensor]:
        """See `Kind.losses`."""
        assert isinstance(network, LensNet)
        return losses_of(network, batch, stage)

    @override
    @torch.no_grad()
    def columns(self, network: nn.Module, batch: Batch, stage: Stage) -> list[Tensor]:
        """See `Kind.columns`; the fourth is alpha."""
        assert isinstance(network, LensNet)
        size = batch.photo.shape[2:]
        maps, features = network.network.pyramid(overview_of(batch, PREVIEW_PX))
        state = F.interpolate(network.network.state(maps[-1], features)[:, :2], size=size, mode="bilinear")
        alpha, defocus = stretched(state[:, :1]), torch.sigmoid(state[:, 1:])
        rendered = render(batch.photo, alpha, defocus, optics.radius_px(STRENGTH, (size[0], size[1])))
        return [batch.photo, target_of(batch), rendered, alpha.expand(-1, 3, -1, -1)]

    @override
    def export(
        self, network: nn.Module, about: dict[str, Any], samples: Batch, stage: Stage, asked: Namespace, base: ModelCard | None
    ) -> tuple[Card, float]:
        """See `Kind.export`."""
        from bokehcli.trainer.export import export_model, export_pointed, parity

        assert isinstance(network, LensNet)
        if asked.mix == POINTED and base is not None:
            card, role = export_pointed(network, asked.out, about, base), POINTED
        else:
            card, role = export_model(network, asked.out, about, asked.long_side or LONG_SIDE, base), "global"
        return card, parity(network, card, samples.photo, samples.hint, role)

    @override
    def part_of(self, name: str) -> str:
        """See `Kind.part_of`."""
        parts = name.split(".")
        if parts[0] == "octave":
            return "octaves"
        level = next((part for part in parts if part.isdigit()), "3")
        return f"level {level if parts[1] not in ('stem', 'hidden', 'unshuffle') else 3}"

    @override
    def run_once(self, network: nn.Module, size: tuple[int, int]) -> None:
        """See `Kind.run_once`. All octaves see the whole picture here; a run skips the places without an edge."""
        assert isinstance(network, LensNet)
        device = next(network.parameters()).device
        height, width = fit_multiples(size, LONG_SIDE, MULTIPLE)
        maps, features = network.network.pyramid(torch.empty(1, 4, height, width, device=device))
        network.network.state(maps[-1], features)
        sizes = level_sizes(size, octave_count(size, LONG_SIDE // STEM))
        state = torch.empty(1, STATE, *sizes[0], device=device)
        for below, above in itertools.pairwise(sizes):
            picture = torch.empty(1, 3, 2 * below[0], 2 * below[1], device=device)
            state = octave_states(network.octave, state, [picture])[0][:, :, : above[0], : above[1]]


def states_of(network: LensNet, batch: Batch, stage: Stage) -> Tensor:
    """Level 3's states of the batch, (N, STATE, h, w); of the global levels only the hidden channels learn."""
    network.network.eval()
    with torch.no_grad():
        maps, features = network.network.pyramid(overview_of(batch, stage.overview))
    return network.network.state(maps[-1], features)


def losses_of(network: LensNet, batch: Batch, stage: Stage) -> list[Tensor]:
    """Loss of each of the stage's active levels or octaves.

    Where somebody points in every picture, which thing is meant is the question, and the maps alone are compared: the rendered
    pictures would take a fifth of a step on a CPU.
    """
    if stage.octaves:
        state = states_of(network, batch, stage)
        if batch.target is None:
            return octave_losses(network.octave, state, batch.photo, batch.alpha, stage.octaves)
        states = pair_states(network.octave, state, batch.photo, stage.octaves)
    else:
        states = network.network(overview_of(batch, stage.size), stage.lowest)
    with torch.autocast(batch.photo.device.type, enabled=False):  # linear light needs more than bfloat16's eight bits
        if batch.target is not None:
            return [pair_loss(x, batch.photo, batch.target) for x in states]
        pointed = (batch.hint.amax((1, 2, 3)) > 0.0).float()
        pictures = not bool(pointed.all())  # asked once: a GPU is waited for
        return [level_loss(x, batch.photo, batch.alpha, batch.defocus, batch.weight, pointed, pictures) for x in states]


def hold_statistics(network: nn.Module) -> None:
    """Keep batch norm to the statistics that it has: for going on from a trained network, in batches that are small."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def hold_wide_kernels(network: nn.Module, held: bool) -> None:
    """Keep the depthwise kernels as they are, or let them learn.

    Their gradients take three tenths of a step on a CPU, for 3 % of the weights. A block that is new has random ones then, of
    which the convolution after them takes what it can use.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.weight.requires_grad_(not held)
