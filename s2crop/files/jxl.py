"""JPEG XL, which a package of its own reads."""

from typing import BinaryIO

from s2crop.errors import InputError

_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_SIDE_BITS = (9, 13, 18, 30)


def check(file: BinaryIO, max_pixels: int) -> None:
    """See that a JPEG XL can be decoded, before Pillow's plugin does so as it opens it.

    Raises:
        InputError: the plugin is not installed, the header is damaged, or the picture is larger than `max_pixels`.
    """
    try:
        import pillow_jxl  # noqa: F401 (tells Pillow of itself)
    except ImportError:
        raise InputError("JPEG XL needs a package more: pip install 's2crop[jxl]'") from None
    size = header_size(_codestream(file))
    if size is None:
        raise InputError("damaged JPEG XL")
    if size[0] * size[1] > max_pixels:
        raise InputError(f"{size[0]}x{size[1]} is over {max_pixels} pixels ({{option}})", "max_pixels")


def header_size(codestream: bytes) -> tuple[int, int] | None:
    """Width and height, as stored, that a codestream begins with (ISO/IEC 18181-1, SizeHeader)."""
    if codestream[:2] != b"\xff\x0a" or len(codestream) < 4:
        return None
    bits, at = int.from_bytes(codestream[2:], "little"), 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return bits >> (at - count) & ((1 << count) - 1)

    small = read(1)

    def side() -> int:
        return (read(5) + 1) * 8 if small else read(_SIDE_BITS[read(2)]) + 1

    height = side()
    ratio = read(3)
    width = side() if ratio == 0 else height * _RATIOS[ratio][0] // _RATIOS[ratio][1]
    return width, height


def _codestream(file: BinaryIO) -> bytes:
    """The first bytes of the codestream, which may lie in a box."""
    file.seek(0)
    start = file.read(16)
    if start[:2] == b"\xff\x0a":
        return start
    at = 0
    for _ in range(100):
        file.seek(at)
        head = file.read(16)
        if len(head) < 16:
            return b""
        length, kind, header = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, header = int.from_bytes(head[8:], "big"), 16
        if kind in (b"jxlc", b"jxlp"):
            file.seek(at + header + (4 if kind == b"jxlp" else 0))  # a part has a number
            return file.read(16)
        if length < header:
            return b""
        at += length
    return b""
