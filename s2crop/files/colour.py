"""What colours a file's numbers stand for where no profile says so: code points (ITU-T H.273), chromaticities, gamma.

A picture whose colours are wide but not bright keeps its pixels and is given a small profile that tells them. One in PQ
or HLG (ITU-R BT.2100), which no screen that web pages are looked at on shows as it is, is tone-mapped to sRGB.
"""

import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO

import numpy as np
from PIL import Image

from s2crop.files import iso

PQ, HLG = 16, 18  # transfer characteristics
WHITE_NITS = 203.0  # of diffuse white in HDR pictures: ITU-R BT.2408
_PEAK_NITS = 1000.0  # of the screen that HLG is meant for; brighter PQ is squeezed into the same range
_KNEE = 0.75  # of white: what is darker stays as it is
_ROWS = 64  # at once, so that the arithmetic in floating point takes little memory

# Colour primaries -> x and y of red, green, blue; all of them have the white D65.
_PRIMARIES = {
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060),  # BT.709, sRGB
    5: (0.640, 0.330, 0.290, 0.600, 0.150, 0.060),  # BT.601 with 625 lines
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # BT.601 with 525 lines
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
_UNSEEN = 0.011  # of chromaticities: as much as BT.601 with 625 lines differs from sRGB
_D65 = (0.3127, 0.3290)
_D50_XYZ = (0.9642, 1.0, 0.8249)
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}  # transfer characteristics that are powers
# BT.709 and its like are meant for screens, as sRGB is, and are shown by its curve by browsers.


@dataclass(frozen=True)
class Coding:
    """How the numbers of a picture were made from light."""

    primaries: tuple[float, ...]  # x and y of red, green and blue
    gamma: float | None = None  # None: the curve of sRGB
    hdr: int | None = None  # PQ or HLG

    @property
    def is_srgb(self) -> bool:
        """Whether this is what is assumed of pictures that say nothing."""
        near = max(abs(a - b) for a, b in zip(self.primaries, _PRIMARIES[1], strict=True)) < _UNSEEN
        return near and self.hdr is None and (self.gamma is None or abs(self.gamma - 2.2) < 0.05)


def from_code_points(primaries: int, transfer: int) -> Coding | None:
    """The coding that two code points stand for; None for sRGB and for what is not known."""
    hdr = transfer if transfer in (PQ, HLG) else None
    chromaticities = _PRIMARIES.get(primaries, _PRIMARIES[9 if hdr else 1])
    coding = Coding(chromaticities, _GAMMAS.get(transfer), hdr)
    return None if coding.is_srgb else coding


def coding_of_png(file: BinaryIO) -> Coding | None:
    """What the chunks cICP, or else gAMA and cHRM, of a PNG say; a profile or sRGB chunk goes before the latter.

    The file is left where it was.
    """
    chunks = dict(_png_chunks(file))
    if len(points := chunks.get(b"cICP", b"")) == 4 and points[2] == 0:
        return from_code_points(points[0], points[1])
    if b"sRGB" in chunks or b"iCCP" in chunks:
        return None
    gamma, primaries = None, _PRIMARIES[1]
    if len(value := chunks.get(b"gAMA", b"")) == 4 and (stored := struct.unpack(">I", value)[0]):
        gamma = min(max(100000 / stored, 0.2), 5.0)
    if len(value := chunks.get(b"cHRM", b"")) == 32:
        numbers = tuple(number / 100000 for number in struct.unpack(">8I", value))
        if _makes_sense(numbers):
            primaries = numbers[2:]
    coding = Coding(primaries, gamma)
    return None if coding.is_srgb else coding


def coding_of_boxes(file: BinaryIO) -> Coding | None:
    """What the colour box (nclx) of an AVIF or HEIF says. The file is left where it was."""
    position = file.tell()
    try:
        place = iso.find(file, (b"meta", b"iprp", b"ipco"))
        for kind, at, _ in iso.boxes(file, *place) if place else ():
            if kind == b"colr":
                file.seek(at)
                data = file.read(8)
                if data[:4] == b"nclx" and len(data) == 8:
                    return from_code_points(*struct.unpack(">HH", data[4:]))
        return None
    finally:
        file.seek(position)


def srgb_from_hdr(image: Image.Image | np.ndarray, coding: Coding) -> Image.Image:
    """A picture in PQ or HLG as 8-bit RGB in sRGB; alpha is kept.

    Diffuse white is kept a little below the top of the range and what is brighter is rolled off above it, by the
    brightest of the three colours, so that hues stay.

    Args:
        image: RGB, RGBA, L or LA, or uint16 [H, W, 3 or 4].
    """
    values = np.asarray(
        image if isinstance(image, np.ndarray) or image.mode in ("RGB", "RGBA") else image.convert("RGBA")
    )
    out = np.empty(values.shape, np.uint8)
    top = np.iinfo(values.dtype).max
    table = _light(np.arange(top + 1, dtype=np.float32) / top, coding.hdr)
    matrix = (np.linalg.inv(_xyz_from_rgb(_PRIMARIES[1], _D65)) @ _xyz_from_rgb(coding.primaries, _D65)).astype(
        np.float32
    )
    for row in range(0, len(values), _ROWS):
        block = values[row : row + _ROWS]
        light = table[block[..., :3]]
        if coding.hdr == HLG:
            light = _hlg_on_screen(light)
        light = np.maximum(light @ matrix.T, 0.0)
        brightest = light.max(axis=-1, keepdims=True)
        light *= _rolled_off(brightest) / np.maximum(brightest, 1e-6)
        out[row : row + _ROWS, ..., :3] = np.rint(_srgb_curve(light) * 255)
        if values.shape[-1] == 4:
            out[row : row + _ROWS, ..., 3] = np.rint(block[..., 3] * (255.0 / top))
    return Image.fromarray(out)


def profile_of(coding: Coding) -> bytes:
    """A small colour profile (ICC.1:2010, version 4) for a coding that is not HDR."""
    return _profile(coding.primaries, coding.gamma)


@cache
def _profile(primaries: tuple[float, ...], gamma: float | None) -> bytes:
    white = np.array(_xyz_of(*_D65))
    adapted = _adaptation(white, np.array(_D50_XYZ))
    columns = adapted @ _xyz_from_rgb(primaries, _D65)
    if gamma is None:  # g a b c d of the curve of sRGB
        curve = b"para" + struct.pack(
            ">IHH5i", 0, 3, 0, *map(_fixed, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
        )
    else:
        curve = b"para" + struct.pack(">IHHi", 0, 0, 0, _fixed(gamma))
    tags = {
        b"desc": _text("RGB"),
        b"cprt": _text("CC0"),
        b"wtpt": _xyz_tag(_D50_XYZ),
        b"chad": b"sf32" + struct.pack(">I9i", 0, *map(_fixed, adapted.ravel())),
        **{name: _xyz_tag(columns[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))},
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    places: dict[bytes, int] = {}  # the three curves are stored once
    table, data, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        if tag not in places:
            places[tag] = start + len(data)
            data += tag + bytes(-len(tag) % 4)
        table += struct.pack(">4sII", name, places[tag], len(tag))
    header = struct.pack(
        ">I4xI4s4s4s6H4s", start + len(data), 0x04300000, b"mntr", b"RGB ", b"XYZ ", 2020, 1, 1, 0, 0, 0, b"acsp"
    )
    header += bytes(68 - len(header)) + struct.pack(">3i", *map(_fixed, _D50_XYZ))
    return header + bytes(128 - len(header)) + table + data


def _light(signal: np.ndarray, transfer: int | None) -> np.ndarray:
    """Of PQ the light on the screen, of HLG that of the scene, diffuse white of PQ being 1."""
    if transfer == PQ:
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = signal.astype(np.float64) ** (1 / m2)
        return (10000 / WHITE_NITS * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12).astype(np.float32)


def _hlg_on_screen(scene: np.ndarray) -> np.ndarray:
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593], np.float32)
    return scene * (_PEAK_NITS / WHITE_NITS * np.maximum(luminance, 1e-6) ** 0.2)[..., None]


def _rolled_off(light: np.ndarray) -> np.ndarray:
    """Up to the knee as it is, from there to the peak along a bow that ends at 1."""
    peak = _PEAK_NITS / WHITE_NITS
    # (x + a) * s / (x + b) through the knee, with slope 1 there, and through (peak, 1), as a fraction of what is above
    over = np.clip(light - _KNEE, 0, peak - _KNEE)
    span, room = peak - _KNEE, 1 - _KNEE
    bend = (span - room) / (span * room)
    return np.where(light <= _KNEE, light, _KNEE + over / (1 + bend * over))


def _srgb_curve(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _xyz_of(x: float, y: float) -> tuple[float, float, float]:
    return x / y, 1.0, (1 - x - y) / y


def _xyz_from_rgb(primaries: tuple[float, ...], white: tuple[float, float]) -> np.ndarray:
    """[3, 3], its columns the XYZ of red, green and blue."""
    columns = np.array([_xyz_of(x, y) for x, y in zip(primaries[::2], primaries[1::2], strict=True)]).T
    return columns * np.linalg.solve(columns, np.array(_xyz_of(*white)))


def _adaptation(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Bradford's."""
    cones = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    return np.linalg.inv(cones) @ np.diag((cones @ target) / (cones @ source)) @ cones


def _makes_sense(numbers: tuple[float, ...]) -> bool:
    """Whether white and primaries can be those of a screen whose white is about D65."""
    if any(not 0 <= x <= 1 or not 0.001 <= y <= 1 for x, y in zip(numbers[::2], numbers[1::2], strict=True)):
        return False
    if math.dist(numbers[:2], _D65) > 0.01:
        return False
    (x1, y1), (x2, y2), (x3, y3) = zip(numbers[2::2], numbers[3::2], strict=True)
    return abs((x2 - x1) * (y3 - y1) - (x3 - x1) * (y2 - y1)) > 0.02


def _fixed(value: float) -> int:
    return round(value * 65536)


def _xyz_tag(xyz: Iterable[float]) -> bytes:
    return b"XYZ " + struct.pack(">I3i", 0, *map(_fixed, xyz))


def _text(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, len(data), 28) + data  # en, US


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The small chunks in front of the pixels."""
    position = file.tell()
    try:
        file.seek(8)
        while len(header := file.read(8)) == 8:
            length, kind = int.from_bytes(header[:4], "big"), header[4:]
            if kind == b"IDAT":
                return
            data = file.read(length) if length <= 64 else b""
            file.seek(length - len(data) + 4, 1)
            yield kind, data
    finally:
        file.seek(position)
