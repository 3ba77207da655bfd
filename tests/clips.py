"""Clips for tests: frames drawn in code, encoded by imageio-ffmpeg's ffmpeg."""

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np

_BITS = 12  # of the number that a frame carries
H264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "12", "-pix_fmt", "yuv420p")
LOSSLESS = ("-c:v", "ffv1", "-pix_fmt", "bgr0")  # in .mkv: what was drawn comes back to the bit


def run_ffmpeg(*arguments: object, data: Iterable[bytes] = ()) -> None:
    """Run ffmpeg on what is piped into it; a failure raises AssertionError with ffmpeg's own words."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        for piece in data:
            process.stdin.write(piece)
    except BrokenPipeError:
        pass  # it has stopped early, and says why
    _, text = process.communicate()
    assert process.returncode == 0, text.decode(errors="replace")


def numbered(number: int, size_wh: tuple[int, int] = (160, 96)) -> np.ndarray:
    """A frame that shows its number in 12 black or white blocks, two rows of six; uint8 [h, w, 3].

    The rest is a gradient whose colour moves with the number. The blocks survive lossy codecs, scaling and
    moderate changes of colour: `number_of` reads them back.
    """
    width, height = size_wh
    y, x = np.mgrid[0:height, 0:width]
    frame = np.stack([255 * x / width, 255 * y / height, (x + y + 8 * number) % 256], axis=-1).astype(np.uint8)
    for bit in range(_BITS):
        rows, columns = _block(bit, height, width)
        frame[rows, columns] = 255 if number >> bit & 1 else 0
    return frame


def number_of(frame: np.ndarray) -> int:
    """The number that a frame made by `numbered` carries, at any scale."""
    height, width = frame.shape[:2]
    number = 0
    for bit in range(_BITS):
        rows, columns = _block(bit, height, width)
        block = frame[rows, columns]
        margin_y, margin_x = block.shape[0] // 4, block.shape[1] // 4
        inside = block[margin_y : block.shape[0] - margin_y, margin_x : block.shape[1] - margin_x]
        number |= int(inside.mean() > 127) << bit
    return number


def write_clip(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    fps: float | str = 25,
    times_s: Sequence[float] | None = None,
    codec: Sequence[str] = H264,
    filters: str | None = None,
    options: Sequence[object] = (),
) -> Path:
    """Encode frames, uint8 [h, w, 3] of one size, to the container that the suffix of `path` names.

    Args:
        fps: frame rate, constant.
        times_s: presentation time of each frame instead, for variable rates; kept to 1/90000 s where the container can.
        codec: encoder and pixel format.
        filters: an ffmpeg filter chain applied to the frames.
        options: further output options.
    """
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", fps, "-i", "pipe:0"]
    chain = [filters] if filters else []
    timing = []
    if times_s is not None:
        ticks = "+".join(f"{round(90000 * time)}*eq(N,{i})" for i, time in enumerate(times_s))
        chain += ["settb=1/90000", f"setpts='{ticks}'"]
        timing = ["-fps_mode", "passthrough", "-enc_time_base", "1/90000"]
        if Path(path).suffix in (".mp4", ".mov"):
            timing += ["-video_track_timescale", "90000"]
    chain = ["-vf", ",".join(chain)] if chain else []

    def data() -> Iterable[bytes]:
        yield first.tobytes()
        for frame in frames:
            yield frame.tobytes()

    run_ffmpeg(*source, *chain, *codec, *timing, *options, path, data=data())
    return Path(path)


def numbered_clip(path: Path, count: int = 25, *, size_wh: tuple[int, int] = (160, 96), **options) -> Path:
    """A clip of frames numbered from 0; options as for `write_clip`."""
    return write_clip(path, (numbered(i, size_wh) for i in range(count)), **options)


def lavfi_clip(path: Path, source: str, *options: object) -> Path:
    """A clip from one of ffmpeg's own sources, such as "testsrc2=size=320x180:rate=25:duration=2"."""
    run_ffmpeg("-f", "lavfi", "-i", source, *(options or H264), path)
    return Path(path)


def _block(bit: int, height: int, width: int) -> tuple[slice, slice]:
    """Where a bit is drawn: six across, two down, in the upper half."""
    row, column = divmod(bit, _BITS // 2)
    top, left = height // 16, width // 16
    block_height, block_width = height // 5, (width - 2 * left) // (_BITS // 2)
    y, x = top + row * block_height, left + column * block_width
    return slice(y, y + block_height), slice(x, x + block_width)
