"""Open a picture upright, and decode it only as far as asked."""

import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

from s2crop.choices import MAX_PIXELS
from s2crop.errors import InputError
from s2crop.files import metadata, pixels, reading, resize
from s2crop.files.metadata import Metadata
from s2crop.files.reading import Facts
from s2crop.files.sizes import decoder_scale, scoring_scale

PictureLike = str | Path | bytes | Image.Image | np.ndarray  # what `Picture.open` takes
MAX_TEXT_BYTES = 16 << 20  # of one text or profile in a PNG, unpacked; editors' histories fill megabytes

# EXIF orientation -> what makes the stored pixels upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What is left to do after a transposition, of orientations that swap the sides.
_AFTER_TRANSPOSE = {
    5: None,
    6: Image.Transpose.FLIP_LEFT_RIGHT,
    7: Image.Transpose.ROTATE_180,
    8: Image.Transpose.FLIP_TOP_BOTTOM,
}
_ORIENTATION_TAG = 0x0112
# What Pillow's messages about sound files of kinds that it does not read have in common.
_NOT_SUPPORTED = (
    "unsupported",
    "not supported",
    "unknown pixel mode",
    "unknown photometric",
    "unrecognized",
    "not implemented",
)


def lift_pillow_limits() -> None:
    """Let `max_pixels` alone decide how large a picture may be, in this process; for commands, not for libraries.

    Pillow refuses pictures of more than 179 million pixels and warns of those of half as many; it also warns of odd
    metadata. What matters of that becomes an InputError.
    """
    Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = None, MAX_TEXT_BYTES
    warnings.filterwarnings("ignore", module=r"PIL\.")


class Picture:
    """One input picture, upright and decoded only as far as asked.

    Opening reads the header only. For use by one thread at a time; `close`, or the end of a `with` block,
    drops the decoded pixels (the picture can still be used, and is decoded again then).
    """

    width: int  # of the upright picture
    height: int
    format: str | None  # Pillow's name: "JPEG", "PNG", ...; None for arrays
    frames: int  # more than 1 for animations, of which the first frame is used, and for TIFF
    page: int  # the one that is used: of a TIFF the largest
    decoded_scale: int  # how many times smaller the JPEG decoder made the pixels that were kept last
    is_preview: bool  # of a raw file
    notes: tuple[str, ...]  # what of the file is not carried over
    metadata: Metadata  # known once pixels were decoded
    ground: str | None  # colour that transparency lies on; None until pixels were decoded, unless it was given

    def __init__(self, source: Path | bytes | Image.Image, max_pixels: int, ground: str | None = None) -> None:
        self._source, self._max_pixels = source, max_pixels
        self.ground, self.metadata = ground, Metadata()
        self._state: tuple[int, int] | None = None  # of the file when it was opened first
        self._decoded: Image.Image | None = None
        self._array: tuple[Image.Image, np.ndarray] | None = None  # decoded pixels, and they as an array
        self.decoded_scale = 1
        self._profile: bytes | None = None  # of the decoded pixels' colours
        with self._file() as (image, facts):
            width, height = self._stored_wh = image.size
            if width * height > max_pixels and not isinstance(source, Image.Image):
                raise InputError(f"{width}x{height} is over {max_pixels} pixels ({{option}})", "max_pixels")
            if width * height == 0:
                raise InputError(f"no pixels ({width}x{height})")
            # MPO is what many phones write: a JPEG with more pictures behind the first.
            self.format = "JPEG" if image.format == "MPO" else image.format
            # A HEIC holds a burst, of which the first is as good as any, or parts of one picture.
            with self._reading():
                self.frames = facts.pages if image.format in ("HEIF", "TIFF") else getattr(image, "n_frames", 1)
            self.is_preview, self.notes, self.page = facts.raw, facts.notes, facts.page
            self._orientation = facts.orientation or _orientation(image)
        self.width, self.height = self._turned(width, height)

    @classmethod
    def open(
        cls,
        source: PictureLike,
        *,
        max_pixels: int = MAX_PIXELS,
        ground: str | None = None,
    ) -> "Picture":
        """Open a file, the bytes of one, a Pillow image or a uint8 array [H, W, 3].

        Args:
            ground: the colour that transparent pixels are looked at on; None for what shows the picture: white, or
                black where most of it would be lost on white.
        Raises:
            InputError: the file is missing, no image, damaged, or larger than `max_pixels`.
            ValueError: an array of another shape or type.
        """
        if isinstance(source, np.ndarray):
            if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
                raise ValueError(f"not a uint8 array [H, W, 3]: {source.dtype} {list(source.shape)}")
            source = Image.fromarray(source)
        elif not isinstance(source, (bytes, Image.Image)):
            source = Path(source)
        return cls(source, max_pixels, ground)

    def reduced(self, short_side: int, keep: bool = False) -> np.ndarray:
        """The whole picture made smaller by a power of two, for scoring.

        JPEG is decoded at a reduced size that depends on the picture alone, as what is seen differs in the last bit
        between one scale of the decoder and another. Transparent pixels lie on `ground`; 16-bit and CMYK become 8-bit
        RGB.

        Args:
            keep: keep the decoded pixels until `close`, for `crop` and for calls like this one.
        Returns:
            uint8 [h, w, 3], RGB; the short side is at least `short_side` and at most twice that, or the
            picture's own if that is smaller.
        Raises:
            InputError: the file is damaged, or changed since it was opened.
        """
        width, height = self._stored_wh
        factor = 1 << max(1, min(width, height) // max(1, short_side)).bit_length() - 1
        scale = min(factor, scoring_scale(min(width, height)))
        if self._decoded is not None and self.decoded_scale == (scale if self._has_scales else 1):
            image, scale = self._decoded, self.decoded_scale
        else:
            image, scale = self._decode(scale)
        if keep:
            self._decoded, self.decoded_scale = image, scale
        image = pixels.eight_bit(image)
        rest = _UPRIGHT.get(self._orientation)
        if (
            self._orientation >= 5
        ):  # turned before it is made smaller, or else it differs in the last bit from one stored upright
            image, rest = image.transpose(Image.Transpose.TRANSPOSE), _AFTER_TRANSPOSE[self._orientation]
            width, height = height, width
        size_wh = max(1, round(width / factor)), max(1, round(height / factor))
        whole = factor // scale
        if whole > 1 and image.size == (size_wh[0] * whole, size_wh[1] * whole):
            image = image.reduce(whole)  # the same means as below, in less time
        elif image.size != size_wh:
            extent = (0, 0, width / scale, height / scale)
            image = image.resize(size_wh, Image.Resampling.BOX, extent, reducing_gap=2.0)
        image = pixels.rgb(image, self.ground or "white")
        return np.array(image if rest is None else image.transpose(rest))

    def decode(self, scale: int = 1) -> None:
        """Decode for `crop`, made at most `scale` times smaller by the JPEG decoder, unless that was done already.

        Raises:
            InputError: the file is damaged, or changed since it was opened.
        """
        if self._decoded is None or self.decoded_scale > scale:
            self._decoded = self._array = None  # two would take twice the memory
            self._decoded, self.decoded_scale = self._decode(scale)

    @property
    def decoded_bytes(self) -> int:
        """Memory that the decoded pixels take, about."""
        if self._decoded is None:
            return 0
        width, height = self._stored_wh
        return 4 * (width // self.decoded_scale) * (height // self.decoded_scale)

    @property
    def is_transparent(self) -> bool:
        """Whether some of the decoded pixels are; False where none are kept."""
        image = self._decoded
        return image is not None and image.mode in ("LA", "RGBA") and image.getchannel("A").getextrema() != (255, 255)

    def crop(self, box: tuple[int, int, int, int], size_wh: tuple[int, int] | None = None) -> Image.Image:
        """Cut out a box of the upright picture at full quality, resized to `size_wh` if given.

        The image is L, LA, RGB, RGBA, CMYK or I;16, as the file has it; its colour profile is in
        `.info["icc_profile"]`. The decoded picture is kept for the next crop until `close`.

        Raises:
            InputError: the file is damaged, or changed since it was opened.
            ValueError: the box does not lie in the picture.
        """
        x1, y1, x2, y2 = box
        if not (0 <= x1 < x2 <= self.width and 0 <= y1 < y2 <= self.height):
            raise ValueError(f"box {tuple(box)} is not inside {self.width}x{self.height}")
        box_wh = x2 - x1, y2 - y1
        size_wh = size_wh or box_wh
        self.decode(decoder_scale(box_wh, size_wh))
        assert self._decoded is not None
        stored_box = self._stored_box(box)
        if size_wh == box_wh:
            image = self._decoded.crop(stored_box)
        else:
            left, upper, right, lower = (edge / self.decoded_scale for edge in stored_box)
            place, stored_wh = (left, upper, right, lower), self._turned(*size_wh)
            if resize.is_for_torch(self._decoded, stored_wh, place):
                image = resize.resized_by_torch(self._array_of(self._decoded), stored_wh, place)
            else:
                image = resize.resized(self._decoded, stored_wh, place)
        image = self._upright(image)
        image.info = {"icc_profile": self._profile} if self._profile else {}
        return image

    def _array_of(self, decoded: Image.Image) -> np.ndarray:
        """Decoded pixels as uint8 [h, w, 3], made once for all crops."""
        if self._array is None or self._array[0] is not decoded:
            self._array = decoded, np.array(decoded)
        return self._array[1]

    def close(self) -> None:
        """Drop the decoded pixels."""
        self._decoded = self._array = None

    def __enter__(self) -> "Picture":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _file(self) -> Iterator[tuple[Image.Image, Facts]]:
        """The image with its header read and its pixels not yet, and what else the file says of it."""
        if isinstance(self._source, Image.Image):
            yield self._source, Facts(self._source.format)
            return
        with ExitStack() as opened:
            with self._reading():
                file = opened.enter_context(_open_bytes(self._source))
                state = _state_of(file)
                if self._state not in (None, state):
                    raise InputError("changed while it was being read")
                self._state = state
                image, facts = reading.opened(file, self._max_pixels)
                opened.enter_context(image)
            yield image, facts

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """What Pillow's readers and decoders raise inside is an InputError; nothing else may happen in here."""
        try:
            yield
        except InputError:
            raise
        # Damaged files make them raise nearly anything: OSError, SyntaxError, struct.error, ...
        except Exception as error:
            raise InputError(_reason(error, getattr(self, "format", None))) from error

    def _decode(self, largest_scale: int) -> tuple[Image.Image, int]:
        """The pixels as stored, made smaller by the JPEG decoder at most that many times, and how many times."""
        width, height = self._stored_wh
        scale = next(scale for scale in (8, 4, 2, 1) if scale <= largest_scale)
        with self._file() as (image, facts):
            if image.size != self._stored_wh:
                raise InputError("changed while it was being read")
            with self._reading():
                if scale == 1 or not self._has_scales:
                    scale = 1
                elif image.draft(None, (width // scale, height // scale)) is None:
                    scale = 1
                loaded = reading.loaded(image, facts)
                self.metadata = metadata.read(loaded.image)
                if facts.first_says is not None:
                    self.metadata = metadata.joined(facts.first_says, self.metadata)
            self.notes = tuple(dict.fromkeys(self.notes + loaded.notes))
            image = reading.in_known_colours(loaded, facts)
            image = pixels.natural(image)
            self._profile = image.info.get("icc_profile")
            self.ground = self.ground or pixels.ground_for(image)
            return image, scale

    @property
    def _has_scales(self) -> bool:
        """Whether the decoder can make the picture smaller."""
        # An image that the caller opened is not ours to draft: the caller would find it smaller.
        return self.format == "JPEG" and not isinstance(self._source, Image.Image)

    def _upright(self, image: Image.Image) -> Image.Image:
        method = _UPRIGHT.get(self._orientation)
        return image if method is None else image.transpose(method)

    def _turned(self, width: int, height: int) -> tuple[int, int]:
        """A size as stored from the size upright, and the other way round."""
        return (height, width) if self._orientation >= 5 else (width, height)

    def _stored_box(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """A box of the upright picture, in the pixels as the file has them."""
        width, height = self._stored_wh
        x1, y1, x2, y2 = box
        if self._orientation >= 5:
            x1, y1, x2, y2 = y1, x1, y2, x2
        if self._orientation in (2, 3, 7, 8):
            x1, x2 = width - x2, width - x1
        if self._orientation in (3, 4, 6, 7):
            y1, y2 = height - y2, height - y1
        return x1, y1, x2, y2


def _open_bytes(source: Path | bytes) -> BinaryIO:
    file: BinaryIO
    if isinstance(source, bytes):
        size, file = len(source), io.BytesIO(source)
    else:
        info = os.stat(source)
        if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
            raise InputError("not a regular file")  # opening a pipe would wait for a writer
        size, file = info.st_size, open(source, "rb")
    if size == 0:
        file.close()
        raise InputError("empty file")
    return file


def _state_of(file: BinaryIO) -> tuple[int, int] | None:
    """What tells a file from one that has taken its place: its size, and when it was written. None: it is in memory."""
    if isinstance(file, io.BytesIO):
        return None
    info = os.fstat(file.fileno())
    return info.st_size, info.st_mtime_ns


def _reason(error: Exception, format: str | None) -> str:
    """What to tell the user, on one line."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, Image.DecompressionBombError):
        return f"over Pillow's limit of {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels (PIL.Image.MAX_IMAGE_PIXELS)"
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()  # "permission denied", "is a directory"
    text = " ".join(str(error).split()) or type(error).__name__
    if "MAX_TEXT" in text:
        return "too much text in its metadata"
    if any(word in text.lower() for word in _NOT_SUPPORTED):
        return f"this kind of {format or 'picture'} is not supported: {text}"
    return f"{'truncated' if 'truncated' in text.lower() else 'damaged'} {format or 'picture'}: {text}"


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it makes no sense."""
    file = getattr(image, "fp", None)  # None: decoded already
    if image.format == "TIFF" and file is not None:
        return 1  # Pillow turns TIFF upright itself as it decodes
    info = image.info
    try:
        if image.format == "PNG" and "exif" not in info and file is not None:
            image.info = info | {"exif": _png_exif(file)}
        # The base class's method: the one for PNG decodes the pixels first.
        value = Image.Image.getexif(image).get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF, see Picture._file: show the pixels as they are stored
        return 1
    finally:
        image.info = info  # it may be the caller's
    return value if value in range(1, 9) else 1


def _png_exif(file: BinaryIO) -> bytes | None:
    """The eXIf chunk of a PNG, which may stand behind the pixels; leaves the file where it was."""
    position = file.tell()
    try:
        file.seek(8)  # behind the signature
        while len(header := file.read(8)) == 8:
            length, kind = int.from_bytes(header[:4], "big"), header[4:]
            if kind == b"eXIf":
                return file.read(length)
            file.seek(length + 4, os.SEEK_CUR)  # and the checksum
        return None
    finally:
        file.seek(position)
