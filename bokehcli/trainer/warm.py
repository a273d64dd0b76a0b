"""Go on from an exported model: its weights, with batch norm unfolded again."""

import itertools
import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bokehcli.errors import ModelError
from bokehcli.model import POINTED, ModelCard
from bokehcli.trainer.batch import Batch, collate, overview_of
from bokehcli.trainer.data import Maker
from bokehcli.trainer.fine import halved, octave_states
from bokehcli.trainer.network import LensNet, Likening, MultiKernelBlock, NetworkOptions, Pointing
from bokehcli.trainer.octave_graph import with_first_joined
from bokehcli.trainer.weights import stored_weights

MAY_BE_MISSING = re.compile(r"(^|\.)likening\.|\.differ\.weight$")
MARK = ".mark.weight"
POINTING = re.compile(r"\.pointing\.\d\.mark\.weight$")
ADDING = MARK, ".differ.weight"  # by these such a part adds to the features, and by zeros nothing
CALIBRATION_BATCHES, CALIBRATION_BATCH, CALIBRATION_PX = 8, 16, 256


def role_of(card: ModelCard, pointed: bool) -> str:
    """Which of the card's files has the global network to go on from."""
    return POINTED if pointed and POINTED in card.files else "global"


def network_options(card: ModelCard, pointed: bool = False) -> NetworkOptions:
    """The network's options as the exporter wrote them into the card. pointed: of the one for what is pointed at."""
    about = card.about.get(POINTED, {}) if role_of(card, pointed) == POINTED else card.about
    try:
        return NetworkOptions.restored(about["network"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{card.folder}: the card does not say which network this is") from error


def exported_weights(card: ModelCard, pointed: bool = False) -> dict[str, Tensor]:
    """All weights by their names in LensNet, float32. pointed: the global network is the one for what is pointed at."""
    octave = {f"octave.{name}": weight for name, weight in with_first_joined(stored_weights(card.path("octave"))).items()}
    return stored_weights(card.path(role_of(card, pointed))) | octave


def blended_weights(card: ModelCard, other: ModelCard, share: float, pointed: bool = False) -> dict[str, Tensor]:
    """The mean of two models' weights; `share` is that of the other one, which was trained on from the first.

    The mean of a network's weights before and after it learned something more is often better than both (Wortsman et al.,
    "Robust fine-tuning of zero-shot models", CVPR 2022, arXiv 2109.01903). A likening, or what tells two things apart in a
    pointing, that one of them has not is taken as one that adds nothing there. The mean has the pointings that both have.
    Raises ModelError if the two are not alike otherwise.
    """
    first, second = exported_weights(card, pointed), exported_weights(other, pointed)
    for whole in {name.removesuffix(MARK) for name in first.keys() ^ second.keys() if POINTING.search(name)}:
        first, second = (
            {name: weight for name, weight in each.items() if not name.startswith(f"{whole}.")} for each in (first, second)
        )
    alone = first.keys() ^ second.keys()
    alike = all(first[name].shape == second[name].shape for name in first.keys() & second.keys())
    if not alike or any(not MAY_BE_MISSING.search(name) for name in alone):
        raise ModelError(f"{other.folder}: not the same network as {card.folder}, so there is no mean of the two")
    mean = {name: torch.lerp(weight, second[name], share) for name, weight in first.items() if name not in alone}
    for name in alone:
        weight, part = (second[name], share) if name in second else (first[name], 1.0 - share)
        mean[name] = weight * part if name.endswith(ADDING) else weight
    return mean


def convolutions(network: nn.Module) -> Iterator[tuple[str, nn.Conv2d, nn.BatchNorm2d | None]]:
    """Every convolution by name, with the batch norm that follows it."""
    following: dict[nn.Module, nn.BatchNorm2d] = {}
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            children = list(module)
            for first, second in itertools.pairwise(children):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    following[first] = second
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            yield name, module, following.get(module)


def added_modules(network: LensNet, weights: dict[str, Tensor]) -> set[str]:
    """Names of the residual blocks, pointings, likenings and parts of pointings that the exported network had not."""
    names = []
    for name, module in network.named_modules():
        if isinstance(module, MultiKernelBlock | Pointing | Likening):
            names.append(name)
        if isinstance(module, Pointing):
            names.append(f"{name}.differ")
    return {name for name in names if not any(key.startswith(f"{name}.") for key in weights)}


@torch.no_grad()
def load_exported(
    card: ModelCard,
    make: Maker,
    seed: int = 0,
    options: NetworkOptions | None = None,
    blend: tuple[ModelCard, float] | None = None,
    pointed: bool = False,
) -> LensNet:
    """The network of a model that `export_model` wrote, ready to be trained on.

    Folding lost the statistics of batch norm. They are measured again on samples, and its scale and shift set so that
    the network computes what it did. options: a network with more blocks than the exported one; new blocks, pointings and
    likenings start by adding nothing (zero scale, as in Goyal et al. 2017). blend: another model and its share, see
    `blended_weights`. pointed: the global network is the one for what is pointed at, or, where the model has none, its only
    one. Raises ModelError if the files do not hold this network's weights, or hold others that it has no place for.
    """
    network = LensNet(options or network_options(card, pointed)).eval()
    weights = exported_weights(card, pointed) if blend is None else blended_weights(card, *blend, pointed)
    added = added_modules(network, weights)
    for name in added:
        block = network.get_submodule(name)
        if isinstance(block, MultiKernelBlock):
            nn.init.zeros_(block.join[1].weight)  # type: ignore[arg-type]
    places = {f"{name}.weight" for name, _, _ in convolutions(network)}
    lost = sorted(name for name in weights if name.endswith(".weight") and name not in places)
    if lost:
        raise ModelError(f"{card.folder}: this network has no place for {len(lost)} of the weights, such as {lost[0]}")
    norms: dict[nn.BatchNorm2d, list[Tensor]] = {}
    for name, convolution, norm in convolutions(network):
        if any(f"{name}.".startswith(f"{module}.") for module in added):
            continue
        bias = weights.get(f"{name}.bias")
        try:
            convolution.weight.copy_(weights[f"{name}.weight"])
            if norm is not None and bias is not None:
                norm.weight.fill_(1.0)
                norm.bias.copy_(bias)
                norm.running_mean.zero_()  # type: ignore[union-attr]
                norm.running_var.fill_(1.0 - norm.eps)  # type: ignore[union-attr]
                norms[norm] = []
            elif convolution.bias is not None and bias is not None:
                convolution.bias.copy_(bias)
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"{card.folder}: the weights of {name} are not this network's") from error
    measure(network, norms, make, seed)
    for norm, outputs in norms.items():
        mean = torch.stack([x[0] for x in outputs]).mean(0)
        square = torch.stack([x[1] for x in outputs]).mean(0)
        variance = (square - mean * mean).clamp(min=0.0)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean)
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
    return network


def measure(network: LensNet, norms: dict[nn.BatchNorm2d, list[Tensor]], make: Maker, seed: int) -> None:
    """Collect mean and mean square per channel of what goes into every batch norm, over some batches of samples."""

    def collect(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        norms[norm].append(torch.stack([inputs[0].mean((0, 2, 3)), inputs[0].square().mean((0, 2, 3))]))

    hooks = [norm.register_forward_pre_hook(collect) for norm in norms]
    for index in range(CALIBRATION_BATCHES):
        numbers = range(index * CALIBRATION_BATCH, (index + 1) * CALIBRATION_BATCH)
        batch: Batch = collate([make(seed, number, CALIBRATION_PX, False) for number in numbers])
        maps, features = network.network.pyramid(overview_of(batch, CALIBRATION_PX))
        octave_states(network.octave, network.network.state(maps[-1], features), [halved(batch.photo, 1)[0]])
    for hook in hooks:
        hook.remove()
