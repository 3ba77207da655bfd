"""XMP packets: RDF that names the properties of a picture."""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator

from s2crop.files.rights import Rights, date_of_iso

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DC = "http://purl.org/dc/elements/1.1/"
PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
_XMP = "http://ns.adobe.com/xap/1.0/"
EXIF = "http://ns.adobe.com/exif/1.0/"
TIFF = "http://ns.adobe.com/tiff/1.0/"
_XMP_RIGHTS = "http://ns.adobe.com/xap/1.0/rights/"
_PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
_CC = "http://creativecommons.org/ns#"
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_PREFIXES = {
    "x": "adobe:ns:meta/", "rdf": _RDF, "dc": DC, "photoshop": PHOTOSHOP, "xmp": _XMP, "exif": EXIF, "tiff": TIFF,
    "xmpRights": _XMP_RIGHTS, "plus": _PLUS, "cc": _CC,
}  # fmt: skip
for _prefix, _uri in _PREFIXES.items():
    ET.register_namespace(_prefix, _uri)
_KEPT_PROPERTIES = frozenset(
    f"{{{space}}}{name}"
    for space, names in (
        (DC, "creator rights"),
        (PHOTOSHOP, "Credit Source AuthorsPosition DateCreated"),
        (EXIF, "DateTimeOriginal"),
        (TIFF, "Artist Copyright"),
    )
    for name in names.split()
)
_KEPT_SPACES = (_XMP_RIGHTS, _PLUS, _CC)
_DATES = (f"{{{PHOTOSHOP}}}DateCreated", f"{{{EXIF}}}DateTimeOriginal")
# What stands in XMP of the stored pixels, and what is large and of the input's pixels only.
_NOT_OF_OUTPUT = frozenset(
    [f"{{{TIFF}}}Orientation", f"{{{TIFF}}}ImageWidth", f"{{{TIFF}}}ImageLength", f"{{{EXIF}}}PixelXDimension",
     f"{{{EXIF}}}PixelYDimension", f"{{{_XMP}}}Thumbnails"]
)  # fmt: skip
# Google's and Apple's, of gain maps, depth and films that are not carried over; the extended part of XMP is not either.
_DROPPED_SPACES = (
    "http://ns.google.com/photos/1.0/", "http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.adobe.com/xmp/note/",
    "http://ns.apple.com/HDRGainMap/1.0/",
)  # fmt: skip


class _WithoutEntities(ET.TreeBuilder):
    """Refuses a document type, which alone can name entities, and those could grow without end."""

    def doctype(self, name: str, pubid: str, system: str) -> None:
        raise ValueError("a packet has no document type")


def parsed(xmp: bytes | None) -> ET.Element | None:
    """The rdf:RDF of a packet; None where it cannot be read."""
    if not xmp:
        return None
    try:
        root = ET.fromstring(xmp.strip(b"\0 \r\n\t"), ET.XMLParser(target=_WithoutEntities()))
    except (ET.ParseError, ValueError, LookupError):
        return None
    rdf = root if root.tag == f"{{{_RDF}}}RDF" else root.find(f"{{{_RDF}}}RDF")
    return rdf


def properties_of(rdf: ET.Element | None) -> Iterator[ET.Element]:
    """The properties of a packet, those that are written as attributes too."""
    for description in rdf if rdf is not None else ():
        for name, value in description.attrib.items():
            if not name.startswith(f"{{{_RDF}}}") and name.startswith("{") and name != _LANG:
                one = ET.Element(name)
                one.text = value
                yield one
        yield from description


def of_rights(rdf: ET.Element | None, rights: Rights) -> bytes | None:
    properties: dict[str, ET.Element] = {}
    for one in properties_of(rdf):
        space = one.tag.partition("}")[0][1:]
        if one.tag in _KEPT_PROPERTIES or space in _KEPT_SPACES:
            if one.tag in _DATES:
                one.text = date_of_iso(one.text) or ""
            properties.setdefault(one.tag, one)
    _fill(properties, rights)
    return _packet(properties.values())


def whole(rdf: ET.Element | None, rights: Rights) -> bytes | None:
    properties = {
        one.tag: one
        for one in properties_of(rdf)
        if one.tag not in _NOT_OF_OUTPUT and not one.tag[1:].startswith(_DROPPED_SPACES)
    }
    _fill(properties, rights)
    return _packet(properties.values())


def _fill(properties: dict[str, ET.Element], rights: Rights) -> None:
    """Add what the other kinds say and XMP does not."""
    creator, notice = f"{{{DC}}}creator", f"{{{DC}}}rights"
    if rights.creators and creator not in properties:
        properties[creator] = _array(creator, "Seq", rights.creators)
    if rights.copyright and notice not in properties:
        properties[notice] = _array(notice, "Alt", [rights.copyright])
    for name, value in (("Credit", rights.credit), ("Source", rights.source), ("DateCreated", rights.date)):
        tag = f"{{{PHOTOSHOP}}}{name}"
        if value and tag not in properties:
            properties[tag] = ET.Element(tag)
            properties[tag].text = value


def _array(tag: str, kind: str, items: list[str]) -> ET.Element:
    one = ET.Element(tag)
    array = ET.SubElement(one, f"{{{_RDF}}}{kind}")
    for item in items:
        entry = ET.SubElement(array, f"{{{_RDF}}}li", {_LANG: "x-default"} if kind == "Alt" else {})
        entry.text = item
    return one


def _packet(properties: Iterable[ET.Element]) -> bytes | None:
    properties = list(properties)
    if not properties:
        return None
    meta = ET.Element("{adobe:ns:meta/}xmpmeta")
    description = ET.SubElement(
        ET.SubElement(meta, f"{{{_RDF}}}RDF"), f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""}
    )
    description.extend(properties)
    text = ET.tostring(meta, encoding="utf-8", xml_declaration=False)
    begin = b"<?xpacket begin='\xef\xbb\xbf' id='W5M0MpCehiHzreSzNTczkc9d'?>"
    return begin + b"\n" + text + b"\n<?xpacket end='w'?>"


def texts(one: ET.Element) -> list[str]:
    items = one.iter(f"{{{_RDF}}}li")
    texts = [item.text.strip() for item in items if item.text and item.text.strip()]
    return texts or ([one.text.strip()] if one.text and one.text.strip() else [])
