"""Pictures for tests, drawn in code, and files that are wrong in known ways."""

import io
import struct
import zlib
from functools import cache

import numpy as np
from PIL import Image, ImageCms, ImageDraw

# EXIF orientation -> what turns an upright picture into what such a file stores: the inverse of what readers do.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def photo(width: int = 320, height: int = 200, *, noise: int = 0) -> Image.Image:
    """A picture that no flip or turn maps to itself: gradients, a red disc top left, a blue bar at the right."""
    y, x = np.mgrid[0:height, 0:width]
    data = np.stack([255 * x / width, 255 * y / height, 128 + 60 * np.sin(x / 17 + y / 29)], axis=-1)
    if noise:
        data += np.random.default_rng(0).normal(0, noise, data.shape)
    image = Image.fromarray(data.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    side = min(width, height)
    draw.ellipse((side // 10, side // 8, side // 10 + side // 3, side // 8 + side // 3), fill=(220, 30, 40))
    draw.rectangle((width - width // 8, height // 5, width - width // 16, height - height // 6), fill=(20, 40, 200))
    return image


def encoded(image: Image.Image, fmt: str = "JPEG", *, orientation: int | None = None, **options) -> bytes:
    """The bytes of a file; with an orientation it stores the pixels so turned that readers see `image`."""
    if orientation is not None:
        method = STORED[orientation]
        image = image if method is None else image.transpose(method)
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    if fmt == "JPEG":
        options = {"quality": 95, "subsampling": 0} | options
    file = io.BytesIO()
    image.save(file, fmt, **options)
    return file.getvalue()


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def animation(fmt: str, size: tuple[int, int] = (40, 30)) -> bytes:
    """Three frames: red, green, blue."""
    frames = [Image.new("RGB", size, colour) for colour in ("red", "lime", "blue")]
    return encoded(frames[0], fmt, save_all=True, append_images=frames[1:], duration=100)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int = 60000, height: int = 60000) -> bytes:
    """A PNG that says it is huge, in a few bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(10000))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def png_16_bit_colour(values: np.ndarray) -> bytes:
    """uint16 [h, w, 3] as a PNG, which Pillow reads and cannot write."""
    height, width, _ = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def png_with_late_exif(image: Image.Image, orientation: int) -> bytes:
    """A PNG whose orientation stands behind its pixels, as the format allows."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    method = STORED[orientation]
    data = encoded(image if method is None else image.transpose(method), "PNG")
    end = data.rindex(b"IEND") - 4
    return data[:end] + png_chunk(b"eXIf", exif.tobytes()[6:]) + data[end:]


# Colour profiles (ICC.1:2010): a 128-byte header, a table of tags, their data.


@cache  # it holds the time it was made
def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def p3_profile() -> bytes:
    """sRGB with the primaries of Display P3."""
    profile = bytearray(srgb_profile())
    primaries = {
        b"rXYZ": (0.5151, 0.2412, -0.0011),
        b"gXYZ": (0.2920, 0.6922, 0.0419),
        b"bXYZ": (0.1571, 0.0666, 0.7841),
    }
    for i in range(struct.unpack_from(">I", profile, 128)[0]):
        kind, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * i)
        if kind in primaries:
            struct.pack_into(">3i", profile, offset + 8, *(round(v * 65536) for v in primaries[kind]))
    return bytes(profile)


def grey_profile(gamma: float = 2.2) -> bytes:
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + bytes(2)
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": curve})


def cmyk_profile() -> bytes:
    """A printer whose first ink looks red where cyan is meant, so that its use can be told."""
    lab = []  # of the 16 mixtures of full inks; the last ink varies fastest
    for mixture in range(16):
        first, second, third, black = (mixture >> shift & 1 for shift in (3, 2, 1, 0))
        if black or first + second + third > 1:
            lab += [0, 128, 128]
        elif first:
            lab += [round(53 * 2.55), 128 + 80, 128 + 67]  # red
        else:
            lab += [255, 128, 128] if not (second or third) else [128, 128, 128]
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536 if i in (0, 4, 8) else 0 for i in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + bytes(lab) + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"test\0"
    tags = {
        b"desc": b"desc" + struct.pack(">II", 0, len(text)) + text + bytes(4 + 4 + 2 + 1 + 67),
        b"wtpt": b"XYZ " + struct.pack(">I3i", 0, 63190, 65536, 54061),  # D50
        b"cprt": b"text" + bytes(4) + text,
    } | tags
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, start + len(data), len(tag))
        data += tag + bytes(-len(tag) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s", start + len(data), b"test", 0x02400000, kind, space, connection, bytes(12), b"acsp"
    )
    header += bytes(68 - len(header)) + struct.pack(">3i", 63190, 65536, 54061)
    return header + bytes(128 - len(header)) + table + data


def picture(width, height, seed=0):
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (8, 12, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.BICUBIC))


def rgb(colour):
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def mask_of(image, colour):
    """Pixels that have a colour, but for what blending and JPEG make of it."""
    return np.abs(np.asarray(image.convert("RGB"), int) - rgb(colour)).max(axis=-1) < 30


def grey(size=(1200, 800)):
    return Image.new("RGB", size, (128, 128, 128))


# Files of cameras: TIFF directories, boxes.


def tiff(
    directories: list[dict[int, tuple[int, ...] | bytes]], payloads: list[bytes], order: str = "<", head: bytes = b""
) -> bytes:
    """A file that is TIFF inside: directories, one after the other, and data behind them.

    Args:
        directories: tag -> whole numbers, stored as LONG, or bytes. `("at", i)` and `("size", i)` as a number stand
            for where payload i lies and how long it is, `("sub", i)` for where directory i lies; those are not chained.
        head: what lies in front of the first directory.
    """
    below = {value[1] for one in directories for values in one.values() for value in values if _is_mark(value, "sub")}
    lengths = [2 + 12 * len(one) + 4 for one in directories]
    first = 8 + len(head)
    starts = [first + sum(lengths[:i]) for i in range(len(directories))]
    extra_at = first + sum(lengths)
    extras = sum(4 * len(v) if not isinstance(v, bytes) else len(v) for one in directories for v in one.values()
                 if len(v) * (1 if isinstance(v, bytes) else 4) > 4)  # fmt: skip
    places = [extra_at + extras + sum(map(len, payloads[:i])) for i in range(len(payloads))]
    known = {"at": places, "size": [len(p) for p in payloads], "sub": starts}
    out, extra = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", first) + head, b""
    chained = [i for i in range(len(directories)) if i not in below]
    for i, one in enumerate(directories):
        out += struct.pack(order + "H", len(one))
        for tag, values in sorted(one.items()):
            if isinstance(values, bytes):
                kind, count, data = 7, len(values), values
            else:
                numbers = [known[v[0]][v[1]] if isinstance(v, tuple) else v for v in values]
                kind, count, data = 4, len(numbers), struct.pack(f"{order}{len(numbers)}I", *numbers)
            if len(data) > 4:
                data, extra = struct.pack(order + "I", extra_at + len(extra)), extra + data
            out += struct.pack(order + "HHI", tag, kind, count) + data.ljust(4, b"\0")
        following = chained[chained.index(i) + 1] if i in chained and i != chained[-1] else None
        out += struct.pack(order + "I", starts[following] if following is not None else 0)
    return out + extra + b"".join(payloads)


def _is_mark(value, name: str) -> bool:
    return isinstance(value, tuple) and value[0] == name


def dng(preview: bytes, thumbnail: bytes, orientation: int = 1, order: str = "<") -> bytes:
    """A raw file: a thumbnail in the first directory, the sensor's data and the full-size JPEG in those below it."""
    width, height = 8, 6
    sensor = struct.pack(order + f"{width * height}H", *range(width * height))
    first = {254: (1,), 256: (16,), 257: (12,), 259: (7,), 262: (6,), 273: (("at", 0),), 274: (orientation,),
             279: (("size", 0),), 330: (("sub", 1), ("sub", 2)), 50706: b"\1\4\0\0"}  # fmt: skip
    raw = {254: (0,), 256: (width,), 257: (height,), 258: (16,), 259: (1,), 262: (32803,), 273: (("at", 1),),
           277: (1,), 279: (("size", 1),)}  # fmt: skip
    full = {254: (1,), 259: (7,), 262: (6,), 273: (("at", 2),), 279: (("size", 2),)}
    return tiff([first, raw, full], [thumbnail, sensor, preview], order)


def nef(preview: bytes, thumbnail: bytes, orientation: int = 1) -> bytes:
    """As dng, with the JPEG named by JPEGInterchangeFormat and the sensor's data in a compression of its own."""
    first = {254: (1,), 259: (1,), 274: (orientation,), 330: (("sub", 1), ("sub", 2))}
    full = {259: (6,), 513: (("at", 1),), 514: (("size", 1),)}
    raw = {254: (0,), 259: (34713,), 262: (32803,), 273: (("at", 2),), 279: (("size", 2),)}
    return tiff([first, full, raw], [thumbnail, preview, bytes(100)], ">")


def cr2(preview: bytes, thumbnail: bytes, orientation: int = 1) -> bytes:
    """Four directories in a chain: the JPEG, a thumbnail, a small picture without compression, the sensor's data."""
    sensor = b"\xff\xd8\xff\xc3\0\x14\x0e" + struct.pack(">HH", 4000, 3000) + bytes(100)  # a lossless JPEG
    full = {256: (320,), 257: (200,), 259: (6,), 273: (("at", 0),), 274: (orientation,), 279: (("size", 0),)}
    small = {256: (40,), 257: (30,), 259: (1,), 262: (2,), 273: (("at", 2),), 279: (("size", 2),)}
    raw = {259: (6,), 273: (("at", 3),), 279: (("size", 3),), 50752: (1, 1500, 1500)}
    chain = [full, {513: (("at", 1),), 514: (("size", 1),)}, small, raw]
    return tiff(chain, [preview, thumbnail, bytes(40 * 30 * 6), sensor], head=b"CR\2\0" + bytes(4))


def arw(preview: bytes, thumbnail: bytes, orientation: int = 1) -> bytes:
    """A thumbnail in the first directory, the sensor's data below it, the JPEG in the last of the chain."""
    first = {254: (1,), 259: (6,), 274: (orientation,), 330: (("sub", 1),), 513: (("at", 0),), 514: (("size", 0),)}
    raw = {254: (0,), 259: (32767,), 262: (32803,), 273: (("at", 2),), 279: (("size", 2),)}
    full = {259: (6,), 513: (("at", 1),), 514: (("size", 1),)}
    return tiff([first, raw, full], [thumbnail, preview, bytes(300)])


def orf(preview: bytes, thumbnail: bytes, orientation: int = 1) -> bytes:
    """The JPEGs in the maker's note alone, which counts places from its own start."""
    note = b"OLYMPUS\0II\3\0" + struct.pack("<HHHII", 1, 0x2020, 13, 1, 30) + bytes(4)
    note += struct.pack("<HHHIIHHII", 2, 0x101, 4, 1, 60 + len(thumbnail), 0x102, 4, 1, len(preview)) + bytes(4)
    first = {259: (1,), 273: (("at", 0),), 274: (orientation,), 279: (("size", 0),), 34665: (("sub", 1),)}
    data = tiff([first, {37500: note + thumbnail + preview}], [bytes(300)])
    return b"IIRO" + data[4:]


def raf(preview: bytes) -> bytes:
    return (
        b"FUJIFILMCCD-RAW 0201".ljust(84, b"\0")
        + struct.pack(">II", 160, len(preview))
        + bytes(68)
        + preview
        + bytes(50)
    )


def rw2(preview: bytes, orientation: int = 1) -> bytes:
    data = bytearray(tiff([{0x2E: preview, 274: (orientation,)}], []))
    data[:4] = b"IIU\0"
    return bytes(data)


def cr3(preview: bytes, orientation: int = 1) -> bytes:
    """Boxes: the orientation in CMT1, the JPEG as the first sample of a track."""
    start = box(b"ftyp", b"crx \0\0\0\1crx isom")
    canon = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48") + box(b"CMT1", tiff([{274: (orientation,)}], []))

    def moov(at: int) -> bytes:
        stbl = box(b"stsz", struct.pack(">IIII", 0, 0, 1, len(preview))) + box(b"co64", struct.pack(">IIQ", 0, 1, at))
        trak = box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", stbl))))
        return box(b"moov", box(b"uuid", canon) + trak)

    at = len(start) + len(moov(0)) + 8
    return start + moov(at) + box(b"mdat", preview)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def heic(image: Image.Image, orientation: int | None = None, **options) -> bytes:
    """A HEIC; pillow-heif writes the turn into its own property."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    method = STORED[orientation or 1]
    image = image if method is None else image.transpose(method)
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif.tobytes()
    return encoded(image, "HEIF", quality=90, **options)


def png_with(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with chunks put in behind its header."""
    return data[:33] + b"".join(png_chunk(kind, content) for kind, content in chunks) + data[33:]
