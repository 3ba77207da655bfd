"""One picture on its way: opened, prepared for scoring, and, once its crops are known, cut, encoded and written."""

import logging
import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

from s2crop.choices import DEFAULT_QUALITY, MAX_PIXELS
from s2crop.cropping.request import Crop, CropRequest, Heatmap, Prepared
from s2crop.errors import InputError
from s2crop.files import encode, pixels, sizes, write
from s2crop.files.formats import output_suffix
from s2crop.files.names import STDOUT, Plan
from s2crop.files.picture import Picture
from s2crop.files.sources import Source
from s2crop.preview import heatmap, overlay, sheet
from s2crop.preview.overlay import Outline
from s2crop.preview.sheet import Thumbnail, Thumbnails
from s2crop.run import report
from s2crop.run.report import Clock, Record, failed

if TYPE_CHECKING:
    from s2crop.cropping.cropper import Cropper
    from s2crop.video.covers import Shown
    from s2crop.video.reader import Video

# One decode serves scoring and output where its pixels are kept between the two. Where there is no room left for
# them, a picture is decoded again to be written, which gives the same crops.
_ROOM_BYTES = 24 << 20  # for each of the jobs and of the pictures of a batch: 12 megapixels, halved, take 12 MB

Box = tuple[int, int, int, int]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchOptions:
    """How a run crops and writes."""

    request: CropRequest
    jobs: int = 1  # threads that decode, crop, encode and write
    batch_size: int | None = None  # pictures scored at once; None for what is fastest on the cropper's device
    max_pixels: int = MAX_PIXELS
    size: sizes.Size | None = None  # exact output size
    no_upscale: bool = False
    circle: bool = False
    quality: int = DEFAULT_QUALITY
    overwrite: bool = False  # otherwise an output that exists is skipped
    dry_run: bool = False
    protected: frozenset[Path] = frozenset()  # resolved paths that must not be written: the inputs
    folder: Path | None = None  # links lead no output out of it
    stream: BinaryIO | None = None  # where an output planned as STDOUT goes
    stream_format: str = "same"  # its format, which no file name tells
    overlay_proposals: bool = False  # overlays show the proposals too
    thumbnails: bool = False  # for a sheet
    covers: int = 1  # of each clip, at most
    start_s: float | None = None  # span of clips that covers come from
    end_s: float | None = None
    scan: str = "auto"  # how clips are looked through: see `s2crop.video.scan`


class Stopped(BaseException):
    """Raised in a worker that is to go no further."""


@dataclass(eq=False)
class Job:
    """One picture or clip on its way, or one cover of it; each stage fills in what the next one needs."""

    index: int
    source: Source
    plan: Plan
    about: dict[str, object] = field(default_factory=dict)  # what its records say besides
    progress: float = 0.0  # how much of it was told of
    notes: list[str] = field(default_factory=list)  # to tell the user
    video: "Video | None" = None
    shown: "list[Shown] | None" = None  # key frames of a clip, to be scored
    preparing: Future[list[Record] | None] | None = None
    picture: Picture | None = None
    prepared: Prepared | None = None
    proposals: list[tuple] = field(default_factory=list)
    heatmaps: list[Heatmap] = field(default_factory=list)
    scale: int = 1  # how many times smaller the JPEG decoder makes the picture that the crops are cut from
    room: int = 0  # bytes of decoded pixels that are kept for the crops
    writing: Future[list[Record]] | None = None
    records: list[Record] | None = None  # set when nothing is left to do
    thumbnails: list[Thumbnails] = field(default_factory=list)


class _Room:
    """Bytes that threads share."""

    def __init__(self, size: int):
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take this much if it is left."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give(self, size: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._left += size


class Workers:
    """What happens to one picture in a worker thread."""

    def __init__(
        self,
        cropper: "Cropper",
        options: BatchOptions,
        stdin: bytes,
        clock: Clock,
        on_progress: Callable[[float], None],
    ):
        self._on_progress = on_progress
        self._clock = clock
        self._cropper = cropper
        self._options = options
        self._stdin = stdin
        self._ratios = {ratio.label: ratio for ratio in options.request.ratios}
        self._gate = threading.Semaphore(options.jobs)  # held while a file is written
        self._room = _Room(_ROOM_BYTES * (options.jobs + options.batch_size))
        self.stop = threading.Event()

    def wait_for_files(self) -> None:
        """Wait until the files that are being written are whole; once `stop` is set no others are begun."""
        for _ in range(self._options.jobs):
            self._gate.acquire()
        self._gate.release(self._options.jobs)

    def record(self, job: Job, **more: object) -> Record:
        size = {"width": job.picture.width, "height": job.picture.height} if job.picture else {}
        whose = {"model": self._cropper.model, "device": self._cropper.device}
        return Record(**{"input": job.source.name, "status": report.ERROR} | size | whose | job.about | more)

    def prepare(self, job: Job) -> list[Record] | None:
        """Open and decode as far as scoring needs; records if that was all there is to do."""
        if self._is_done(job):
            return self._skipped(job)
        self._check_stop()
        try:
            with self._clock("decode"):
                picture = self._open(job)
                # A dry run decodes alike, so that it finds the same boxes.
                prepared = self._cropper.prepare(picture, self._likely_scale(picture))
        except Exception as error:
            return [failed(self.record(job), error)]
        job.picture, job.prepared, job.scale = picture, prepared, picture.decoded_scale
        if self._options.dry_run or not self._room.take(picture.decoded_bytes):
            picture.close()
        job.room = picture.decoded_bytes
        return None

    def _skipped(self, job: Job) -> list[Record]:
        records = [
            self.record(job, ratio=ratio, rank=rank, output=str(path), status=report.SKIPPED)
            for (ratio, rank), path in job.plan.crops.items()
        ]  # fmt: skip
        job.thumbnails = self._thumbnails(job, records)
        return records

    def _keep_frame(self, job: Job) -> list[Record]:
        """Write a cover whole if it is to be kept; a record if it cannot be written."""
        output = job.plan.frame
        if output is None or self._options.dry_run or not self._options.overwrite and self._exists(output):
            return []
        try:
            self._check_stop()
            with self._clock("encode"):
                whole = job.picture.crop((0, 0, job.picture.width, job.picture.height))
                data = encode.encode(whole, output.suffix, self._options.quality)
            self._write_data(output, data)
        except Exception as error:
            return [failed(self.record(job, output=str(output)), error)]
        return []

    def _open(self, job: Job) -> Picture:
        source = self._stdin if job.source.path is None else job.source.path
        return Picture.open(source, max_pixels=self._options.max_pixels)

    def _likely_scale(self, picture: Picture) -> int:
        return sizes.likely_scale(picture, self._ratios, self._options.size, self._options.no_upscale)

    def _scale(self, boxes: Sequence[tuple[str, Box]]) -> int:
        return sizes.needed_scale(boxes, self._ratios, self._options.size, self._options.no_upscale)

    def _size(self, box: Box, label: str) -> tuple[int, int] | None:
        return sizes.output_size(box, self._options.size, self._options.no_upscale, self._ratios[label])

    def drop_pixels(self, job: Job) -> None:
        """Make room: the pixels of this picture are not needed any more, nor its maps."""
        job.picture.close()
        job.heatmaps = []
        self._room.give(job.room)
        job.room = 0

    def write(self, job: Job, crops: Sequence[Crop]) -> list[Record]:
        """Cut, encode and write the crops of a picture, up to the first that fails."""
        try:
            if not crops:
                return [failed(self.record(job), InputError("no crop fits"))]
            # Of all crops, also those that are there already: what is written does not depend on how far a run came before.
            job.scale = min(job.scale, self._scale([(crop.ratio, crop.box) for crop in crops]))
            records = []
            for crop in crops:
                self._check_stop()
                output = job.plan.crops[crop.ratio, crop.rank]
                box = tuple(int(edge) for edge in crop.box)
                score = float(crop.score)
                record = self.record(job, ratio=crop.ratio, rank=crop.rank, box=box, output=str(output))
                try:
                    if not math.isfinite(score):
                        raise InputError("the score is not a number (--precision fp32 may help)")
                    records.append(self._write_crop(job, replace(record, score=score), output))
                except BrokenPipeError:
                    raise  # the stream's; files give OutputError
                except Exception as error:
                    records.append(failed(record, error))
                    break
            else:
                records += self._overlay(job, crops) + self._heatmap(job, crops) + self._keep_frame(job)
            job.thumbnails = self._thumbnails(job, records)
            return records
        finally:
            self.drop_pixels(job)

    def _is_done(self, job: Job) -> bool:
        if self._options.overwrite or self._options.dry_run:
            return False
        return all(self._exists(path) for path in job.plan.paths())

    def _exists(self, output: Path) -> bool:
        """Whether there is an output already; an input in its place is none."""
        if output == STDOUT or not output.is_file():
            return False
        return Path(os.path.realpath(output)) not in self._options.protected

    def _write_crop(self, job: Job, record: Record, output: Path) -> Record:
        options = self._options
        to_stream = output == STDOUT
        if not options.overwrite and self._exists(output):
            return replace(record, status=report.SKIPPED)
        x1, y1, x2, y2 = record.box
        size_wh = self._size(record.box, record.ratio)
        width, height = size_wh or (x2 - x1, y2 - y1)
        record = replace(record, output_width=width, output_height=height)
        if options.dry_run:
            return replace(record, status=report.PLANNED)
        if to_stream:
            suffix = output_suffix(job.picture.format or "JPEG", options.stream_format, options.circle)
        else:
            suffix = output.suffix
        with self._clock("decode"):
            job.picture.decode(job.scale)
        with self._clock("crop and resize"):
            image = job.picture.crop(record.box, size_wh)
        self._check_stop()
        with self._clock("encode"):
            data = encode.encode(image, suffix, options.quality, circle=options.circle)
        if not self._write_data(output, data):  # someone else wrote it meanwhile
            return replace(record, output_width=None, output_height=None, status=report.SKIPPED)
        return replace(record, status=report.WRITTEN)

    def _write_data(self, output: Path, data: bytes) -> bool:
        options = self._options
        with self._gate, self._clock("write"):
            self._check_stop()
            if output == STDOUT:
                return write.write_stream(options.stream, data)
            return write.write_atomic(
                output, data, overwrite=options.overwrite, protected=options.protected, folder=options.folder
            )

    def _overlay(self, job: Job, crops: Sequence[Crop]) -> list[Record]:
        def draw(whole: Image.Image, size_wh: tuple[int, int], outlines: list[Outline]) -> Image.Image:
            return overlay.draw(whole, size_wh, outlines, overlay.proposal_outlines(job.proposals))

        return self._for_looking(job, job.plan.overlay, crops, draw)

    def _heatmap(self, job: Job, crops: Sequence[Crop]) -> list[Record]:
        def draw(whole: Image.Image, size_wh: tuple[int, int], outlines: list[Outline]) -> Image.Image:
            return heatmap.draw(whole, size_wh, job.heatmaps, outlines)

        return self._for_looking(job, job.plan.heatmap, crops[:1], draw)

    def _for_looking(
        self, job: Job, output: Path | None, crops: Sequence[Crop], draw: Callable[..., Image.Image]
    ) -> list[Record]:
        """Write what is drawn on a picture, if that is planned; a record if it cannot be written.

        Args:
            output: where it goes; None if it is not planned.
            draw: called with the picture as it is to be drawn on, the size that boxes are in, and outlines of the crops.
        """
        if output is None or self._options.dry_run or not self._options.overwrite and self._exists(output):
            return []
        try:
            self._check_stop()
            size_wh = job.picture.width, job.picture.height
            with self._clock("overlay and thumbnails"):
                job.picture.decode(job.scale)
                whole = pixels.for_screens(job.picture.crop((0, 0, *size_wh), overlay.size_wh(*size_wh)))
                outlines = overlay.crop_outlines(crops, list(self._ratios), self._options.circle)
                data = encode.encode(draw(whole, size_wh, outlines), output.suffix, self._options.quality)
            self._write_data(output, data)
        except Exception as error:
            return [failed(self.record(job, output=str(output)), error)]
        return []

    def _thumbnails(self, job: Job, records: Sequence[Record]) -> list[Thumbnails]:
        """Of a picture and of its crops, if asked for: as they are cut, or of the files that there were already."""
        if not self._options.thumbnails:
            return []
        with self._clock("overlay and thumbnails"):
            crops = []
            for record in records:
                if record.status == report.SKIPPED:
                    crops.append(self._thumbnail(lambda path=record.output: Picture.open(path)))
                else:
                    crops.append(
                        self._thumbnail(lambda: job.picture, record.box) if record.status != report.ERROR else None
                    )
            return [Thumbnails(self._thumbnail(lambda: job.picture or self._open(job)), crops)]

    def _thumbnail(
        self, opened: Callable[[], Picture], box: tuple[int, int, int, int] | None = None
    ) -> Thumbnail | None:
        self._check_stop()
        try:
            return sheet.thumbnail(opened(), box)
        except Exception as error:  # a page without it is better than none
            log.debug("no thumbnail: %s", report.one_line(str(error)))
            return None

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise Stopped
