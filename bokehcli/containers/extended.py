"""XMP that is longer than a JPEG segment: a standard packet, and an extended one in pieces behind it (XMP part 3, 1.1.3.1).

What is long goes into the extended packet, property by property, the longest first, until the standard one is short enough.
Both are read as XML, and come out with the same meaning, not with the same bytes.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from xml.parsers import expat

from bokehcli.containers.stale import NOTE, POINTER, RDF, body_of, is_plain

if TYPE_CHECKING:
    from xml.dom import minidom

SIGNATURE = b"http://ns.adobe.com/xmp/extension/\0"
DIGEST = 32  # characters of an extended packet's name, the MD5 digest of it
TEXT_AT = len(SIGNATURE) + DIGEST + 4 + 4  # in a piece: behind the name, the length of the whole, and its place in it
MOST_IN_PIECE = 65_400  # bytes of the packet in one piece
XMLNS = "http://www.w3.org/2000/xmlns/"
OPENING, CLOSING = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="' + RDF + b'">', b"</rdf:RDF></x:xmpmeta>"
POINTER_BYTES = 120  # that the pointer takes in the standard packet, and its namespace


def is_piece(payload: bytes) -> bool:
    """Whether an APP1 segment's payload is a piece of an extended packet."""
    return payload.startswith(SIGNATURE)


def text_of(payloads: Iterable[bytes]) -> bytes:
    """The extended packet whose pieces are among the payloads, as far as they are there."""
    pieces = [payload for payload in payloads if is_piece(payload)]
    return b"".join(piece[TEXT_AT:] for piece in sorted(pieces, key=lambda piece: piece[TEXT_AT - 4 : TEXT_AT]))


def pieces_of(text: bytes) -> Iterator[bytes]:
    """The payloads of the segments that hold an extended packet."""
    head = SIGNATURE + name_of(text) + len(text).to_bytes(4, "big")
    for at in range(0, len(text), MOST_IN_PIECE):
        yield head + at.to_bytes(4, "big") + text[at : at + MOST_IN_PIECE]


def name_of(text: bytes) -> bytes:
    """What the standard packet calls an extended one."""
    return hashlib.md5(text, usedforsecurity=False).hexdigest().upper().encode()


def split(xmp: bytes, most: int) -> tuple[bytes, bytes] | None:
    """A packet as a standard one of at most `most` bytes and an extended one; None where that cannot be done."""
    document = _read(xmp)
    blocks = _descriptions(document) if document else []
    if document is None or not blocks:
        return None
    moved: dict[int, minidom.Element] = {}
    found = [(_length(each), number, each) for number, block in enumerate(blocks) for each in _properties(block)]
    length = len(_text(document)) + POINTER_BYTES
    for size, number, each in sorted(found, key=lambda each: -each[0]):
        if length <= most:
            break
        if number not in moved:
            moved[number] = _bare(blocks[number], document)
        _move(each, blocks[number], moved[number])
        length -= size
    text = OPENING + b"".join(block.toxml().encode() for block in moved.values()) + CLOSING
    blocks[0].setAttributeNS(XMLNS, "xmlns:xmpNote", NOTE.decode())
    blocks[0].setAttributeNS(NOTE.decode(), f"xmpNote:{POINTER.decode()}", name_of(text).decode())
    standard = _text(document)
    return (standard, text) if moved and len(standard) <= most else None


def joined(xmp: bytes, text: bytes) -> bytes | None:
    """A standard packet with what an extended one holds, to which it points; None where that cannot be done."""
    document, longer = _read(xmp), _read(text)
    blocks = _descriptions(document) if document else []
    if document is None or longer is None or not blocks or blocks[0].parentNode is None:
        return None
    pointers = [(block, block.getAttributeNodeNS(NOTE.decode(), POINTER.decode())) for block in blocks]
    if not any(pointer is not None and pointer.value.encode() == name_of(text) for _, pointer in pointers):
        return None
    for block, pointer in pointers:
        if pointer is not None:
            block.removeAttributeNode(pointer)
    for block in _descriptions(longer):
        _declare(block, block)
        blocks[0].parentNode.appendChild(document.importNode(block, deep=True))
    return _text(document)


def _read(xmp: bytes) -> "minidom.Document | None":
    """The packet as XML; None where it is none, or has a document type."""
    from xml.dom import minidom  # takes four milliseconds, for one photo in a thousand

    if not is_plain(xmp):
        return None
    try:
        return minidom.parseString(body_of(xmp))  # noqa: S318  # without a document type nothing in it multiplies
    except (expat.ExpatError, ValueError):
        return None


def _descriptions(document: "minidom.Document") -> list["minidom.Element"]:
    """The descriptions of the photo, which hold the properties."""
    trees = document.getElementsByTagNameNS(RDF.decode(), "RDF")
    return [each for tree in trees[:1] for each in _elements(tree) if each.localName == "Description"]


def _elements(block: "minidom.Element") -> list["minidom.Element"]:
    """The elements right in an element."""
    return [each for each in block.childNodes if each.nodeType == each.ELEMENT_NODE]


def _declare(block: "minidom.Element", place: "minidom.Element") -> None:
    """Declare in a description the namespaces that are known at a place, because they are declared above it."""
    node = place.parentNode
    while node is not None and node.nodeType == node.ELEMENT_NODE:
        for name, value in node.attributes.items():
            if name.startswith("xmlns:") and not block.hasAttribute(name):
                block.setAttributeNS(XMLNS, name, value)
        node = node.parentNode


def _properties(block: "minidom.Element") -> list["minidom.Element | minidom.Attr"]:
    """The properties in a description: its elements, and those of its attributes that are none of XML's or RDF's own."""
    return [*_elements(block), *(each for each in block.attributes.values() if not _is_own(each))]


def _is_own(attribute: "minidom.Attr") -> bool:
    return attribute.namespaceURI in (None, XMLNS, RDF.decode()) or attribute.name.startswith("xml")


def _bare(block: "minidom.Element", document: "minidom.Document") -> "minidom.Element":
    """A description of the same photo, with the same namespaces, without a property."""
    bare = document.createElementNS(block.namespaceURI, block.tagName)
    for attribute in block.attributes.values():
        if _is_own(attribute):
            bare.setAttributeNS(attribute.namespaceURI, attribute.name, attribute.value)
    _declare(bare, block)
    return bare


def _move(each: "minidom.Element | minidom.Attr", block: "minidom.Element", other: "minidom.Element") -> None:
    """Move a property from one description into another."""
    if each.nodeType == each.ELEMENT_NODE:
        other.appendChild(block.removeChild(each))
    else:
        other.setAttributeNS(each.namespaceURI, each.name, each.value)
        block.removeAttributeNode(each)


def _text(document: "minidom.Document") -> bytes:
    """A document as text, without the declaration of its version."""
    return b"".join(each.toxml().encode() for each in document.childNodes)


def _length(each: "minidom.Element | minidom.Attr") -> int:
    """Bytes that a property takes."""
    return len((each.toxml() if each.nodeType == each.ELEMENT_NODE else f' {each.name}="{each.value}"').encode())
