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
ROLES = ("global", "octave", "finest")  # of a lens model's files
POINTED = "pointed"  # a further file that a lens model may have
PICTURE = "picture"  # the role of an RGB model's only file


@dataclass(frozen=True, kw_only=True)
class Card:
    """The card of a model.

    kind: see `ModelCard` and `PictureCard`. files: role -> file name. sha256: role -> hash of the file. long_side: of the
    picture the network sees, pixels; a lens model's sees as many pixels as that squared. multiple: its sides are multiples
    of that. about: everything else, for people.
    """

    folder: Path
    kind: str
    files: dict[str, str]
    sha256: dict[str, str]
    long_side: int
    multiple: int
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


@dataclass(frozen=True, kw_only=True)
class ModelCard(Card):
    """The card of a model of kind `lens`, which gives alpha and defocus; a lens renders the photo from these.

    files: for every one of ROLES and possibly for POINTED, the global network that is asked when somebody points at the
    subject. shrink: the global state is this much smaller than the picture. channels: of a state. context_px: how far an
    octave's result looks around itself, in pixels of the state below. gate_px, gate_from: an octave changes nothing where
    alpha varies by at most gate_from within gate_px such pixels. sure: alpha below it is background, above 1 - sure
    subject. pointed_side: what long_side is to the network for POINTED; 0 where it is the same.
    """

    shrink: int
    channels: int
    context_px: int
    gate_px: int
    gate_from: float
    sure: float
    pointed_side: int = 0

    def side(self, role: str) -> int:
        """Pixels; the network of a role that sees whole photos sees as many of them as this squared."""
        return (self.pointed_side if role == POINTED else 0) or self.long_side


@dataclass(frozen=True, kw_only=True)
class PictureCard(Card):
    """The card of a model of kind `rgb`, which gives the rendered picture itself.

    files: for PICTURE: `photo`, (N, 3, H, W) sRGB-encoded RGB in [0, 1], to `picture` of the same size and range. tile_px: 0
    where it must see the whole picture at once, for its statistics are the picture's (instance norm); else the side of tiles,
    which are a multiple of `multiple` and get context_px more on every side. Tiles differ from the whole by what lies
    beyond that context, and at the picture's border, which is mirrored.
    """

    tile_px: int = 0
    context_px: int = 0


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bundled_folder() -> Path:
    """Where the bundled model lies: inside the installed package, or at the top of a source checkout."""
    package = Path(__file__).parent
    inside = package / "models"
    return inside if (inside / CARD).exists() else package.parent / "models"


def find_model(path: Path | None = None) -> ModelCard | PictureCard:
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
    if path not in (None, folder, card_path) and path.name not in card.files.values():
        raise ModelError(f"{path}: none of the files of the model in that folder ({', '.join(sorted(card.files.values()))})")
    for role, name in card.files.items():
        try:
            found = file_hash(card.path(role))
        except OSError as error:
            raise ModelError(f"{folder / name}: {error.strerror or error}") from error
        if found != card.sha256.get(role):
            raise ModelError(f"{folder / name}: its SHA-256 is not the one in {CARD}; the file is damaged or not this model's")
    return card


def find_lens_model(path: Path | None = None) -> ModelCard:
    """`find_model` where only one of kind `lens` will do. Raises ModelError."""
    card = find_model(path)
    if isinstance(card, PictureCard):
        raise ModelError(f"{card.folder}: a model of kind {card.kind}, which gives pictures; one of kind lens is needed")
    return card


def parse_card(written: Any, folder: Path, name: Path) -> ModelCard | PictureCard:
    """A card from its JSON. Raises ModelError if it is not one that this version understands."""
    if not isinstance(written, dict) or written.get("format") != FORMAT:
        raise ModelError(f"{name}: not a model card of format {FORMAT}")
    fields = {key: value for key, value in written.items() if key != "format"}
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ModelError(f"{name}: kind {kind!r} is not one of {', '.join(KINDS)}")
    try:
        card = KINDS[kind](folder=folder, **fields)
    except TypeError as error:
        raise ModelError(f"{name}: not a complete model card ({error})") from error
    if not is_sound(card):
        raise ModelError(f"{name}: the card's numbers or file names make no sense")
    return card


def is_sound(card: Card) -> bool:
    """Whether a card as it was read has values of the right types that make sense together."""
    tables = card.files, card.sha256, card.about
    if not all(isinstance(table, dict) for table in tables):
        return False
    least = {"long_side": 1, "multiple": 1, "opset": 1}
    needed = {PICTURE}
    if isinstance(card, ModelCard):
        least |= {"shrink": 1, "channels": 1, "context_px": 1, "gate_px": 1, "pointed_side": 0}
        needed = set(ROLES)
    else:
        least |= {"tile_px": 0, "context_px": 0}
    numbers = {key: getattr(card, key) for key in least}
    if not all(type(numbers[key]) is int and numbers[key] >= least[key] for key in least):
        return False
    if isinstance(card, ModelCard):
        shares = card.sure, card.gate_from
        sound = all(type(share) in (int, float) for share in shares) and 0.0 <= card.sure < 0.5 and 0.0 <= card.gate_from < 1.0
        sound = sound and card.long_side >= max(card.multiple, card.shrink)  # or a state would have no pixel
    else:
        assert isinstance(card, PictureCard)
        sound = card.tile_px == 0 or (card.tile_px + 2 * card.context_px) % card.multiple == 0
    names = card.files.values()
    return sound and needed <= card.files.keys() and all(isinstance(name, str) and Path(name).name == name for name in names)


KINDS: dict[str, type[ModelCard] | type[PictureCard]] = {"lens": ModelCard, "rgb": PictureCard}
