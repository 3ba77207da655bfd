"""What a file is, by its first bytes. Nothing is imported here."""

HEAD_BYTES = 512  # as many as `sniff` looks at

CLIP, RAW = "clip", "raw"  # the answers that are no name of a picture format

_STARTS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"qoif", "QOI"),
    (b"\xff\x0a", "JXL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"FUJIFILMCCD-RAW", RAW),
    (b"IIRO", RAW),
    (b"IIRS", RAW),
    (b"MMOR", RAW),
    (b"IIU\0", RAW),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\x1aE\xdf\xa3", CLIP),  # Matroska, WebM
    (b"OggS", CLIP),
    (b"FLV\x01", CLIP),
    (b".RMF", CLIP),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", CLIP),  # ASF: WMV
    (b"\0\0\x01\xba", CLIP),  # MPEG program stream
    (b"\0\0\x01\xb3", CLIP),  # MPEG video
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", CLIP),  # MXF
    (b"YUV4MPEG2 ", CLIP),
    (b"nut/multimedia container\0", CLIP),
)
_CLIP_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")  # what QuickTime files without `ftyp` begin with
_HEIF_BRANDS = frozenset(b"heic heix hevc hevx heim heis hevm hevs mif1 mif2 msf1 miaf".split())
_HEIF_SEQUENCES = frozenset(b"hevc hevx hevm hevs msf1".split())  # of those, the brands of what moves
_AVIF_BRANDS = frozenset((b"avif", b"avis"))


def sniff(head: bytes) -> str | None:
    """What a file that begins with these bytes is.

    Args:
        head: the first HEAD_BYTES of the file, or all of it if it is shorter.
    Returns:
        Pillow's name of a picture format, CLIP, RAW (of a camera), or None where the bytes don't tell. "TIFF" may yet
        be a raw file: see `s2crop.files.raw`.
    """
    for start, kind in _STARTS:
        if head.startswith(start):
            return RAW if kind == "TIFF" and head[8:10] == b"CR" else kind
    if head[:4] == b"RIFF":
        return {b"WEBP": "WEBP", b"AVI ": CLIP}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _by_brands(head)
    if (
        len(head) > 377
        and head[0] == head[188] == head[376] == 0x47
        or len(head) > 388
        and head[4] == head[196] == head[388] == 0x47
    ):
        return CLIP  # MPEG transport stream, in packets of 188 or, after a time of four bytes, 192
    if head[4:8] in _CLIP_BOXES and int.from_bytes(head[:4], "big") >= 8:
        return CLIP
    if (
        head[:2] == b"BM"
        and len(head) >= 26
        and int.from_bytes(head[14:18], "little") in (12, 40, 52, 56, 64, 108, 124)
    ):
        return "BMP"
    if len(head) > 3 and head[:1] == b"P" and head[1:2] in b"123456fF" and head[2:3].isspace():
        return "PPM"
    return None


def _by_brands(head: bytes) -> str | None:
    """A file of boxes, by the first of its brands that tells."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    major, others = head[8:12], [head[at : at + 4] for at in range(16, end - 3, 4)]
    if major == b"crx ":
        return RAW
    if major == b"jxl ":
        return "JXL"
    if major in (b"jp2 ", b"jpx "):
        return "JPEG2000"
    if major in _AVIF_BRANDS:
        return "AVIF"
    if major in _HEIF_BRANDS:
        # "mif1" says no more than that it is a still picture in boxes.
        generic = major in (b"mif1", b"mif2", b"msf1", b"miaf")
        if generic and _AVIF_BRANDS & set(others):
            return "AVIF"
        # A sequence may come without a still picture, which `meta` would tell of, and is nothing but a clip then.
        following = head[end + 4 : end + 8]
        return CLIP if major in _HEIF_SEQUENCES and following not in (b"meta", b"") else "HEIF"
    return CLIP
