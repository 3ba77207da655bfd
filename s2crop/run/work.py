"""One picture from its source to the bytes of its crops: what runs and the actor for Ray have in common."""

import math
import threading
from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from s2crop import report
from s2crop.choices import DEFAULT_QUALITY, MAX_PIXELS
from s2crop.cropping.request import Crop, CropRequest, left_out
from s2crop.errors import InputError, S2CropError
from s2crop.files import encode, metadata, pad, sizes
from s2crop.files.formats import SAME, output_suffix
from s2crop.files.picture import Picture
from s2crop.files.plan import key_of
from s2crop.files.sizes import Layout, Size
from s2crop.geometry.boxes import object_position
from s2crop.geometry.search import too_narrow
from s2crop.report import Clock, Record, failed
from s2crop.run.job import Job

if TYPE_CHECKING:
    from s2crop.cropping.cropper import Cropper

# One decode serves scoring and output where its pixels are kept between the two and fine enough for the crops. Where
# there is no room left for them, a picture is decoded again to be written, which gives the same crops.
ROOM_BYTES = 24 << 20  # for each of the jobs and of the pictures of a batch: 12 megapixels, halved, take 12 MB
LEAST_ROOM = 400 << 20  # two HEICs of 48 megapixels, which take seconds to decode, and nothing makes them smaller
# Pictures scored at once. A processor gains nothing from more: their maps leave its caches, and at the start and the
# end of a run some cores wait for a batch to fill or to be scored. 60 photos of 12 megapixels on two cores, with other
# work beside them at low priority: 8.2 pictures/s in batches of 8 and 10.7 in batches of 2 (medians of six runs),
# about 9.5 in batches of 4 or 1.
BATCH, BATCH_ON_CPU = 8, 2


@dataclass(frozen=True)
class BatchOptions:
    """How a run crops and writes.

    Raises:
        ValueError: a value that makes no sense for any picture.
    """

    request: CropRequest
    jobs: int = 1  # threads that decode, crop, encode and write
    batch_size: int | None = None  # pictures scored at once; None for what is fastest on the cropper's device
    max_pixels: int = MAX_PIXELS
    sizes: tuple[Size, ...] = ()  # exact output sizes, each of every crop whose ratio it fits; none: as the crop is
    no_upscale: bool = False
    quality: int = DEFAULT_QUALITY
    metadata: str = "rights"  # what outputs keep of it: see `files.metadata.kept`
    colour: str = "auto"  # what becomes of profiles: see `files.pixels.managed`
    ground: str | None = None  # the colour that transparency lies on; None for what shows the picture
    pad_with: str = pad.BLUR  # what pads are filled with: see `files.pad.padded`
    weights: str | None = None  # what tells the cropper's weights from the shipped ones
    proposals: str = "auto"  # the cropper's
    overwrite: bool = False  # whatever is there; otherwise what is done is skipped, see `run.resume`
    skip_existing: bool = False  # whatever is there and whole is left
    dry_run: bool = False
    protected: Container[Path] = frozenset()  # resolved paths that must not be written: the inputs
    folder: Path | None = None  # links lead no output out of it
    stream: BinaryIO | None = None  # where an output planned as STDOUT goes
    stream_format: str = SAME  # its format, which no file name tells
    overlay_proposals: bool = False  # overlays show the proposals too
    thumbnails: bool = False  # for a sheet
    spell: Callable[[str], str] = str  # how an option is called in what is reported
    covers: int = 1  # of each clip, at most
    start_s: float | None = None  # span of clips that covers come from
    end_s: float | None = None
    scan: str = "auto"  # how clips are looked through: see `s2crop.video.scan`

    def __post_init__(self) -> None:
        for name, given, most in (("quality", self.quality, 100), ("max_pixels", self.max_pixels, math.inf)):
            if not isinstance(given, Integral) or not 1 <= int(given) <= most:
                to = "" if most == math.inf else f" to {most}"
                raise ValueError(f"{name} is a whole number from 1{to}, not {given!r}")
        if not isinstance(self.no_upscale, bool):
            raise ValueError(f"no_upscale is True or False, not {self.no_upscale!r}")

    @property
    def circle(self) -> bool:
        """Crops are cut to their inscribed circles."""
        return self.request.circle

    @property
    def clear(self) -> bool:
        """Outputs need transparency."""
        return self.circle or self.pad_with == pad.TRANSPARENT


class Room:
    """Bytes that threads share."""

    def __init__(self, size: int):
        self._size = self._left = size
        self._was_refused = False
        self._lock = threading.Lock()

    @property
    def half_is_left(self) -> bool:
        """Whether no more than half is taken, and nobody asked for more than there was."""
        return 2 * self._left > self._size and not self._was_refused

    def take(self, size: int) -> bool:
        """Take this much if it is left."""
        with self._lock:
            if size > self._left:
                self._was_refused = True
                return False
            self._left -= size
            return True

    def give(self, size: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._left += size


def batch_size_on(device: str) -> int:
    """How many pictures are scored at once unless told otherwise."""
    return BATCH_ON_CPU if device == "cpu" else BATCH


def ends_a_run(error: Exception) -> bool:
    """Whether the cropper itself cannot go on, as when its device is lost; else the error is of one picture."""
    return isinstance(error, S2CropError) and not isinstance(error, InputError)


def rank(
    cropper: "Cropper",
    jobs: Sequence[Job],
    request: CropRequest,
    around: Callable[[], AbstractContextManager] = nullcontext,
    on_error: Callable[[], None] = lambda: None,
) -> list[list[Crop] | Exception]:
    """Ranked crops of each prepared picture, or what went wrong with it.

    Args:
        around: entered around the cropper's work.
        on_error: called when it raised, before the error is taken for a picture's; may raise.
    Raises:
        S2CropError: one that ends a run.
    """
    try:
        with around():
            return list(cropper.rank([job.ready for job in jobs], request))
    except Exception as error:
        on_error()
        if ends_a_run(error):
            raise
        if len(jobs) == 1:
            return [error]
    # One bad picture, or a batch too big for the device's memory: the others may do alone.
    return [crops for job in jobs for crops in rank(cropper, [job], request, around, on_error)]


class Work:
    """What happens to one picture, whoever it is done for.

    Args:
        pictures: how many are on their way at once; decoded pixels that are kept take `ROOM_BYTES` for each, or
            `LEAST_ROOM` in all.
    """

    def __init__(self, cropper: "Cropper", options: BatchOptions, pictures: int, clock: Clock):
        self._cropper, self._options, self._clock = cropper, options, clock
        self._ratios = {ratio.label: ratio for ratio in options.request.ratios}
        self._room = Room(max(LEAST_ROOM, ROOM_BYTES * pictures))

    def more_room(self, pictures: int) -> None:
        """Let pixels be kept for so many pictures more."""
        self._room.give(ROOM_BYTES * pictures)

    @property
    def has_room(self) -> bool:
        """Whether half of the room for pixels is left."""
        return self._room.half_is_left

    def record(self, job: Job, **more: Any) -> Record:
        size: dict[str, Any] = {"width": job.picture.width, "height": job.picture.height} if job.picture else {}
        whose: dict[str, Any] = {"model": self._cropper.model, "device": self._cropper.device}
        return Record(**{"input": job.source.name, "status": report.ERROR} | size | whose | job.about | more)

    def failed(self, record: Record, error: BaseException) -> Record:
        """The record of a failure."""
        return failed(record, error, self._options.spell)

    def load(self, job: Job) -> None:
        """Open a picture, decode it as far as scoring needs, and keep the pixels for the crops if there is room."""
        with self._clock("decode"):
            picture = self.open(job)
            prepared = self._cropper.prepare(picture, keep=not self._options.dry_run)
        job.picture, job.prepared, job.scale = picture, prepared, picture.decoded_scale
        if self._options.dry_run or not self._room.take(picture.decoded_bytes):
            picture.close()
        job.room = picture.decoded_bytes

    def open(self, job: Job) -> Picture:
        source = job.source.path if job.contents is None else job.contents
        assert source is not None
        return Picture.open(source, max_pixels=self._options.max_pixels, ground=self._options.ground)

    def drop_pixels(self, job: Job) -> None:
        """Make room: the pixels of this picture are not needed any more, nor its maps."""
        if job.picture is not None:
            job.picture.close()
        job.heatmaps = []
        self._room.give(job.room)
        job.room = 0

    def each(self, job: Job, crops: Sequence[Crop], make: Callable[[Record], Record]) -> list[Record]:
        """A record of each crop of a picture in each size, up to where the picture itself turns out to be damaged;
        before them one of each ratio of which no crop holds what is required.

        Args:
            make: what is done with a crop: its record, with box, pads, size and score, in and out.
        """
        records: list[Record] = []
        if job.boxes is None:
            for ratio in left_out(self._options.request, crops):
                records.append(self.failed(self.record(job, ratio=ratio.label), too_narrow(ratio.label)))
        # Of all crops, also those that are there already: what is written does not depend on how far a run came before.
        boxes = [(crop.ratio, crop.box, crop.padded) for crop in crops]
        needed = sizes.needed_scale(boxes, self._ratios, self._options.sizes, self._options.no_upscale)
        job.scale = min(job.scale, needed)
        for crop, size in [(one, size) for one in crops for size in self._sizes_of(one.ratio)]:
            box = tuple(int(edge) for edge in crop.box)
            score = float(crop.score)
            output = job.plan.crops.get(key_of(crop.ratio, crop.rank, size))
            position = object_position(box, (job.opened.width, job.opened.height))
            record = self.record(
                job, ratio=crop.ratio, rank=crop.rank, box=box, output=None if output is None else str(output),
                cut=crop.cut, lost=crop.lost, focus=crop.focus, object_position=position, padded=crop.padded, size=size,
            )  # fmt: skip
            try:
                if job.boxes is None:
                    if not math.isfinite(score):
                        raise InputError("the score is not a number")
                    record = replace(record, score=score, worth=crop.worth)
                records.append(make(record))
            except BrokenPipeError:
                raise  # the stream's; files give OutputError
            except Exception as error:
                records.append(self.failed(record, error))
                if isinstance(error, InputError):  # all others of it would end the same way
                    job.broken = True
                    break
        return records

    def sized(self, record: Record) -> Record:
        """The record of a crop, whose pads are as the crop has them, with the size and the pads of its output."""
        (width, height), _, padded = self._layout(record)
        return replace(record, output_width=width, output_height=height, padded=padded)

    def suffix(self, job: Job, fmt: str) -> str:
        """Of outputs that have no name, in a format asked for; a clip's frame, which is no file, counts as a JPEG."""
        return output_suffix(job.opened.format or "JPEG", fmt, self._options.clear)

    def encoded(
        self, job: Job, record: Record, suffix: str, check: Callable[[], None] = lambda: None, software: str = ""
    ) -> bytes:
        """A crop cut, resized, padded and encoded.

        Args:
            record: of the crop, whose pads are as the crop has them.
            software: the mark of what made it.
            check: called between the steps; may raise.
        """
        assert record.box is not None
        with self._clock("decode"):
            job.opened.decode(job.scale)
        with self._clock("crop and resize"):
            image = pad.cut(job.opened, record.box, self._layout(record), self._options.pad_with)
        check()
        with self._clock("encode"):
            return encode.encode(
                image,
                suffix,
                self._options.quality,
                circle=self._options.circle,
                colour=self._options.colour,
                ground=job.opened.ground or "white",
                kept=metadata.kept(job.opened.metadata, self._options.metadata, image.size),
                software=software,
            )

    def _sizes_of(self, ratio: str) -> Sequence[str | None]:
        """The sizes that crops of a ratio are made in, as their records call them."""
        if len(self._options.sizes) < 2:
            return (None,)
        return tuple(map(str, sizes.sizes_of(self._options.sizes, self._ratios[ratio])))

    def _layout(self, record: Record) -> Layout:
        """How the output of a crop is made up."""
        assert record.box is not None and record.ratio is not None
        options = self._options
        asked = [size for size in options.sizes if record.size in (None, str(size))]
        ratio = self._ratios[record.ratio]
        return sizes.layout(record.box, record.padded, asked[0] if asked else None, options.no_upscale, ratio)
