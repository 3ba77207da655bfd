"""What a run tells: one record for each crop and each failed input, and the line at its end."""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from s2crop.choices import FOLDER, OWN_OUTPUT
from s2crop.errors import S2CropError

if TYPE_CHECKING:
    from s2crop.cropping.request import Thing  # which takes Pillow along

WRITTEN, SKIPPED, PLANNED, ERROR = "written", "skipped", "planned", "error"

_MOST_SUFFIXES = 6  # that the line at the end tells of

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One crop, or one input that failed. The fields, in this order, are the keys of a JSON line."""

    input: str
    type: str = "image"
    width: int | None = None  # of the upright picture; None where it was not opened
    height: int | None = None
    time_s: float | None = None  # videos only
    cover_rank: int | None = None  # videos only
    ratio: str | None = None
    rank: int | None = None  # 1 is the best of its ratio
    box: tuple[int, int, int, int] | None = None  # x1, y1, x2, y2 in pixels of the upright picture; x2, y2 exclusive
    score: float | None = None  # MOS scale, 1 to 5
    output: str | None = None
    output_width: int | None = None
    output_height: int | None = None
    status: str
    error: str | None = None
    model: str | None = None
    device: str | None = None
    worth: float | None = None  # what crops of a picture are ranked by; never rises with the rank
    cover_score: float | None = None  # what covers of a clip are ranked by; never rises with the cover's rank
    cut: "Sequence[Thing] | None" = None  # protected things that the crop cuts through; None where it was not looked at
    lost: "Sequence[Thing] | None" = None  # protected things that it leaves out
    focus: tuple[float, float] | None = None  # where in the picture the crop's subject is, in fractions
    object_position: str | None = None  # the crop for CSS: "42% 37%"
    # left, top, right, bottom: what is filled up around the crop, in pixels of the output; None where nothing is
    padded: tuple[int, int, int, int] | None = None
    size: str | None = None  # as it was asked for, where several were; no key otherwise
    source: str | None = None  # "art": a picture attached to a video or to sound, no frame of it; no key otherwise

    @property
    def is_enlarged(self) -> bool:
        """Whether the output has more pixels than the crop in either direction."""
        if self.box is None or self.output_width is None or self.output_height is None:
            return False
        x1, y1, x2, y2 = self.box
        left, top, right, bottom = self.padded or (0, 0, 0, 0)
        return self.output_width - left - right > x2 - x1 or self.output_height - top - bottom > y2 - y1

    def to_json(self) -> str:
        """One line of strict JSON in ASCII: a file name that is not UTF-8 comes back from it as it was."""
        rounded: dict[str, object] = {
            name: _rounded(getattr(self, name), 4) for name in ("score", "worth", "cover_score")
        }
        rounded |= {"time_s": _rounded(self.time_s, 3), "cut": _listed(self.cut), "lost": _listed(self.lost)}
        if self.focus is not None:
            rounded["focus"] = [_rounded(share, 4) for share in self.focus]
        told = asdict(self) | rounded
        for name in ("size", "source"):
            if told[name] is None:
                del told[name]
        return json.dumps(told, allow_nan=False)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)


def _listed(things: "Sequence[Thing] | None") -> list[dict] | None:
    return None if things is None else [{"kind": kind, "box": list(box)} for kind, box in things]


def one_line(text: str) -> str:
    r"""The text with line breaks and whatever else does not print escaped: "a\nb.jpg"."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def failed(record: Record, error: BaseException, spell: Callable[[str], str] = str) -> Record:
    """The record of a failure, with one line of reason; the traceback of a bug goes to the log.

    Args:
        spell: how the caller calls an option.
    """
    if isinstance(error, S2CropError):
        reason = error.spelled(spell)
    elif isinstance(error, MemoryError):
        reason = "not enough memory"
    elif isinstance(error, OSError) and error.strerror:
        reason = f"{error.strerror.lower()}{'' if error.filename is None else f': {error.filename}'}"
        log.debug("%s: %s", one_line(record.input), reason, exc_info=error)
    else:
        reason = f"internal error: {type(error).__name__}: {error}"
        log.debug("%s: %s", one_line(record.input), reason, exc_info=error)
    return replace(record, status=ERROR, error=one_line(reason))


class Clock:
    """Seconds that a run spends in each stage: of the calling thread, or of all its workers together."""

    CALLER = "score", "waiting"
    WORKERS = "decode", "crop and resize", "encode", "write", "overlay and thumbnails"

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(self.CALLER + self.WORKERS, 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count what happens inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[stage] += time.perf_counter() - started

    def text(self, threads: int) -> str:
        """ "8.1 s score, 3.9 s waiting; on 2 threads 10.2 s decode, ..." without the stages that took no time."""
        parts = []
        for stages in (self.CALLER, self.WORKERS):
            parts.append(", ".join(f"{self.seconds[stage]:.1f} s {stage}" for stage in stages if self.seconds[stage]))
        return f"{parts[0] or '0 s'}; on {_count(threads, 'thread')} {parts[1] or '0 s'}"


@dataclass
class Summary:
    """Counts of a run."""

    total: int = 0  # pictures and clips asked for
    pictures: int = 0  # done, the failed ones, those skipped and clips too
    clips: int = 0  # of these
    cropped: int = 0  # pictures with a crop that is new
    crops: dict[str, int] = field(default_factory=lambda: dict.fromkeys((WRITTEN, SKIPPED, PLANNED), 0))
    enlarged: int = 0  # crops that are new, to the size asked for
    failed: int = 0  # pictures
    seconds: float = 0.0
    clock: Clock = field(default_factory=Clock)
    passed_over: Counter[str] = field(default_factory=Counter)  # files in folders that are not read, by suffix
    left_out: str = ""  # what of a list of boxes was not used

    def add(self, records: Sequence[Record], seconds: float) -> None:
        """Count a picture, by its records, that was done this long after the start."""
        statuses = [record.status for record in records]
        for status in self.crops:
            self.crops[status] += statuses.count(status)
        self.enlarged += sum(record.is_enlarged for record in records if record.status in (WRITTEN, PLANNED))
        self.pictures += 1
        self.clips += any(record.type == "video" for record in records)
        self.cropped += WRITTEN in statuses or PLANNED in statuses
        self.failed += ERROR in statuses
        self.seconds = seconds

    def text(self) -> str:
        """ "24 pictures, 72 crops written, 0 skipped, 0 failed, 11.2 pictures/s" """
        made = PLANNED if self.crops[PLANNED] else WRITTEN
        pictures = self.pictures - self.clips
        parts = [
            *([_count(pictures, "picture")] if pictures or not self.clips else []),
            *([_count(self.clips, "video")] if self.clips else []),
            f"{_count(self.crops[made], 'crop')} {made}",
            *([f"{self.enlarged} of them enlarged"] if self.enlarged else []),
            f"{self.crops[SKIPPED]} skipped",
            f"{self.failed} failed",
        ]
        if self.passed_over:
            parts.append(passed_over_text(self.passed_over))
        if self.left_out:
            parts.append(self.left_out)
        if self.cropped and self.seconds and not self.clips:  # clips differ too much in length for a rate
            rate = self.cropped / self.seconds
            parts.append(f"{rate:.3g} pictures/s" if rate < 100 else f"{rate:.0f} pictures/s")
        return ", ".join(parts)

    def interrupted_text(self) -> str:
        """How far a run came that was stopped."""
        done = f"{self.pictures} of {_count(self.total, 'input' if self.clips else 'picture')}"
        return f"interrupted after {done}, {_count(self.crops[WRITTEN], 'crop')} written"


def passed_over_text(counts: Counter[str]) -> str:
    """ "passed over 12 .xmp, 3 .pdf, 1 without suffix, 5 outputs of s2crop and 2 folders (--recursive walks them)" """
    folders, own = counts[FOLDER], counts[OWN_OUTPUT]
    files = [item for item in counts.items() if item[0] not in (FOLDER, OWN_OUTPUT)]
    most = sorted(files, key=lambda item: (-item[1], item[0]))
    parts = [f"{number} {one_line(suffix) or 'without suffix'}" for suffix, number in most[:_MOST_SUFFIXES]]
    if rest := sum(number for _, number in most[_MOST_SUFFIXES:]):
        parts.append(f"{rest} others")
    if own:
        parts.append(f"{_count(own, 'output')} of s2crop")
    if folders:
        parts.append(f"{_count(folders, 'folder')} (--recursive walks {'it' if folders == 1 else 'them'})")
    *first, last = parts
    return f"passed over {', '.join(first)} and {last}" if first else f"passed over {last}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
