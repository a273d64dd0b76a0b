"""The kinds of network that can be trained. A further one is a module and a line here."""

from typing import Any

from bokehcli.trainer.kind import Kind
from bokehcli.trainer.lens_kind import LensKind
from bokehcli.trainer.pynet2020 import Pynet2020Kind

LENS = "lens"
KINDS: dict[str, Kind] = {LENS: LensKind(), "pynet2020": Pynet2020Kind()}


def name_of(options: Any) -> str:
    """The name of the kind whose options these are."""
    return next(name for name, kind in KINDS.items() if isinstance(options, type(kind.presets[kind.default].network)))


def kind_of(options: Any) -> Kind:
    """The kind whose options these are."""
    return KINDS[name_of(options)]
