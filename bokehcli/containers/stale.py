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
# Namespaces of which some names are stale.
PARTLY_STALE = {
    b"http://ns.google.com/photos/1.0/camera/": rb"(?:MotionPhoto|MicroVideo)[\w.-]*",
    b"http://ns.adobe.com/xmp/note/": rb"HasExtendedXMP",
}
OLD_PIXELS_WARNING = "the gain map, previews or video beside the picture belong to the old pixels: left out"
MOST_NAMES = 100  # of namespaces that are declared; more are no honest packet's
DECLARATION = re.compile(rb"(?<!\s)\s++xmlns:([\w.-]+)\s*=\s*(\"([^\"<>]*)\"|'([^'<>]*)')")
ANY_NAME = rb"[\w.-]+"


def is_stale(xmp: bytes) -> bool:
    """Whether there is anything to take out; a pointer to extended XMP alone does not count."""
    camera = b"MotionPhoto" in xmp or b"MicroVideo" in xmp
    return camera or any(uri in xmp for uri in STALE)


def without_stale(xmp: bytes) -> bytes | None:
    """The packet without those properties, and without its pointer to extended XMP; None if that cannot be done cleanly."""
    declared = {found[0]: found for found in DECLARATION.finditer(xmp)}
    if len(declared) > MOST_NAMES or not is_plain(xmp):
        return None
    left = xmp
    for found in declared.values():
        prefix, uri = re.escape(found[1]), found[3] if found[3] is not None else found[4]
        names = ANY_NAME if uri in STALE else PARTLY_STALE.get(uri)
        if names is None:
            continue
        name = prefix + b":" + names
        left = re.sub(rb"<(" + name + rb")(?=[\s/>])[^<>]*(?:/>|(?<!/)>.*?</\1\s*>)", b"", left, flags=re.DOTALL)
        left = re.sub(rb"\s+" + name + rb"\s*=\s*(\"[^\"<]*\"|'[^'<]*')", b"", left)
        if uri in STALE:
            left = left.replace(found[0], b"")
    return left if is_well_formed(left) and not is_stale(left) else None


def cleaned(xmp: bytes) -> tuple[bytes | None, str]:
    """`without_stale`, and the warning for it."""
    left = without_stale(xmp)
    return left, OLD_PIXELS_WARNING + (", and the XMP that describes them" if left is None else "")


def is_plain(xmp: bytes) -> bool:
    """Whether it is XML in which what looks like an element is one: every start has its end, and patterns find it soon."""
    return b"<!" not in xmp and is_well_formed(xmp, namespaces=False)


def is_well_formed(xmp: bytes, *, namespaces: bool = True) -> bool:
    """Whether it is XML, with all its namespaces declared."""
    start = xmp.find(b"<?xpacket")
    parser = expat.ParserCreate(namespace_separator=" " if namespaces else None)
    try:
        parser.Parse(xmp[max(start, 0) :].strip(b"\0 \r\n\t"), True)
    except expat.ExpatError:
        return False
    return True
