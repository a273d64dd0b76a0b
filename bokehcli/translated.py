"""What may follow a photo into another container, as that one has it.

EXIF, ICC profile and XMP follow as they are, extended XMP in one packet with the standard one. Photoshop's resources, among
them IPTC, go from JPEG to TIFF and back. The density goes wherever there is a place for it.
"""

from dataclasses import replace

from bokehcli.containers import density, extended, photoshop
from bokehcli.containers.jpeg import IRB
from bokehcli.photo import Carried, Container

Block = tuple[str, bytes]  # see `Carried.others`
# Blocks of one container that say nothing worth a warning when they cannot follow into another.
MINOR = {"APP0", "pHYs", "density", "sRGB", "tIME"}
# Where a container has the density by itself; the others have it in EXIF.
DENSITY_KINDS = {Container.JPEG: "APP0", Container.PNG: "pHYs", Container.BMP: "density"}


def translated(carried: Carried, container: Container) -> tuple[Carried, list[str]]:
    """What a photo of another container carries, as this one has it, and the names of the blocks that it cannot hold."""
    left, others = list(carried.others), list[Block]()
    pieces = [payload for _, payload in left if extended.is_piece(payload)]
    joined = extended.joined(carried.xmp, pieces) if carried.xmp and pieces else None
    if joined:
        left = [block for block in left if not extended.is_piece(block[1])]
        carried = replace(carried, xmp=joined)
    resources = resources_in(left)
    if resources and container in (Container.JPEG, Container.TIFF):
        left = [block for block in left if not holds_resources(block)]
        others += resources_for(container, resources)
    told, kind = density.told(carried.others, carried.exif), DENSITY_KINDS.get(container)
    if told and kind:
        block = density.as_block(kind, told)
        others += [block] if block else []
    elif told:
        carried = replace(carried, exif=density.with_density(carried.exif, told))
    return replace(carried, others=tuple(others)), sorted({name_of(block) for block in left} - MINOR)


def holds_resources(block: Block) -> bool:
    """Whether it holds Photoshop's resources or the IPTC data that may be among them."""
    kind, payload = block
    return kind in ("IRB", "IPTC") or (kind == "APP13" and payload.startswith(IRB))


def resources_in(others: list[Block]) -> bytes:
    """Photoshop's resources in blocks of a JPEG or TIFF; with IPTC data that lie beside them, unless they hold some."""
    blocks = [block for block in others if holds_resources(block) and block[0] != "IPTC"]
    resources = b"".join(payload.removeprefix(IRB) for _, payload in blocks)
    beside = next((payload for kind, payload in others if kind == "IPTC"), None)
    return photoshop.with_iptc(resources, beside) if beside and photoshop.iptc_in(resources) is None else resources


def resources_for(container: Container, resources: bytes) -> list[Block]:
    """The blocks of a JPEG or TIFF that hold Photoshop's resources; in a TIFF the IPTC data lie beside them, too."""
    if container is Container.JPEG:
        return [("APP13", IRB + resources)]
    iptc = photoshop.iptc_in(resources)
    return [("IRB", resources), *([("IPTC", iptc)] if iptc else [])]


def name_of(block: Block) -> str:
    """What a warning calls it."""
    kind, payload = block
    if holds_resources(block):
        has_iptc = kind == "IPTC" or photoshop.iptc_in(payload.removeprefix(IRB)) is not None
        return "IPTC" if has_iptc else "Photoshop's resources"
    return "extended XMP" if extended.is_piece(payload) else kind
