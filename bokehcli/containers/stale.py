"""What XMP says of gain maps, depth maps and videos beside the picture, taken out of it: they belong to the old pixels."""

import re
from xml.parsers import expat

# Namespaces of which nothing else is said.
STALE = (
    b"http://ns.adobe.com/hdr-gain-map/1.0/",
    b"http://ns.google.com/photos/1.0/container/",
    b"http://ns.google.com/photos/1.0/container/item/",
    b"http://ns.google.com/photos/1.0/depthmap/",
    b"http://ns.google.com/photos/1.0/image/",
    b"http://ns.google.com/photos/1.0/audio/",
    b"http://ns.google.com/photos/dd/1.0/device/",
    b"http://ns.google.com/photos/dd/1.0/container/",
    b"http://ns.google.com/photos/dd/1.0/depthmap/",
    b"http://ns.apple.com/HDRGainMap/1.0/",
)
# Namespaces of cameras, of which some names are stale.
CAMERAS = (
    b"http://ns.google.com/photos/1.0/camera/",
    b"http://ns.oplus.com/photos/1.0/camera/",
    b"http://ns.vivo.com/photos/1.0/camera/",
    b"http://ns.xiaomi.com/photos/1.0/camera/",
)
OF_VIDEO = rb"(?:V?MotionPhoto[\w.-]*|MicroVideo[\w.-]*|OLivePhoto[\w.-]*|VideoLength|VMediaKitVersion|XMPMeta)"
PROPERTY_OF_VIDEO = re.compile(rb"[\s<][\w.-]+:" + OF_VIDEO + rb"(?=[\s=/>])")
RDF = b"http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NOTE = b"http://ns.adobe.com/xmp/note/"
POINTER = rb"HasExtendedXMP"  # to extended XMP
OLD_PIXELS_WARNING = "the gain map, previews or video beside the picture belong to the old pixels: left out"
MOST_NAMES = 100  # of namespaces that are declared; more are no honest packet's
DECLARATION = re.compile(rb"(?<!\s)\s++xmlns:([\w.-]+)\s*=\s*(\"([^\"<>]*)\"|'([^'<>]*)')")
ANY_NAME = rb"[\w.-]+"


def is_stale(xmp: bytes) -> bool:
    """Whether there is anything to take out; a pointer to extended XMP alone does not count."""
    video = any(uri in xmp for uri in CAMERAS) and PROPERTY_OF_VIDEO.search(xmp) is not None
    return video or any(uri in xmp for uri in STALE)


def without_stale(xmp: bytes, *, extended: bool = False) -> bytes | None:
    """The packet without those properties; None if that cannot be done cleanly.

    extended: it keeps its pointer to extended XMP.
    """
    declared = {found[0]: found for found in DECLARATION.finditer(xmp)}
    if len(declared) > MOST_NAMES or not is_plain(xmp):
        return None
    left = xmp
    for found in declared.values():
        prefix, uri = re.escape(found[1]), found[3] if found[3] is not None else found[4]
        if uri in STALE:
            names = ANY_NAME
        elif uri in CAMERAS:
            names = OF_VIDEO
        elif uri == NOTE and not extended:
            names = POINTER
        else:
            continue
        name = prefix + b":" + names
        left = re.sub(rb"<(" + name + rb")(?=[\s/>])[^<>]*(?:/>|(?<!/)>.*?</\1\s*>)", b"", left, flags=re.DOTALL)
        left = re.sub(rb"(?<!\s)\s++" + name + rb"\s*=\s*(\"[^\"<]*\"|'[^'<]*')", b"", left)
        if uri in STALE:
            left = left.replace(found[0], b"")
    return left if is_well_formed(left) and not is_stale(left) else None


def cleaned(xmp: bytes, *, extended: bool = False) -> tuple[bytes | None, str]:
    """`without_stale`, and the warning for it."""
    left = without_stale(xmp, extended=extended)
    return left, OLD_PIXELS_WARNING + (", and the XMP that describes them" if left is None else "")


def is_plain(xmp: bytes) -> bool:
    """Whether it is XML in which what looks like an element is one: every start has its end, and patterns find it soon."""
    return b"<!" not in xmp and is_well_formed(xmp, namespaces=False)


def body_of(xmp: bytes) -> bytes:
    """A packet without what is not XML before and behind it."""
    return xmp[max(xmp.find(b"<?xpacket"), 0) :].strip(b"\0 \r\n\t")


def is_well_formed(xmp: bytes, *, namespaces: bool = True) -> bool:
    """Whether it is XML, with all its namespaces declared."""
    parser = expat.ParserCreate(namespace_separator=" " if namespaces else None)
    try:
        parser.Parse(body_of(xmp), True)
    except expat.ExpatError:
        return False
    return True
