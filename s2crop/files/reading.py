"""Open the bytes of a picture as what they are, whatever the file is called, with what Pillow does not tell of them."""

import ctypes
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin, TiffImagePlugin, UnidentifiedImageError

from s2crop.errors import InputError
from s2crop.files import colour, jpeg, jxl, metadata, raw
from s2crop.files.colour import Coding
from s2crop.files.formats import PILLOW_FORMATS
from s2crop.files.metadata import Metadata
from s2crop.files.sniff import CLIP, HEAD_BYTES, RAW, sniff

_PLUGINS = frozenset(("HEIF", "JXL"))  # formats that Pillow reads once it is told of packages that do
_MAX_PAGES = 100  # of a TIFF that are looked at for the largest
_KIND_OF_PAGE, _MASK, _ORIENTATION, _DIRECTORIES_BELOW = 254, 4, 274, 330  # tags of TIFF, and a bit of the first
_CLEARLY_LARGER = 1.2  # times the pixels of the first page; those of scans differ a little
_GAIN_MAP_MARKS = b"hdrgm:Version", b"urn:iso:std:iso:ts:21496", b"HDRGainMap"
_MOTION_MARKS = b"GCamera:MotionPhoto", b"GCamera:MicroVideo", b"MotionPhoto_Data"


@dataclass(frozen=True)
class Facts:
    """What a file says of its picture besides what Pillow reads."""

    kind: str | None  # as `sniff` calls it, or "TIFF"
    orientation: int | None = None  # that counts in place of the EXIF's
    coding: Coding | None = None  # of the colours, where no profile tells
    page: int = 0  # of a TIFF, which is the picture; those in directories below the first ones come last
    pages: int = 1  # of a TIFF, those below counted
    first_says: Metadata | None = None  # of a TIFF: the metadata of its first page, where another is the picture
    raw: bool = False  # the picture is the preview of a raw file
    negative: bool = False  # 0 is white, and Pillow leaves it so
    unsigned: bool = False  # whole numbers of 32 bits, of which Pillow makes signed ones
    notes: tuple[str, ...] = ()  # what is not carried over


@dataclass(frozen=True)
class Loaded:
    """A decoded picture."""

    image: Image.Image
    deep: np.ndarray | None = None  # its pixels where they have more bits than Pillow takes; the image has none then
    notes: tuple[str, ...] = ()  # as in `Facts`


def opened(file: BinaryIO, max_pixels: int) -> tuple[Image.Image, Facts]:
    """The picture in a file, its header read and its pixels not yet, at the page that counts; to be closed.

    Raises:
        InputError: no picture, one of a kind that is not read, or a JPEG XL of more than `max_pixels`, as these are
            decoded here.
        Exception: whatever Pillow's readers make of damaged files.
    """
    head = file.read(HEAD_BYTES)
    kind = sniff(head)
    facts = Facts(kind)
    if kind == CLIP:
        raise InputError("is a video; s2crop.covers takes pictures from it")
    if kind in (RAW, "TIFF") and (preview := raw.find_preview(file)) is not None:
        file = io.BytesIO(raw.read_preview(file, preview))
        facts = Facts("JPEG", preview.orientation, raw=True)
    elif kind == RAW:
        raise InputError("a raw file without a JPEG preview; develop it first")
    elif kind == "JXL":
        jxl.check(file, max_pixels)
    elif kind == "HEIF":
        _register_heif()
    elif kind == "TIFF":
        _silence_libtiff()
    file.seek(0)
    image = _opened_as(file, kind, facts)
    return image, _facts(image, file, facts)


def _opened_as(file: BinaryIO, kind: str | None, facts: Facts) -> Image.Image:
    known = PILLOW_FORMATS if facts.kind is None else (facts.kind,)
    try:
        return Image.open(file, formats=[name for name in known if name not in _PLUGINS or name == facts.kind])
    except UnidentifiedImageError:
        raise InputError(_why_not(file, kind)) from None
    except BaseException as error:
        # What decodes JPEG XL, as it is opened, has messages for its makers, and panics that are no Exception.
        if facts.kind != "JXL" or isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError)):
            raise
        raise InputError("damaged JPEG XL") from None


def loaded(image: Image.Image, facts: Facts) -> Loaded:
    """Decode an opened picture.

    Raises:
        InputError: a JPEG that is made to take long.
        Exception: whatever Pillow's decoders make of damaged files.
    """
    if facts.coding is not None and facts.coding.hdr and image.format == "HEIF":
        import pillow_heif

        assert isinstance(image, ImageFile.ImageFile) and image.fp is not None
        image.fp.seek(0)
        deep = pillow_heif.open_heif(image.fp, convert_hdr_to_8bit=False)  # Pillow's plugin would leave eight bits
        return Loaded(image, np.asarray(deep[deep.primary_index]))
    if isinstance(image, JpegImagePlugin.JpegImageFile) and image.fp is not None:
        jpeg.check_scans(image.fp)
    try:
        image.load()
    except OSError as error:
        whole = None
        lacks_end = "truncated" in str(error) or "broken data stream" in str(error)  # the latter: all but its last byte
        if isinstance(image, JpegImagePlugin.JpegImageFile) and lacks_end:
            whole = jpeg.without_end(image)
        if whole is None:
            raise
        return Loaded(whole, notes=("has no end marker; all its pixels are there",))
    return Loaded(image)


def in_known_colours(pixels: Loaded, facts: Facts) -> Image.Image:
    """Decoded pixels as they are, with a profile if they are not in sRGB; tone-mapped if they are HDR."""
    image = pixels.image
    if pixels.deep is not None and facts.coding is not None:
        made = colour.srgb_from_hdr(pixels.deep, facts.coding)
        made.info = dict(image.info)
        return made
    if facts.negative and image.mode.startswith("I;16"):
        info, image = image.info, Image.fromarray(np.uint16(65535) - np.asarray(image).astype(np.uint16))
        image.info = dict(info)
    if facts.unsigned and image.mode == "I" and (values := np.asarray(image).view(np.uint32)).max() >= 1 << 31:
        info, image = image.info, Image.fromarray((values >> 1).astype(np.int32))
        image.info = dict(info)
    if facts.coding is None or image.info.get("icc_profile"):
        return image
    info = dict(image.info)
    if facts.coding.hdr:
        if image.mode in ("P", "PA", "1") or image.mode.startswith(("I", "F")):
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        image = colour.srgb_from_hdr(image, facts.coding)
        image.info = info
        image.info.pop("transparency", None)
    elif image.mode in ("RGB", "RGBA", "P", "PA"):
        image.info = info | {"icc_profile": colour.profile_of(facts.coding)}
    return image


@cache
def _silence_libtiff() -> None:
    """Let no line of libtiff's own reach standard error, where Pillow comes with a libtiff that can be told so."""
    folder = Path(Image.__file__).parent
    for path in [*folder.parent.glob("pillow.libs/libtiff*"), *folder.glob(".dylibs/libtiff*")]:
        try:
            library = ctypes.CDLL(str(path))
            for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
                setter = getattr(library, name)
                setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
                setter(None)
        except (OSError, AttributeError):
            continue


@cache
def _register_heif() -> None:
    """Let Pillow read HEIC."""
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False)


def _facts(image: Image.Image, file: BinaryIO, facts: Facts) -> Facts:
    notes: tuple[str, ...]
    if image.format == "PNG":
        coding = colour.coding_of_png(file)
        deep = _bits_of_png(file) == 16 and image.mode in ("RGB", "RGBA")
        notes = ("16 bits for each colour become 8",) if deep else ()
        if coding is not None and coding.hdr:
            notes = ("HDR, tone-mapped to sRGB",)
        return Facts(facts.kind, coding=coding, notes=notes)
    if image.format in ("AVIF", "HEIF"):
        coding = None if image.info.get("icc_profile") else colour.coding_of_boxes(file)
        notes = ("has a gain map for HDR, which is not carried over",) if _has_aux(image, "hdrgainmap") else ()
        if coding is not None and coding.hdr:
            notes += ("HDR, tone-mapped to sRGB",)
        return Facts(facts.kind, 1 if image.format == "HEIF" else None, coding, notes=notes)
    if image.format == "JXL":
        # The decoder turns the picture itself, but for those that are made of a JPEG.
        return Facts(facts.kind, None if getattr(image, "jpeg", False) else 1)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _facts_of_tiff(image, facts)
    if image.format in ("JPEG", "MPO") and not facts.raw:
        return Facts(facts.kind, notes=_hidden_parts(image, file))
    return facts


def _facts_of_tiff(image: TiffImagePlugin.TiffImageFile, facts: Facts) -> Facts:
    """The largest page is the picture: many programs put a preview first, and the picture behind or below it."""
    pages, page, best = 0, 0, image.width * image.height * _CLEARLY_LARGER
    for number in _pages(image):
        pages += 1
        if number and image.width * image.height > best and not image.tag_v2.get(_KIND_OF_PAGE, 0) & _MASK:
            page, best = number, image.width * image.height
    next(_pages(image))
    first_says, orientation = (metadata.read(image) if page else None), image.tag_v2.get(_ORIENTATION, 1)
    for number in _pages(image):
        if number == page:
            break
    tags = image.tag_v2
    bits, samples = tags.get(258, (1,)), tags.get(277, 1)
    if tags.get(284, 1) == 2 and max(bits) > 8 and samples > 1:
        raise InputError("TIFF with 16 bits in separate planes is not supported; save it with its channels interleaved")
    negative = tags.get(262) == 0 and max(bits) == 16
    notes = ("16 bits for each colour become 8",) if max(bits) == 16 and samples > 1 else ()
    unsigned = max(bits) == 32 and set(tags.get(339, (1,))) == {1}
    return Facts(
        facts.kind,
        # Pillow turns a page as that says; one below goes by the first where it says nothing.
        orientation if page and _ORIENTATION not in tags and orientation in range(1, 9) else None,
        page=page,
        pages=pages,
        first_says=first_says,
        negative=negative,
        unsigned=unsigned,
        notes=notes,
    )


def _pages(image: TiffImagePlugin.TiffImageFile) -> Iterator[int]:
    """Turn to each page in order, up to the first that is damaged or not read, then to those in directories below."""
    below: list[int] = []
    number = 0
    while number < _MAX_PAGES:
        try:
            image._seek(number)  # `seek` does nothing where Pillow takes a directory below for the page
        except Exception:  # the end too
            break
        offsets = image.tag_v2.get(_DIRECTORIES_BELOW, ())
        below += offsets if isinstance(offsets, tuple) else (offsets,)
        yield number
        number += 1
    if not below:
        return
    places = image._frame_pos  # as Pillow itself turns to directories below: `ImageFile.get_child_images`
    first = places[0]
    for offset in below[: _MAX_PAGES - number]:
        try:
            places[0] = offset
            image._seek(0)
        except Exception:
            continue
        finally:
            places[0] = first
        yield number
        number += 1


def _hidden_parts(image: Image.Image, file: BinaryIO) -> tuple[str, ...]:
    """What phones put behind a JPEG, or into its metadata, that outputs do not have.

    Raises:
        InputError: a JPEG of a kind that is not read.
    """
    position = file.tell()
    file.seek(0)
    head = file.read(1 << 17)
    file.seek(position)
    if (reason := _why_no_jpeg(head)).startswith("lossless"):  # Pillow would call it damaged
        raise InputError(reason)
    xmp = image.info.get("xmp") or b""
    notes = []
    if any(mark in head or mark in xmp for mark in _GAIN_MAP_MARKS):
        notes.append("has a gain map for HDR, which is not carried over")
    if any(mark in head for mark in _MOTION_MARKS):
        notes.append("is a motion photo; its clip is not carried over")
    return tuple(notes)


def _has_aux(image: Image.Image, name: str) -> bool:
    return any(name in str(kind).lower() for kind in image.info.get("aux") or ())


def _bits_of_png(file: BinaryIO) -> int:
    position = file.tell()
    file.seek(24)
    bits = file.read(1)
    file.seek(position)
    return bits[0] if bits else 0


def _why_not(file: BinaryIO, kind: str | None) -> str:
    """Why Pillow opens no picture in a file that begins like this kind."""
    if kind is None:
        file.seek(0)
        return "is a sound file; --cover takes its picture" if _is_sound(file.read(12)) else "not an image"
    file.seek(0)
    data = file.read(1 << 16)
    if kind == "JXL":
        return "damaged JPEG XL"
    if kind == "HEIF":
        return "damaged HEIC"
    if kind == "JPEG":
        return _why_no_jpeg(data)
    if kind == "TIFF" and _has_directory(file):
        return "this kind of TIFF is not supported"
    return "not an image" if len(data) < 32 else f"damaged {kind}"


def _is_sound(head: bytes) -> bool:
    return head.startswith((b"ID3", b"fLaC")) or head[:4] == b"RIFF" and head[8:] == b"WAVE"


def _why_no_jpeg(data: bytes) -> str:
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            names = {3: "lossless", 7: "lossless", 9: "arithmetic", 10: "arithmetic", 11: "lossless"}
            if data[at + 4] != 8:
                return f"JPEG with {data[at + 4]} bits is not supported"
            if name := names.get(marker - 0xC0):
                return f"{name} JPEG is not supported"
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return "damaged JPEG"


def _has_directory(file: BinaryIO) -> bool:
    """Whether a TIFF's first directory can be read."""
    file.seek(0)
    head = file.read(8)
    order = "<" if head[:2] == b"II" else ">"
    if len(head) < 8 or head[2:4] in (b"+\0", b"\0+"):
        return len(head) == 8
    file.seek(struct.unpack(order + "I", head[4:])[0])
    count = file.read(2)
    number = struct.unpack(order + "H", count)[0] if len(count) == 2 else 0
    table = file.read(12 * number)
    tags = {struct.unpack_from(order + "H", table, at)[0] for at in range(0, len(table) - 11, 12)}
    return number > 0 and len(table) == 12 * number and {256, 257} <= tags
