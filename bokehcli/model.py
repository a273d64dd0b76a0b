"""What an ONNX model takes and gives: the card beside its files. Find it, check it."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bokehcli.errors import ModelError

CARD = "card.json"
FORMAT = 2
KINDS = ("lens",)
ROLES = ("global", "octave", "finest")  # of a lens model's files
POINTED = "pointed"  # a further file that a model may have


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """The card of a model.

    kind: `lens` gives alpha and defocus. files: role -> file name, for every one of ROLES and possibly for POINTED, the
    global network that is asked when somebody points at the subject. sha256: role -> hash of the file. long_side: of the
    picture the global network sees, pixels. multiple: its sides are multiples of that. shrink: the global state is this
    much smaller. channels: of a state. context_px: how far an octave's result looks around itself, in pixels of the state
    below. gate_px, gate_from: an octave changes nothing where alpha varies by at most gate_from within gate_px such pixels.
    sure: alpha below it is background, above 1 - sure subject. about: everything else, for people.
    """

    folder: Path
    kind: str
    files: dict[str, str]
    sha256: dict[str, str]
    long_side: int
    multiple: int
    shrink: int
    channels: int
    context_px: int
    gate_px: int
    gate_from: float
    sure: float
    opset: int
    about: dict[str, Any] = field(default_factory=dict)

    def path(self, role: str) -> Path:
        """Where the ONNX file of a role lies."""
        return self.folder / self.files[role]

    def digest(self) -> str:
        """One hash for the whole model: that of its files' hashes in the order of their roles."""
        joined = "".join(self.sha256[role] for role in sorted(self.sha256))
        return hashlib.sha256(joined.encode()).hexdigest()

    def save(self) -> Path:
        """Write the card beside its files; the hashes are taken from the files."""
        fields = {key: value for key, value in vars(self).items() if key not in ("folder", "sha256")}
        hashes = {role: file_hash(self.path(role)) for role in self.files}
        path = self.folder / CARD
        path.write_text(json.dumps({"format": FORMAT, **fields, "sha256": hashes}, indent=2) + "\n", "utf-8")
        return path


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bundled_folder() -> Path:
    """Where the bundled model lies: inside the installed package, or at the top of a source checkout."""
    package = Path(__file__).parent
    inside = package / "models"
    return inside if (inside / CARD).exists() else package.parent / "models"


def find_model(path: Path | None = None) -> ModelCard:
    """The card of a model whose files are there and whole.

    path: its folder, its card or one of its ONNX files; None is the bundled model. Raises ModelError.
    """
    folder = bundled_folder() if path is None else path if os.path.isdir(path) else path.parent
    card_path = path if path is not None and path.suffix == ".json" else folder / CARD
    try:
        written = json.loads(card_path.read_text("utf-8"))
    except FileNotFoundError as error:
        what = f"no {CARD} there" if os.path.isdir(folder) else "no such folder"
        raise ModelError(f"{path or folder}: not a model ({what})") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{card_path}: cannot be read as a model card ({error})") from error
    card = parse_card(written, folder, card_path)
    for role, name in card.files.items():
        try:
            found = file_hash(card.path(role))
        except OSError as error:
            raise ModelError(f"{folder / name}: {error.strerror or error}") from error
        if found != card.sha256.get(role):
            raise ModelError(f"{folder / name}: its SHA-256 is not the one in {CARD}; the file is damaged or not this model's")
    return card


def parse_card(written: Any, folder: Path, name: Path) -> ModelCard:
    """A card from its JSON. Raises ModelError if it is not one that this version understands."""
    if not isinstance(written, dict) or written.get("format") != FORMAT:
        raise ModelError(f"{name}: not a model card of format {FORMAT}")
    fields = {key: value for key, value in written.items() if key != "format"}
    try:
        card = ModelCard(folder=folder, **fields)
        numbers = (card.long_side, card.multiple, card.shrink, card.channels, card.context_px, card.gate_px)
        sound = all(isinstance(n, int) and n > 0 for n in numbers) and 0.0 <= card.sure < 0.5 and 0.0 <= card.gate_from < 1.0
        plain = all(Path(file).name == file for file in card.files.values())
    except TypeError as error:
        raise ModelError(f"{name}: not a complete model card ({error})") from error
    if card.kind not in KINDS:
        raise ModelError(f"{name}: kind {card.kind!r} is not one of {', '.join(KINDS)}")
    if not sound or not plain or not set(ROLES) <= card.files.keys():
        raise ModelError(f"{name}: the card's numbers or file names make no sense")
    return card
