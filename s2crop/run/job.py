"""One picture or clip on its way through a run."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2crop.cropping.request import Heatmap, Prepared
from s2crop.errors import OutputError
from s2crop.files.marks import Mark, Origin
from s2crop.files.picture import Picture
from s2crop.files.plan import Plan
from s2crop.files.sources import Source
from s2crop.preview.sheet import Thumbnails
from s2crop.report import Record

if TYPE_CHECKING:
    from s2crop.files.given import Given
    from s2crop.video.covers import Shown
    from s2crop.video.reader import Video


class Todo(Enum):
    """What is to be done about an output."""

    MAKE = "make"  # nothing is there
    REPLACE = "replace"  # what is there may go
    LEAVE = "leave"  # it is done


@dataclass(eq=False)
class Job:
    """One picture or clip on its way, or one cover of it; each stage fills in what the next one needs."""

    index: int
    source: Source
    plan: Plan = field(default_factory=Plan)
    about: dict[str, Any] = field(default_factory=dict)  # what its records say besides
    contents: bytes | None = None  # of the file, where it is not to be opened
    origin: Origin | None = None  # what tells the input, for marks
    given: "Given | None" = None  # the boxes, where none are to be chosen
    boxes: dict[tuple[str, int], tuple[int, ...]] | None = None  # of these, by ratio label and rank; pads behind them
    todo: dict[Path, Todo] = field(default_factory=dict)  # about outputs, as far as it is known
    refused: dict[Path, OutputError] = field(default_factory=dict)  # outputs whose place is another file's
    kept: dict[Path, Mark | None] = field(default_factory=dict)  # marks of those that stay and may show another box
    few: dict[str, int] = field(default_factory=dict)  # crops by ratio label, where there are fewer than asked for
    few_covers: int | None = None  # covers of a clip, where there are fewer than asked for
    progress: float = 0.0  # how much of it was told of
    notes: list[str] = field(default_factory=list)  # to tell the user
    video: "Video | None" = None
    shown: "list[Shown] | None" = None  # key frames of a clip, to be scored
    preparing: Future[list[Record] | None] | None = None
    picture: Picture | None = None
    prepared: Prepared | None = None
    proposals: list[tuple[tuple[float, float, float, float], float, str]] = field(default_factory=list)
    heatmaps: list[Heatmap] = field(default_factory=list)
    scale: int = 1  # how many times smaller the JPEG decoder makes the picture that the crops are cut from
    broken: bool = False  # it cannot be read to the end: nothing more is made of it
    room: int = 0  # bytes of decoded pixels that are kept for the crops
    writing: Future[list[Record]] | None = None
    records: list[Record] | None = None  # set when nothing is left to do
    thumbnails: list[Thumbnails] = field(default_factory=list)

    @property
    def opened(self) -> Picture:
        """The picture, once it was loaded."""
        assert self.picture is not None
        return self.picture

    @property
    def ready(self) -> Prepared:
        """The picture as the network takes it, once it was loaded."""
        assert self.prepared is not None
        return self.prepared
