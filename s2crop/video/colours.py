"""From a clip's own colours to the sRGB that pictures have."""

import re

import numpy as np

from s2crop.video.probe import Stream

HDR_TRANSFERS = ("smpte2084", "arib-std-b67")  # PQ and HLG, ITU-R BT.2100


def has_alpha(stream: Stream) -> bool:
    return re.match(r"yuva|rgba|bgra|argb|abgr|gbrap|ya8|ya16|pal8|ayuv|vuya|uyva", stream.pixel_format) is not None


def _on_white(frame: np.ndarray) -> np.ndarray:
    """[h, w, 4] laid on white, [h, w, 3], as transparent pictures are."""
    alpha = frame[..., 3:].astype(np.uint16)
    return ((frame[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def rgb(data: bytearray, size_wh: tuple[int, int]) -> np.ndarray:
    """The pixels of a frame, uint8 [h, w, 3]."""
    frame = np.frombuffer(data, np.uint8).reshape(size_wh[1], size_wh[0], -1)
    return _on_white(frame) if frame.shape[2] == 4 else frame


def tone_mapping(stream: Stream) -> str:
    """Filters from PQ or HLG to the same picture in the range of sRGB."""
    matrix = "bt2020nc" if stream.matrix == "unknown" else stream.matrix
    primaries = "bt2020" if stream.primaries == "unknown" else stream.primaries
    return (
        f"zscale=transferin={stream.transfer}:matrixin={matrix}:primariesin={primaries}:transfer=linear:npl=203,"
        "format=gbrpf32le,zscale=primaries=bt709,tonemap=tonemap=mobius:desat=0,"
        "zscale=transfer=iec61966-2-1:range=full,format=gbrp"
    )
