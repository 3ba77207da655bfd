"""Raw frames and their times out of a NUT stream, which is how ffmpeg hands both over in one pipe.

NUT is an open container (https://git.ffmpeg.org/gitweb/nut.git, docs/nut.txt, "NUT Open Container Format").
Other formats that ffmpeg writes to a pipe either lack the times or round them to milliseconds. Raw video, with the
times taken from what ffmpeg's showinfo says on standard error, would do for one output. It does not for two, and
`reader.Video.frames_at` needs two of one decode: a frame at full size, and at the size that its checksum was taken of.
Nothing tells the two apart in a pipe without packets, and ffmpeg gets no second pipe on Windows. Here a time also comes
with its frame, whatever becomes of a message on standard error.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BufferedIOBase

_FILE_ID = b"nut/multimedia container\0"
_MAIN, _STREAM, _SYNC = (bytes.fromhex(code) for code in ("4e4d7a561f5f04ad", "4e5311405bf2f9db", "4e4be4adeeca4569"))
_STARTCODE = ord("N")  # no frame code, but the first byte of a packet's startcode
_LONGEST_HEADER = 1 << 20  # bytes; ffmpeg writes some hundred

# Flags of a frame, table "frame flags".
_CODED_PTS, _STREAM_ID, _SIZE_MSB, _CHECKSUM = 8, 16, 32, 64
_RESERVED, _SIDE_DATA, _HEADER_IDX, _MATCH_TIME = 128, 256, 1024, 2048
_CODED, _INVALID = 4096, 8192


@dataclass
class _FrameCode:
    """What the first byte of a frame stands for."""

    flags: int = _INVALID
    stream: int = 0
    size_mul: int = 0
    size_lsb: int = 0
    pts_delta: int = 0
    reserved: int = 0
    header: int = 0


@dataclass
class _Stream:
    time_base: Fraction
    msb_pts_shift: int
    last_pts: int = 0


class _Bytes:
    """The body of a packet, read from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def read(self, count: int) -> bytes:
        self._at += count
        if self._at > len(self._data):
            raise EOFError
        return self._data[self._at - count : self._at]


def packets(file: BufferedIOBase) -> Iterator[tuple[int, Fraction, bytearray]]:
    """Read packets as they arrive: (index of the stream, presentation time in s, the packet's bytes).

    Raises:
        EOFError: the stream ends in the middle of a packet.
        ValueError: it is not NUT.
    """
    if _exactly(file, len(_FILE_ID)) != _FILE_ID:
        raise ValueError("not a NUT stream")
    time_bases: list[Fraction] = []
    codes: list[_FrameCode] = []
    elided: list[bytes] = []
    streams: dict[int, _Stream] = {}
    while first := file.read(1):
        if first[0] == _STARTCODE:
            startcode = first + _exactly(file, 7)
            body = _packet_body(file)
            if startcode == _MAIN:
                time_bases, codes, elided = _main_header(body)
            elif startcode == _STREAM:
                index, stream = _stream_header(body, time_bases)
                streams[index] = stream
            elif startcode == _SYNC:
                ticks, base = divmod(_v(body), len(time_bases))
                for stream in streams.values():
                    stream.last_pts = int(ticks * time_bases[base] // stream.time_base)
        else:
            yield _frame(file, codes[first[0]], elided, streams)


def _frame(
    file: BufferedIOBase, code: _FrameCode, elided: list[bytes], streams: dict[int, _Stream]
) -> tuple[int, Fraction, bytearray]:
    flags = code.flags
    if flags & _INVALID:
        raise ValueError("damaged NUT stream")
    if flags & _CODED:
        flags ^= _v(file)
    index = _v(file) if flags & _STREAM_ID else code.stream
    stream = streams[index]
    if flags & _CODED_PTS:
        coded, span = _v(file), 1 << stream.msb_pts_shift
        if coded < span:  # the low bits, nearest to the last one
            least = stream.last_pts - (span - 1) // 2
            pts = least + (coded - least) % span
        else:
            pts = coded - span
    else:
        pts = stream.last_pts + code.pts_delta
    size = code.size_lsb + (code.size_mul * _v(file) if flags & _SIZE_MSB else 0)
    if flags & _MATCH_TIME:
        _v(file)
    header = _v(file) if flags & _HEADER_IDX else code.header
    for _ in range(_v(file) if flags & _RESERVED else code.reserved):
        _v(file)
    if flags & _CHECKSUM:
        _exactly(file, 4)
    if flags & _SIDE_DATA:
        raise ValueError("NUT with side data")
    stream.last_pts = pts
    data = bytearray(size)
    start = 0
    if size <= 4096 and elided[header]:  # bytes that many packets begin with are left out of short ones
        start = len(elided[header])
        data[:start] = elided[header]
    if file.readinto(memoryview(data)[start:]) != size - start:
        raise EOFError
    return index, pts * stream.time_base, data


def _packet_body(file: BufferedIOBase) -> _Bytes:
    length = _v(file)
    if length > _LONGEST_HEADER:
        raise ValueError("damaged NUT stream")
    if length > 4096:
        _exactly(file, 4)  # checksum of the length
    return _Bytes(_exactly(file, length))


def _main_header(body: _Bytes) -> tuple[list[Fraction], list[_FrameCode], list[bytes]]:
    """Time bases, the table of frame codes, and the beginnings that are left out of packets."""
    version = _v(body)
    if version > 3:
        _v(body)  # minor version
    _v(body), _v(body)  # number of streams, largest distance of syncpoints
    time_bases = [Fraction(_v(body), _v(body)) for _ in range(_v(body))]
    codes: list[_FrameCode] = []
    pts_delta, size_mul, stream, header = 0, 1, 0, 0
    while len(codes) < 256:
        flags, fields = _v(body), _v(body)
        if fields > 0:
            pts_delta = _s(body)
        if fields > 1:
            size_mul = _v(body)
        if fields > 2:
            stream = _v(body)
        size = _v(body) if fields > 3 else 0
        reserved = _v(body) if fields > 4 else 0
        count = _v(body) if fields > 5 else size_mul - size
        if fields > 6:
            _s(body)  # match time delta
        if fields > 7:
            header = _v(body)
        for _ in range(fields - 8):
            _v(body)
        for i in range(count):
            if len(codes) == _STARTCODE:
                codes.append(_FrameCode())
            codes.append(_FrameCode(flags, stream, size_mul, size + i, pts_delta, reserved, header))
    elided = [b""] + [body.read(_v(body)) for _ in range(_v(body))]
    return time_bases, codes, elided


def _stream_header(body: _Bytes, time_bases: list[Fraction]) -> tuple[int, _Stream]:
    index = _v(body)
    _v(body)  # class
    body.read(_v(body))  # fourcc
    return index, _Stream(time_bases[_v(body)], _v(body))


def _v(file: BufferedIOBase | _Bytes) -> int:
    """An unsigned number: seven bits a byte, the high bit says that more follow."""
    value = 0
    while True:
        byte = _exactly(file, 1)[0]
        value = value << 7 | byte & 127
        if byte < 128:
            return value


def _s(file: BufferedIOBase | _Bytes) -> int:
    """A signed number: 0, 1, -1, 2, -2, ..."""
    value = _v(file) + 1
    return -(value >> 1) if value & 1 else value >> 1


def _exactly(file: BufferedIOBase | _Bytes, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise EOFError
    return data
