"""What outputs keep of an input's metadata: nothing, who made it and whose it is, or all of it.

EXIF, XMP and IPTC (IIM) are read from all formats as far as Pillow hands them out, and written to those that hold them:
JPEG all three, PNG, WebP and AVIF the first two. What only IPTC says of rights is said in XMP too.
"""

import re
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from PIL import Image

NONE, RIGHTS, ALL = "none", "rights", "all"

_MAX_BYTES = 4 << 20  # of one kind; editors' histories can be longer, and are no loss
_MAX_SEGMENT = 65533 - 30  # bytes of one in a JPEG, its name counted

# EXIF
_ORIENTATION, _ARTIST, _COPYRIGHT, _DATE, _EXIF_IFD, _GPS_IFD, _INTEROP_IFD = 274, 315, 33432, 306, 34665, 34853, 40965
_SOFTWARE = 305
_DATE_TAKEN, _MAKER_NOTE, _WIDTH, _HEIGHT = 36867, 37500, 40962, 40963
# How the input's file stores its pixels, which says nothing of the output.
_OF_STORAGE = frozenset([254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 330,
                         338, 339, 347, 513, 514, 529, 530, 531, 532, 700, 33723, 34377, 34675, 50341])  # fmt: skip

# IPTC datasets of record 2 that are kept of rights, and the property of XMP that says the same
_BY_LINE, _BY_LINE_TITLE, _DATE_CREATED, _CREDIT, _SOURCE, _COPYRIGHT_NOTICE = 80, 85, 55, 110, 115, 116
_IPTC_RIGHTS = (_BY_LINE, _BY_LINE_TITLE, _DATE_CREATED, _CREDIT, _SOURCE, _COPYRIGHT_NOTICE)
_UTF8 = b"\x1b%G"  # coded character set, 1:90

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
_XMP = "http://ns.adobe.com/xap/1.0/"
_EXIF = "http://ns.adobe.com/exif/1.0/"
_TIFF = "http://ns.adobe.com/tiff/1.0/"
_XMP_RIGHTS = "http://ns.adobe.com/xap/1.0/rights/"
_PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"
_CC = "http://creativecommons.org/ns#"
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_PREFIXES = {
    "x": "adobe:ns:meta/", "rdf": _RDF, "dc": _DC, "photoshop": _PHOTOSHOP, "xmp": _XMP, "exif": _EXIF, "tiff": _TIFF,
    "xmpRights": _XMP_RIGHTS, "plus": _PLUS, "cc": _CC,
}  # fmt: skip
for _prefix, _uri in _PREFIXES.items():
    ET.register_namespace(_prefix, _uri)

_NO_EXIF = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"

_KEPT_PROPERTIES = frozenset(
    f"{{{space}}}{name}"
    for space, names in (
        (_DC, "creator rights"),
        (_PHOTOSHOP, "Credit Source AuthorsPosition DateCreated"),
        (_EXIF, "DateTimeOriginal"),
        (_TIFF, "Artist Copyright"),
    )
    for name in names.split()
)
_KEPT_SPACES = (_XMP_RIGHTS, _PLUS, _CC)
_DATES = (f"{{{_PHOTOSHOP}}}DateCreated", f"{{{_EXIF}}}DateTimeOriginal")
# What stands in XMP of the stored pixels, and what is large and of the input's pixels only.
_NOT_OF_OUTPUT = frozenset(
    [f"{{{_TIFF}}}Orientation", f"{{{_TIFF}}}ImageWidth", f"{{{_TIFF}}}ImageLength", f"{{{_EXIF}}}PixelXDimension",
     f"{{{_EXIF}}}PixelYDimension", f"{{{_XMP}}}Thumbnails"]
)  # fmt: skip
# Google's and Apple's, of gain maps, depth and films that are not carried over; the extended part of XMP is not either.
_DROPPED_SPACES = (
    "http://ns.google.com/photos/1.0/", "http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.adobe.com/xmp/note/",
    "http://ns.apple.com/HDRGainMap/1.0/",
)  # fmt: skip


@dataclass(frozen=True)
class Metadata:
    """As it stands in files: EXIF from its byte order on, an XMP packet, IPTC datasets."""

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None

    def __bool__(self) -> bool:
        return bool(self.exif or self.xmp or self.iptc)


@dataclass
class _Rights:
    """What the three kinds say of who made a picture; each goes to where it is missing."""

    creators: list[str] = field(default_factory=list)
    copyright: str | None = None
    credit: str | None = None
    source: str | None = None
    date: str | None = None  # YYYY-MM-DD, and THH:MM:SS if known


def read(image: Image.Image) -> Metadata:
    """The metadata of an opened picture; what is damaged or too large is left out."""
    info = image.info
    exif = _exif_of(image)
    xmp = _first(info, "xmp", "XML:com.adobe.xmp", "xml")
    iptc = None
    photoshop = info.get("photoshop")
    if isinstance(photoshop, dict):
        iptc = photoshop.get(0x0404)
    if "Raw profile type iptc" in info:
        iptc = iptc or _from_raw_profile(info["Raw profile type iptc"])
    tags = getattr(image, "tag_v2", None)
    if image.format == "TIFF" and tags is not None:
        xmp, iptc = xmp or _as_bytes(tags.get(700)), iptc or _as_bytes(tags.get(33723))
    limited = [data if data and len(data) <= _MAX_BYTES else None for data in (exif, xmp, iptc)]
    return Metadata(*limited)


def kept(metadata: Metadata, policy: str, size_wh: tuple[int, int]) -> Metadata:
    """What an output of this size gets under a policy: "none", "rights" or "all".

    Under "all" orientation, sizes and thumbnail are those of the output; of EXIF the maker's notes, whose offsets hold
    in the input alone, are kept as they are.
    """
    if policy == NONE or not metadata:
        return Metadata()
    tree = _parsed(metadata.xmp)
    rights = _rights(metadata, tree)
    if policy == RIGHTS:
        return Metadata(
            _exif_of_rights(metadata.exif, rights), _xmp_of_rights(tree, rights), _iptc_of_rights(metadata.iptc, rights)
        )
    return Metadata(_whole_exif(metadata.exif, size_wh), _whole_xmp(tree, rights), metadata.iptc)


def with_software(metadata: Metadata, software: str, encoder: str) -> Metadata:
    """Metadata for Pillow's encoder (its name) that say what made the file; in PNG, a text beside them says it."""
    if encoder == "PNG":
        return metadata
    data = _exif_with_software(metadata.exif or _NO_EXIF, software)
    if encoder == "JPEG" and len(data) > _MAX_SEGMENT:
        data = _exif_with_software(_NO_EXIF, software)
    return replace(metadata, exif=data)


def save_options(metadata: Metadata, encoder: str, software: str = "") -> dict[str, object]:
    """What Pillow's encoder (its name) is to be given; IPTC of JPEG is put in by `with_segments`.

    Args:
        software: what made the file, for a text in PNG.
    """
    options: dict[str, object] = {}
    if metadata.exif:
        options["exif"] = b"Exif\0\0" + metadata.exif if encoder in ("JPEG", "WEBP", "PNG") else metadata.exif
    if metadata.xmp and encoder in ("WEBP", "AVIF"):
        options["xmp"] = metadata.xmp
    if (metadata.xmp or software) and encoder == "PNG":
        from PIL.PngImagePlugin import PngInfo

        chunks = PngInfo()
        if software:
            chunks.add_text("Software", software)
        if metadata.xmp:
            chunks.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
        options["pnginfo"] = chunks
    if encoder == "JPEG" and metadata.exif and len(metadata.exif) > _MAX_SEGMENT:
        del options["exif"]
    return options


def with_segments(jpeg: bytes, metadata: Metadata) -> bytes:
    """A JPEG with XMP and IPTC put in, behind the segments that name its kind and EXIF."""
    added = b""
    if metadata.xmp and len(metadata.xmp) <= _MAX_SEGMENT:
        added += _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + metadata.xmp)
    if metadata.iptc and len(metadata.iptc) <= _MAX_SEGMENT:
        block = b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(metadata.iptc)) + metadata.iptc
        added += _segment(0xED, b"Photoshop 3.0\0" + block + bytes(len(block) % 2))
    if not added:
        return jpeg
    at = 2
    while jpeg[at : at + 2] in (b"\xff\xe0", b"\xff\xe1"):
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return jpeg[:at] + added + jpeg[at:]


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


# EXIF


def _exif_of(image: Image.Image) -> bytes | None:
    data = image.info.get("exif")
    if isinstance(data, bytes):
        return data.removeprefix(b"Exif\0\0") or None
    if image.format == "TIFF" and getattr(image, "tag_v2", None) is not None:
        try:
            # Not what the directory says of the pixels: of a long strip list there would be no end.
            exif, own = Image.Exif(), Image.Image.getexif(image)
            for tag, value in own.items():
                if tag not in _OF_STORAGE:
                    exif[tag] = value
            for ifd in (_EXIF_IFD, _GPS_IFD):
                if values := own.get_ifd(ifd):
                    exif.get_ifd(ifd).update(values)
            return exif.tobytes().removeprefix(b"Exif\0\0")
        except Exception:  # damaged metadata of any kind
            return None
    return None


def _loaded(data: bytes | None) -> Image.Exif:
    exif = Image.Exif()
    try:
        exif.load(data or b"")
        dict(exif)
    except Exception:  # Pillow's reader raises nearly anything on damaged EXIF
        return Image.Exif()
    return exif


def _exif_of_rights(data: bytes | None, rights: _Rights) -> bytes | None:
    old, exif = _loaded(data), Image.Exif()
    for tag, text in ((_ARTIST, "; ".join(rights.creators)), (_COPYRIGHT, rights.copyright)):
        own = old.get(tag)
        if isinstance(own, str) and own.strip("\0 "):
            exif[tag] = _storable(own)
        elif text:
            exif[tag] = text.encode()
    if rights.date and len(rights.date) >= 19:
        exif.get_ifd(_EXIF_IFD)[_DATE_TAKEN] = rights.date.replace("-", ":").replace("T", " ")
    if not exif and not exif.get_ifd(_EXIF_IFD):
        return None
    return _bytes_of(exif)


def _whole_exif(data: bytes | None, size_wh: tuple[int, int]) -> bytes | None:
    if not data:
        return None
    old, exif = _loaded(data), Image.Exif()
    for tag, value in old.items():
        if tag not in _OF_STORAGE and tag not in (_EXIF_IFD, _GPS_IFD):
            exif[tag] = _storable(value)
    exif[_ORIENTATION] = 1
    for number in (_EXIF_IFD, _GPS_IFD):
        try:
            values = old.get_ifd(number)
        except Exception:  # damaged
            continue
        if values:
            exif.get_ifd(number).update({tag: _storable(value) for tag, value in values.items() if tag != _INTEROP_IFD})
    exif.get_ifd(_EXIF_IFD).update({_WIDTH: size_wh[0], _HEIGHT: size_wh[1]})
    return _bytes_of(exif)


def _exif_with_software(data: bytes, software: str) -> bytes:
    """EXIF with a first directory of its own behind all that is there; offsets stay as they are."""
    order = "<" if data[:2] == b"II" else ">"
    (place,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, place)
    entries = [data[place + 2 + 12 * i : place + 14 + 12 * i] for i in range(count)]
    following = data[place + 2 + 12 * count :][:4].ljust(4, b"\0")
    text = software.encode("ascii") + b"\0"
    at = len(data) + len(data) % 2
    entries = [entry for entry in entries if struct.unpack_from(f"{order}H", entry)[0] != _SOFTWARE]
    entries.append(struct.pack(f"{order}HHII", _SOFTWARE, 2, len(text), at))
    entries.sort(key=lambda entry: struct.unpack_from(f"{order}H", entry)[0])
    text += bytes(len(text) % 2)
    front = data[:4] + struct.pack(f"{order}I", at + len(text)) + data[8:] + bytes(len(data) % 2)
    return front + text + struct.pack(f"{order}H", len(entries)) + b"".join(entries) + following


def _storable(value: object) -> object:
    """Text as the bytes that it was read from: Pillow takes them for Latin-1, and writes ASCII."""
    return value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value


def _bytes_of(exif: Image.Exif) -> bytes | None:
    """As a file has it. Entries whose values don't fit their tags, which damaged files have, are left out."""
    for _ in range(2):
        try:
            return exif.tobytes().removeprefix(b"Exif\0\0")
        except Exception:  # struct.error, TypeError, ...: see which entries it is
            for tag in list(exif):
                one = Image.Exif()
                try:
                    one[tag] = exif[tag]
                    one.tobytes()
                except Exception:
                    del exif[tag]
            for number in (_EXIF_IFD, _GPS_IFD):
                values = exif.get_ifd(number)
                for tag in list(values):
                    one = Image.Exif()
                    try:
                        one.get_ifd(number)[tag] = values[tag]
                        one.tobytes()
                    except Exception:
                        del values[tag]
    return None


# XMP


def _parsed(xmp: bytes | None) -> ET.Element | None:
    """The rdf:RDF of a packet; None where it cannot be read. Entities, which could grow without end, are refused."""
    if not xmp or b"<!" in xmp:
        return None
    try:
        root = ET.fromstring(xmp.strip(b"\0 \r\n\t"))
    except (ET.ParseError, ValueError, LookupError):
        return None
    rdf = root if root.tag == f"{{{_RDF}}}RDF" else root.find(f"{{{_RDF}}}RDF")
    return rdf


def _properties(rdf: ET.Element | None) -> Iterator[ET.Element]:
    """The properties of a packet, those that are written as attributes too."""
    for description in rdf if rdf is not None else ():
        for name, value in description.attrib.items():
            if not name.startswith(f"{{{_RDF}}}") and name.startswith("{") and name != _LANG:
                one = ET.Element(name)
                one.text = value
                yield one
        yield from description


def _xmp_of_rights(rdf: ET.Element | None, rights: _Rights) -> bytes | None:
    properties: dict[str, ET.Element] = {}
    for one in _properties(rdf):
        space = one.tag.partition("}")[0][1:]
        if one.tag in _KEPT_PROPERTIES or space in _KEPT_SPACES:
            if one.tag in _DATES:
                one.text = _date_of_iso(one.text) or ""
            properties.setdefault(one.tag, one)
    _fill(properties, rights)
    return _packet(properties.values())


def _whole_xmp(rdf: ET.Element | None, rights: _Rights) -> bytes | None:
    properties = {
        one.tag: one
        for one in _properties(rdf)
        if one.tag not in _NOT_OF_OUTPUT and not one.tag[1:].startswith(_DROPPED_SPACES)
    }
    _fill(properties, rights)
    return _packet(properties.values())


def _fill(properties: dict[str, ET.Element], rights: _Rights) -> None:
    """Add what the other kinds say and XMP does not."""
    creator, notice = f"{{{_DC}}}creator", f"{{{_DC}}}rights"
    if rights.creators and creator not in properties:
        properties[creator] = _array(creator, "Seq", rights.creators)
    if rights.copyright and notice not in properties:
        properties[notice] = _array(notice, "Alt", [rights.copyright])
    for name, value in (("Credit", rights.credit), ("Source", rights.source), ("DateCreated", rights.date)):
        tag = f"{{{_PHOTOSHOP}}}{name}"
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


def _texts(one: ET.Element) -> list[str]:
    items = one.iter(f"{{{_RDF}}}li")
    texts = [item.text.strip() for item in items if item.text and item.text.strip()]
    return texts or ([one.text.strip()] if one.text and one.text.strip() else [])


# IPTC


def _datasets(iptc: bytes | None) -> Iterator[tuple[int, int, bytes]]:
    """Record, number and content of each dataset, as far as they can be read."""
    data, at = iptc or b"", 0
    while at + 5 <= len(data) and data[at] == 0x1C:
        record, number, length = data[at + 1], data[at + 2], int.from_bytes(data[at + 3 : at + 5], "big")
        if length & 0x8000 or at + 5 + length > len(data):
            return
        yield record, number, data[at + 5 : at + 5 + length]
        at += 5 + length


def _iptc_texts(iptc: bytes | None) -> dict[int, list[str]]:
    datasets = list(_datasets(iptc))
    utf8 = any((record, number, value) == (1, 90, _UTF8) for record, number, value in datasets)
    texts: dict[int, list[str]] = {}
    for record, number, value in datasets:
        if record != 2:
            continue
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            text = value.decode("utf-8" if utf8 else "latin-1", "replace")
        if text := text.replace("\0", "").strip():
            texts.setdefault(number, []).append(text)
    return texts


def _iptc_of_rights(iptc: bytes | None, rights: _Rights) -> bytes | None:
    texts = {number: values for number, values in _iptc_texts(iptc).items() if number in _IPTC_RIGHTS}
    if rights.creators:
        texts.setdefault(_BY_LINE, rights.creators)
    for number, value in (
        (_COPYRIGHT_NOTICE, rights.copyright), (_CREDIT, rights.credit), (_SOURCE, rights.source),
        (_DATE_CREATED, rights.date[:10].replace("-", "") if rights.date and len(rights.date) >= 10 else None),
    ):  # fmt: skip
        if value:
            texts.setdefault(number, [value])
    if not texts:
        return None
    datasets = [(1, 90, _UTF8), (2, 0, b"\0\4")]
    datasets += [(2, number, text.encode()) for number, values in sorted(texts.items()) for text in values]
    return b"".join(
        struct.pack(">BBBH", 0x1C, r, n, len(value)) + value for r, n, value in datasets if len(value) < 0x8000
    )


# What they say


def _rights(metadata: Metadata, rdf: ET.Element | None) -> _Rights:
    rights = _Rights()
    properties = {one.tag: one for one in _properties(rdf)}
    exif, iptc = _loaded(metadata.exif), _iptc_texts(metadata.iptc)

    def of_xmp(space: str, name: str) -> list[str]:
        one = properties.get(f"{{{space}}}{name}")
        return [] if one is None else _texts(one)

    def of_exif(tag: int, ifd: int | None = None) -> list[str]:
        try:
            value = (exif if ifd is None else exif.get_ifd(ifd)).get(tag)
        except Exception:  # damaged
            return []
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if not isinstance(value, str):
            return []
        text = _repaired(value).replace("\0", " ").strip()
        return [text] if text else []

    artists = [name.strip() for text in of_exif(_ARTIST) for name in text.split(";") if name.strip()]
    rights.creators = of_xmp(_DC, "creator") or iptc.get(_BY_LINE) or artists or of_xmp(_TIFF, "Artist")
    notices = of_xmp(_DC, "rights") or iptc.get(_COPYRIGHT_NOTICE) or of_exif(_COPYRIGHT)
    rights.copyright = next(iter(notices), None)
    rights.credit = next(iter(of_xmp(_PHOTOSHOP, "Credit") or iptc.get(_CREDIT, [])), None)
    rights.source = next(iter(of_xmp(_PHOTOSHOP, "Source") or iptc.get(_SOURCE, [])), None)
    dates = [_date_of_exif(text) for text in of_exif(_DATE_TAKEN, _EXIF_IFD)]
    dates += [_date_of_iso(text) for name in ("DateTimeOriginal",) for text in of_xmp(_EXIF, name)]
    dates += [_date_of_iso(text) for text in of_xmp(_PHOTOSHOP, "DateCreated")]
    dates += [_date_of_iptc(text) for text in iptc.get(_DATE_CREATED, [])]
    rights.date = next((date for date in dates if date), None)
    return rights


def _repaired(text: str) -> str:
    """UTF-8 that Pillow took for Latin-1, as EXIF is meant to be ASCII and few keep to it."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _date_of_exif(text: str) -> str | None:
    match = re.fullmatch(r"(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)", text.strip(), re.ASCII)
    return f"{match[1]}-{match[2]}-{match[3]}T{match[4]}" if match else None


def _date_of_iso(text: str | None) -> str | None:
    """Without the zone, which tells where."""
    match = re.match(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d)?)?)?)?", (text or "").strip(), re.ASCII)
    return match[0] if match else None


def _date_of_iptc(text: str) -> str | None:
    match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", text, re.ASCII)
    return f"{match[1]}-{match[2]}-{match[3]}" if match else None


# What Pillow hands out


def _first(info: dict, *names: str) -> bytes | None:
    return next((data for name in names if (data := _as_bytes(info.get(name)))), None)


def _as_bytes(value: object) -> bytes | None:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if isinstance(value, (tuple, list)) and all(isinstance(v, int) and 0 <= v < 256 for v in value):
        return bytes(value)
    return bytes(value) if isinstance(value, (bytes, bytearray)) else None


def _from_raw_profile(text: object) -> bytes | None:
    """IPTC as ImageMagick writes it into PNG: a name, a length, lines of hexadecimal digits."""
    try:
        data = bytes.fromhex("".join(str(text).split()[2:]))
    except ValueError:
        return None
    at = data.find(b"8BIM\x04\x04")
    if at < 0:
        return data if data.startswith(b"\x1c") else None
    at += 6
    at += 1 + data[at] + (1 + data[at]) % 2 if at < len(data) else 0
    return data[at + 4 : at + 4 + int.from_bytes(data[at : at + 4], "big")] or None
