"""The formats that are read and written, and the suffixes of their files. Nothing is imported here but pathlib."""

from pathlib import Path

# Raster formats only: nothing here starts another program (EPS) or reads a drawing (WMF).
READ_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "QOI")
PICTURE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .avif .gif .bmp .dib .tif .tiff"
    " .ppm .pgm .pbm .pnm .pfm .jp2 .j2k .jpx .qoi .heic .heif".split()
)
VIDEO_SUFFIXES = frozenset(
    ".3g2 .3gp .asf .avi .divx .dv .f4v .flv .m2t .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov .mp4 .mpe .mpeg .mpg"
    " .mts .mxf .nut .ogm .ogv .rm .rmvb .ts .vob .webm .wmv .wtv .y4m".split()
)
ANIMATED_SUFFIXES = frozenset(
    ".gif .webp .png .apng .avif .heic .heif .heics .heifs .avifs".split()
)  # pictures, or clips where covers were asked for
NOT_WALKED = frozenset([".ts"])  # far more often TypeScript than MPEG
# Suffixes whose files are not opened as pictures, and why; Pillow would find no more than a thumbnail in a raw file.
REFUSED = (
    (VIDEO_SUFFIXES, "is a video; s2crop.covers takes pictures from it"),
    (".cr2 .cr3 .nef .arw .dng .orf .rw2 .raf .pef .srw".split(), "is a raw file; develop it first"),
    (".heic .heif".split(), "HEIC is not supported; convert it to JPEG first"),
)

KEPT_SUFFIXES = {  # "same" writes these formats as they are read, and every other as PNG
    ".jpg": ".jpg", ".jpeg": ".jpg", ".jpe": ".jpg", ".jfif": ".jpg", ".mpo": ".jpg",
    ".png": ".png", ".webp": ".webp", ".avif": ".avif",
}  # fmt: skip
ENCODERS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".avif": "AVIF"}
OUTPUT_FORMATS = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png", ".webp": "webp", ".avif": "avif"}
OTHER_SUFFIXES = frozenset(".bmp .gif .heic .heif .jp2 .jfif .pgm .pnm .ppm .qoi .tif .tiff".split())  # read only


def suffix_for_name(name: str, fmt: str, circle: bool) -> str:
    """The suffix of the outputs of a picture of this name.

    "same" keeps JPEG, PNG, WebP and AVIF, and turns the rest, standard input included, into PNG, which loses
    nothing; covers of clips are named "x.jpg". A circle under "same" is never a JPEG, which has no transparency.
    """
    suffix = KEPT_SUFFIXES.get(Path(name).suffix.lower(), ".png") if fmt == "same" else f".{fmt}"
    return ".png" if circle and fmt == "same" and suffix == ".jpg" else suffix


def output_suffix(source_format: str | None, fmt: str, circle: bool) -> str:
    """The same for an input whose format (Pillow's name) is known: for outputs that have no name."""
    return suffix_for_name(f"x.{source_format or ''}", fmt, circle)
