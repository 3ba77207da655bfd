"""JPEG files whose end is missing."""

import io

from PIL import Image, ImageChops, ImageFile

_END = b"\xff\xd9"
_FILLINGS = (b"", b"\x5a" * 4096, b"\xa5\x3c" * 2048)  # what would be decoded as pixels, if any were missing


def without_end(image: ImageFile.ImageFile) -> Image.Image | None:
    """The pixels of a JPEG of which nothing but the end marker is missing; None where pixels are.

    The decoder makes up what a file lacks and does not tell, so the file is decoded with several endings: where they
    all give the same picture, none of it is made up.

    Args:
        image: as it was when its decoding failed; what its decoder was told of its size holds.
    """
    assert image.fp is not None
    image.fp.seek(0)
    data = image.fp.read().rstrip(_END[:1])
    first = None
    for filling in _FILLINGS:
        with Image.open(io.BytesIO(data + filling + _END), formats=("JPEG",)) as again:
            if again.size != image.size:
                again.draft(None, image.size)
            again.load()
            if first is None:
                first = again.copy()
                first.info = dict(image.info)
            elif again.size != first.size or ImageChops.difference(again, first).getbbox() is not None:
                return None
    return first
