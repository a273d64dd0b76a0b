"""XMP packets: what has to change in them, and what is added to their history, as text; nothing else of them moves."""

import re
from html import escape

from bokehcli import __version__
from bokehcli.containers.stale import RDF

# XMP properties that repeat what EXIF says.
XMP_SIZES = {b"tiff:ImageWidth": 1, b"tiff:ImageLength": 0, b"exif:PixelXDimension": 1, b"exif:PixelYDimension": 0}
# As the prefix is now, and as Photoshop wrote it before.
XMP_THUMBNAILS = ((b"<xmp:Thumbnails", b"</xmp:Thumbnails>"), (b"<xap:Thumbnails", b"</xap:Thumbnails>"))
XMP_END = b"<?xpacket end="
MOST_BYTES = 65_000  # of a packet that fits one JPEG segment
RDF_END, HISTORY_END = b"</rdf:RDF>", re.compile(rb"</rdf:Seq>\s*</xmpMM:History>")
PANTRY = re.compile(rb"<xmpMM:Pantry\b.*</xmpMM:Pantry\s*>", re.DOTALL)  # what is known of other documents
EMPTY_HISTORY = re.compile(rb"<rdf:Seq\s*/>(\s*</xmpMM:History>)")
ABOUT = re.compile(rb"\brdf:about\s*=\s*(\"[^\"<>]*\"|'[^'<>]*')")
EMPTY_PACKET = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="' + RDF + b'"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def correct_xmp(xmp: bytes, size: tuple[int, int], *, upright: bool = True) -> bytes:
    """An XMP packet for pixels of ``size`` (height, width); its padding makes up for a change of length.

    upright: the pixels are, as EXIF or the container has it; else the packet alone says how they lie, and goes on to do so.
    """
    values = {name: str(size[side]).encode() for name, side in XMP_SIZES.items()}
    if upright:
        values[b"tiff:Orientation"] = b"1"
    corrected = xmp
    for name, value in values.items():
        attribute = re.compile(rb"(\b" + name + rb"\s*=\s*([\"']))[^\"'<>]*(\2)")
        element = re.compile(rb"(<" + name + rb"\s*>)()[^<>]*(</" + name + rb"\s*>)")
        for form in (attribute, element):
            corrected = form.sub(lambda found, value=value: found[1] + value + found[3], corrected)  # type: ignore[misc]
    for opening, closing in XMP_THUMBNAILS:
        while 0 <= (start := corrected.find(opening)) < (stop := corrected.find(closing, max(start, 0))):
            corrected = corrected[:start] + corrected[stop + len(closing) :]
    return _with_length(corrected, len(xmp))


def _with_length(xmp: bytes, length: int) -> bytes:
    """The packet with its padding changed so that it is ``length`` bytes, as far as there is padding to change."""
    end = xmp.rfind(XMP_END)
    if end < 0:
        return xmp
    body = xmp[:end].rstrip()
    padding = xmp[len(body) : end]
    wanted = max(len(padding) + length - len(xmp), 0)
    return body + padding[:wanted].ljust(wanted) + xmp[end:]


def with_edit(xmp: bytes | None, edit: str) -> bytes | None:
    """The packet, a new one where there is none, with a step in its history (XMP part 2, 2.2.8, ResourceEvent).

    No time is given, so that the same photo gives the same file. A packet whose history cannot be found, or that would
    become too long for a JPEG, comes back as it is.
    """
    packet = EMPTY_HISTORY.sub(rb"<rdf:Seq></rdf:Seq>\1", xmp or EMPTY_PACKET)
    event = (
        b'<rdf:li xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#" stEvt:action="filtered" '
        b"stEvt:softwareAgent=%b stEvt:parameters=%b/>"
    ) % tuple(f'"{escape(value)}"'.encode() for value in (f"bokeh {__version__}", edit))
    others = PANTRY.search(packet)
    own = packet if others is None else packet[: others.start()] + b" " * len(others[0]) + packet[others.end() :]
    history = HISTORY_END.search(own)
    end = packet.rfind(RDF_END)
    if history:
        longer = packet[: history.start()] + event + packet[history.start() :]
    elif end >= 0 and RDF in packet[:end] and b":History" not in own:
        about = ABOUT.search(packet)
        description = (
            b"<rdf:Description rdf:about=%b xmlns:xmpMM=\"http://ns.adobe.com/xap/1.0/mm/\"><xmpMM:History><rdf:Seq>%b"
            b"</rdf:Seq></xmpMM:History></rdf:Description>"
        ) % (about[1] if about else b'""', event)
        longer = packet[:end] + description + packet[end:]
    else:
        return xmp
    longer = _with_length(longer, len(xmp or EMPTY_PACKET))
    return longer if len(longer) <= MOST_BYTES else xmp
