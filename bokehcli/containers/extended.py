"""XMP that is longer than a JPEG segment: a standard packet, and an extended one in pieces behind it (XMP part 3, 1.1.3.1).

What is long goes into the extended packet, property by property, the longest first, until the standard one is short enough.
Both are read as XML, and come out with the same meaning, not with the same bytes.
"""

import hashlib
import re
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
# References to a tab and to ends of a line, which would come out as such and be read as blanks, and what stands in for them
# meanwhile, no characters of any text.
BREAK = re.compile(rb"&#(x0*[9aAdD]|0*(?:9|10|13));")
BREAKS = {9: "\ufdd9".encode(), 10: "\ufdda".encode(), 13: "\ufddd".encode()}
POINTER_BYTES = 120  # that the pointer takes in the standard packet, and its namespace


def is_piece(payload: bytes) -> bool:
    """Whether an APP1 segment's payload is a piece of an extended packet."""
    return payload.startswith(SIGNATURE)


def text_of(payloads: Iterable[bytes], name: bytes = b"") -> bytes:
    """The extended packet whose pieces are among the payloads, as far as they are there; that of a name, where one is given."""
    pieces = {payload[TEXT_AT - 4 : TEXT_AT]: payload[TEXT_AT:] for payload in payloads if payload.startswith(SIGNATURE + name)}
    return b"".join(pieces[place] for place in sorted(pieces))


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
    try:
        return _split(xmp, most)
    except RecursionError:  # its elements lie deeper than anybody writes them
        return None


def _split(xmp: bytes, most: int) -> tuple[bytes, bytes] | None:
    document = _read(xmp)
    blocks = _descriptions(document) if document else []
    if document is None or not blocks:
        return None
    for block, pointer in _pointers(blocks):
        _take_out(pointer, block)
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
    text = OPENING + b"".join(map(_text, moved.values())) + CLOSING
    blocks[0].setAttributeNS(XMLNS, "xmlns:xmpNote", NOTE.decode())
    blocks[0].setAttributeNS(NOTE.decode(), f"xmpNote:{POINTER.decode()}", name_of(text).decode())
    standard = _text(document)
    return (standard, text) if moved and len(standard) <= most else None


def joined(xmp: bytes, payloads: Iterable[bytes]) -> bytes | None:
    """A standard packet with what the extended one holds to which it points; None where that cannot be done.

    payloads: of segments, among them its pieces.
    """
    try:
        return _joined(xmp, list(payloads))
    except RecursionError:
        return None


def _joined(xmp: bytes, payloads: list[bytes]) -> bytes | None:
    document = _read(xmp)
    blocks = _descriptions(document) if document else []
    pointers = _pointers(blocks)
    if document is None or not pointers or blocks[0].parentNode is None:
        return None
    name = _value(pointers[0][1]).strip().encode()
    text = text_of(payloads, name)
    longer = _read(text) if name_of(text) == name else None
    if longer is None:
        return None
    for block, pointer in pointers:
        _take_out(pointer, block)
    for block in _descriptions(longer):
        _declare(block, block)
        blocks[0].parentNode.appendChild(document.importNode(block, deep=True))
    return _text(document)


def _pointers(blocks: list["minidom.Element"]) -> list[tuple["minidom.Element", "minidom.Element | minidom.Attr"]]:
    """The pointers to an extended packet, each with its description."""
    found = ((block, each) for block in blocks for each in _properties(block))
    return [(b, each) for b, each in found if (each.namespaceURI, each.localName) == (NOTE.decode(), POINTER.decode())]


def _value(each: "minidom.Element | minidom.Attr") -> str:
    """The text of a property."""
    return "".join(getattr(node, "data", "") for node in each.childNodes)


def _read(xmp: bytes) -> "minidom.Document | None":
    """The packet as XML; None where it is none, or has a document type."""
    from xml.dom import minidom  # takes four milliseconds, for one photo in a thousand

    if not is_plain(xmp):
        return None
    try:
        # without a document type nothing in it multiplies
        return minidom.parseString(BREAK.sub(lambda found: BREAKS[_number(found[1])], body_of(xmp)))  # noqa: S318
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


def _take_out(each: "minidom.Element | minidom.Attr", block: "minidom.Element") -> None:
    """Take a property out of a description."""
    if each.nodeType == each.ELEMENT_NODE:
        block.removeChild(each)
    else:
        block.removeAttributeNode(each)


def _text(node: "minidom.Document | minidom.Element") -> bytes:
    """A node as text, without the declaration of a document's version."""
    nodes = node.childNodes if node.nodeType == node.DOCUMENT_NODE else [node]
    text = b"".join(each.toxml().encode() for each in nodes)
    for number, stand_in in BREAKS.items():
        text = text.replace(stand_in, b"&#%d;" % number)
    return text


def _number(reference: bytes) -> int:
    """The number that a reference to a character gives, behind its &#."""
    return int(reference[1:], 16) if reference[:1] == b"x" else int(reference)


def _length(each: "minidom.Element | minidom.Attr") -> int:
    """Bytes that a property takes."""
    return len((each.toxml() if each.nodeType == each.ELEMENT_NODE else f' {each.name}="{each.value}"').encode())
