"""What outputs keep of an input's metadata: nothing, who made it and whose it is, or all of it.

EXIF, XMP and IPTC (IIM) are read from all formats as far as Pillow hands them out, and written to those that hold them:
JPEG all three, PNG, WebP and AVIF the first two. What only IPTC says of rights is said in XMP too.
"""

import struct
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace

from PIL import Image

from s2crop.files import iptc, xmp
from s2crop.files.rights import Rights, date_of_exif, date_of_iptc, date_of_iso

NONE, RIGHTS, ALL = "none", "rights", "all"

_MAX_BYTES = 4 << 20  # of one kind; editors' histories can be longer, and are no loss
_MAX_SEGMENT = 65533 - 30  # bytes of one in a JPEG, its name counted

# EXIF
_ORIENTATION, _ARTIST, _COPYRIGHT, _EXIF_IFD, _GPS_IFD, _INTEROP_IFD = 274, 315, 33432, 34665, 34853, 40965
_SOFTWARE = 305
_DATE_TAKEN, _MAKER_NOTE, _WIDTH, _HEIGHT = 36867, 37500, 40962, 40963
# How the input's file stores its pixels, which says nothing of the output.
_OF_STORAGE = frozenset([254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 330,
                         338, 339, 347, 513, 514, 529, 530, 531, 532, 700, 33723, 34377, 34675, 50341])  # fmt: skip


_NO_EXIF = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"


@dataclass(frozen=True)
class Metadata:
    """As it stands in files: EXIF from its byte order on, an XMP packet, IPTC datasets."""

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None

    def __bool__(self) -> bool:
        return bool(self.exif or self.xmp or self.iptc)


def read(image: Image.Image) -> Metadata:
    """The metadata of an opened picture; what is damaged or too large is left out."""
    info = image.info
    exif = _exif_of(image)
    packet = _first(info, "xmp", "XML:com.adobe.xmp", "xml")
    datasets = None
    photoshop = info.get("photoshop")
    if isinstance(photoshop, dict):
        datasets = photoshop.get(0x0404)
    if "Raw profile type iptc" in info:
        datasets = datasets or iptc.from_raw_profile(info["Raw profile type iptc"])
    tags = getattr(image, "tag_v2", None)
    if image.format == "TIFF" and tags is not None:
        packet, datasets = packet or _as_bytes(tags.get(700)), datasets or _as_bytes(tags.get(33723))
    limited = [data if data and len(data) <= _MAX_BYTES else None for data in (exif, packet, datasets)]
    return Metadata(*limited)


def joined(first: Metadata, other: Metadata) -> Metadata:
    """What the first says, and what only the other does."""
    exif = Image.Exif()
    for data in (other.exif, first.exif):
        _copy(_loaded(data), exif)
    return Metadata(_bytes_of(exif), first.xmp or other.xmp, first.iptc or other.iptc)


def kept(metadata: Metadata, policy: str, size_wh: tuple[int, int]) -> Metadata:
    """What an output of this size gets under a policy: "none", "rights" or "all".

    Under "all" orientation, sizes and thumbnail are those of the output; of EXIF the maker's notes, whose offsets hold
    in the input alone, are kept as they are.
    """
    if policy == NONE or not metadata:
        return Metadata()
    tree = xmp.parsed(metadata.xmp)
    rights = _rights(metadata, tree)
    if policy == RIGHTS:
        return Metadata(
            _exif_of_rights(metadata.exif, rights), xmp.of_rights(tree, rights), iptc.of_rights(metadata.iptc, rights)
        )
    return Metadata(_whole_exif(metadata.exif, size_wh), xmp.whole(tree, rights), metadata.iptc)


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


def _exif_of_rights(data: bytes | None, rights: Rights) -> bytes | None:
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
    exif = Image.Exif()
    _copy(_loaded(data), exif)
    exif[_ORIENTATION] = 1
    exif.get_ifd(_EXIF_IFD).update({_WIDTH: size_wh[0], _HEIGHT: size_wh[1]})
    return _bytes_of(exif)


def _copy(old: Image.Exif, new: Image.Exif) -> None:
    """Put what is not about how pixels are stored into the new one."""
    for tag, value in old.items():
        if tag not in _OF_STORAGE and tag not in (_EXIF_IFD, _GPS_IFD):
            new[tag] = _storable(value)
    for number in (_EXIF_IFD, _GPS_IFD):
        try:
            values = old.get_ifd(number)
        except Exception:  # damaged
            continue
        if values:
            new.get_ifd(number).update({tag: _storable(value) for tag, value in values.items() if tag != _INTEROP_IFD})


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


# What they say


def _rights(metadata: Metadata, rdf: ET.Element | None) -> Rights:
    rights = Rights()
    properties = {one.tag: one for one in xmp.properties_of(rdf)}
    exif, texts = _loaded(metadata.exif), iptc.texts_of(metadata.iptc)

    def of_xmp(space: str, name: str) -> list[str]:
        one = properties.get(f"{{{space}}}{name}")
        return [] if one is None else xmp.texts(one)

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
    rights.creators = of_xmp(xmp.DC, "creator") or texts.get(iptc.BY_LINE) or artists or of_xmp(xmp.TIFF, "Artist")
    notices = of_xmp(xmp.DC, "rights") or texts.get(iptc.COPYRIGHT_NOTICE) or of_exif(_COPYRIGHT)
    rights.copyright = next(iter(notices), None)
    rights.credit = next(iter(of_xmp(xmp.PHOTOSHOP, "Credit") or texts.get(iptc.CREDIT, [])), None)
    rights.source = next(iter(of_xmp(xmp.PHOTOSHOP, "Source") or texts.get(iptc.SOURCE, [])), None)
    dates = [date_of_exif(text) for text in of_exif(_DATE_TAKEN, _EXIF_IFD)]
    dates += [date_of_iso(text) for text in of_xmp(xmp.EXIF, "DateTimeOriginal")]
    dates += [date_of_iso(text) for text in of_xmp(xmp.PHOTOSHOP, "DateCreated")]
    dates += [date_of_iptc(text) for text in texts.get(iptc.DATE_CREATED, [])]
    rights.date = next((date for date in dates if date), None)
    return rights


def _repaired(text: str) -> str:
    """UTF-8 that Pillow took for Latin-1, as EXIF is meant to be ASCII and few keep to it."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


# What Pillow hands out


def _first(info: dict, *names: str) -> bytes | None:
    return next((data for name in names if (data := _as_bytes(info.get(name)))), None)


def _as_bytes(value: object) -> bytes | None:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if isinstance(value, (tuple, list)) and all(isinstance(v, int) and 0 <= v < 256 for v in value):
        return bytes(value)
    return bytes(value) if isinstance(value, (bytes, bytearray)) else None
