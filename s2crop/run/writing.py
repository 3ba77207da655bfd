"""What happens to one picture in a worker thread of a run: its crops, and what is drawn of it, become files."""

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from s2crop import report
from s2crop.cropping.request import Crop
from s2crop.errors import OutputError
from s2crop.files import encode, metadata, pixels, write
from s2crop.files.picture import Picture
from s2crop.files.plan import STDOUT, key_of
from s2crop.preview import heatmap, overlay, sheet
from s2crop.preview.overlay import Outline
from s2crop.preview.sheet import Thumbnail, Thumbnails
from s2crop.report import Clock, Record
from s2crop.run.job import Job, Todo
from s2crop.run.resume import CROP, FRAME, HEATMAP, OVERLAY, Resume, What
from s2crop.run.stopping import Stopped
from s2crop.run.work import BatchOptions, Work, batch_size_on

if TYPE_CHECKING:
    from s2crop.cropping.cropper import Cropper

# What a record tells that depends on the box of the crop, and of a clip on the frame.
_OF_THE_BOX = (
    "box", "score", "worth", "cut", "lost", "focus", "object_position", "padded", "time_s", "cover_score", "source",
)  # fmt: skip

log = logging.getLogger(__name__)


class Workers(Work):
    """Work of a run, on as many threads as it has jobs."""

    def __init__(self, cropper: "Cropper", options: BatchOptions, clock: Clock, on_progress: Callable[[float], None]):
        super().__init__(cropper, options, options.jobs + (options.batch_size or batch_size_on(cropper.device)), clock)
        self._on_progress = on_progress
        self._resume = Resume(options, cropper.model)
        self._gate = threading.Semaphore(options.jobs)  # held while a file is written
        self._folder = None if options.folder is None else Path(os.path.realpath(options.folder))
        self.stop = threading.Event()

    def wait_for_files(self) -> None:
        """Wait until the files that are being written are whole; once `stop` is set no others are begun."""
        for _ in range(self._options.jobs):
            self._gate.acquire()
        self._gate.release(self._options.jobs)

    def guarded(self, work: Callable[..., Any], job: Job, *given: Any) -> Any:
        """Do some of a worker's work; whatever goes wrong that it does not know of is of one picture.

        Not every error is an `Exception`: those of libraries written in Rust are none.
        """
        try:
            return work(job, *given)
        except (Stopped, KeyboardInterrupt, BrokenPipeError):
            raise
        except BaseException as error:
            job.shown = job.prepared = None
            return [self.failed(self.record(job), error)]

    def look(self, job: Job) -> list[Record] | None:
        """Look at what is there already; records if nothing is left to do."""
        try:
            self._check_stop()
            return self._skipped(job) if self._is_done(job) else None
        except Exception as error:
            return [self.failed(self.record(job), error)]

    def prepare(self, job: Job) -> list[Record] | None:
        """Open and decode as far as scoring needs; records if that was all there is to do."""
        try:
            self._check_stop()
            self.load(job)
        except Exception as error:
            return [self.failed(self.record(job), error)]
        return None

    def _skipped(self, job: Job) -> list[Record]:
        """The records of a picture of which nothing is left to do."""
        records, refused = [], dict(job.refused)
        for key, path in job.plan.crops.items():
            record = self.record(
                job, ratio=key[0], rank=key[1], output=str(path), status=report.SKIPPED, size="".join(key[2:]) or None
            )
            if path in refused:
                records.append(self.failed(record, refused.pop(path)))
            elif path in job.todo:
                records.append(record)
        records += [self.failed(self.record(job, output=str(path)), error) for path, error in refused.items()]
        job.thumbnails = self._thumbnails(job, records)
        return records

    def _keep_frame(self, job: Job) -> list[Record]:
        """Write a cover whole if it is to be kept; a record if it cannot be written."""
        output = job.plan.frame
        if output is None or self._options.dry_run:
            return []
        try:
            if self._resume.todo(job, output, What(FRAME)) is Todo.LEAVE:
                return []
            self._check_stop()
            with self._clock("encode"):
                whole = job.opened.crop((0, 0, job.opened.width, job.opened.height))
                mark = self._resume.mark(job, output.suffix, What(FRAME))
                kept = metadata.kept(job.opened.metadata, self._options.metadata, whole.size)
                data = encode.encode(whole, output.suffix, self._options.quality, kept=kept, software=mark)
            self._write_output(job, output, data, What(FRAME))
        except Exception as error:
            return [self.failed(self.record(job, output=str(output)), error)]
        return []

    def write(self, job: Job, crops: Sequence[Crop]) -> list[Record]:
        """Cut, encode and write the crops of a picture, those that can be."""
        try:
            counts = Counter(crop.ratio for crop in crops)
            job.few = {ratio: count for ratio, count in counts.items() if count < self._options.request.top}
            records = self.each(job, crops, lambda record: self._write_crop(job, record))
            if crops and not job.broken:
                job.notes += self._differing(job, records)
                shown = {(record.ratio, record.rank) for record in records if record.box is not None}
                true = [crop for crop in crops if (crop.ratio, crop.rank) in shown]
                records += self._overlay(job, true) + self._heatmap(job, crops) + self._keep_frame(job)
            if crops:
                job.thumbnails = self._thumbnails(job, records)
            return records
        except BrokenPipeError:
            raise  # the stream's
        except Exception as error:
            job.broken = True
            return [self.failed(self.record(job), error)]
        finally:
            self.drop_pixels(job)

    def _is_done(self, job: Job) -> bool:
        """Whether all outputs of a picture are there, or something that is not ours to replace is in their place."""
        return self._resume.look(job)

    def _write_crop(self, job: Job, record: Record) -> Record:
        self._check_stop()
        assert record.ratio is not None and record.rank is not None
        options, output = self._options, job.plan.crops[key_of(record.ratio, record.rank, record.size)]
        what = What(CROP, record.ratio, record.rank, record.size)
        sized = self.sized(record)
        if self._resume.todo(job, output, what) is Todo.LEAVE:
            return self._left(job, output, record, sized)
        suffix = self.suffix(job, options.stream_format) if output == STDOUT else output.suffix
        assert sized.output_width is not None and sized.output_height is not None
        encode.check_size((sized.output_width, sized.output_height), suffix)
        if options.dry_run:
            return replace(sized, status=report.PLANNED)
        data = self.encoded(job, record, suffix, self._check_stop, self._resume.mark(job, suffix, what))
        if not self._write_output(job, output, data, what):
            return self._left(job, output, record, sized)  # another run wrote it meanwhile
        return replace(sized, status=report.WRITTEN)

    def _left(self, job: Job, output: Path, record: Record, sized: Record) -> Record:
        """The record of a crop whose output stays as it is: without its box, and what is told of that, where the
        output shows another one or may do so."""
        assert record.box is not None
        if self._resume.shows(job, output, (*record.box, *map(int, record.padded or ()))):
            return replace(record, status=report.SKIPPED, padded=sized.padded)
        return self._untold(replace(record, status=report.SKIPPED))

    def _untold(self, record: Record) -> Record:
        """A record without the box and what is told of it."""
        nothing: dict[str, Any] = dict.fromkeys(_OF_THE_BOX)
        return replace(record, **nothing)

    def _differing(self, job: Job, records: Sequence[Record]) -> list[str]:
        """A line about outputs that stay at a box that was given, while other sizes of these crops have another."""
        if job.boxes is not None:
            return []  # all are given
        made = {(record.ratio, record.rank) for record in records if record.box is not None}
        given = [
            record.output
            for record in records
            if record.box is None and (record.ratio, record.rank) in made
            if (mark := job.kept.get(Path(record.output or ""))) is not None and mark.box
        ]
        if not given:
            return []
        more = f" and {len(given) - 1} more" if len(given) > 1 else ""
        boxes = self._options.spell("boxes")
        return [f"{given[0]}{more} stays at a box that was given; other sizes differ from it until {boxes} makes them"]

    def _write_output(self, job: Job, output: Path, data: bytes, what: What) -> bool:
        """Write an output; False if it was done meanwhile.

        Raises:
            OutputError: it cannot be written, or something that is not ours to replace came in its place.
        """
        for again in (False, True):
            todo = self._resume.todo(job, output, what, again)
            if todo is Todo.LEAVE:
                return False
            if self._write_data(output, data, todo is Todo.REPLACE):
                return True
        raise OutputError(f"cannot write {output}: something is in the way")

    def _write_data(self, output: Path, data: bytes, overwrite: bool) -> bool:
        options = self._options
        with self._gate, self._clock("write"):
            self._check_stop()
            if output == STDOUT:
                assert options.stream is not None
                return write.write_stream(options.stream, data)
            return write.write_atomic(
                output, data, overwrite=overwrite, protected=options.protected, folder=self._folder
            )

    def _overlay(self, job: Job, crops: Sequence[Crop]) -> list[Record]:
        def draw(whole: Image.Image, size_wh: tuple[int, int], outlines: list[Outline]) -> Image.Image:
            seen = overlay.proposal_outlines(job.proposals)
            return overlay.draw(whole, size_wh, outlines, seen, shade=bool(outlines))

        return self._for_looking(job, OVERLAY, job.plan.overlay, crops, draw)

    def _heatmap(self, job: Job, crops: Sequence[Crop]) -> list[Record]:
        def draw(whole: Image.Image, size_wh: tuple[int, int], outlines: list[Outline]) -> Image.Image:
            return heatmap.draw(whole, size_wh, job.heatmaps, outlines)

        return self._for_looking(job, HEATMAP, job.plan.heatmap, crops[:1], draw)

    def _for_looking(
        self, job: Job, kind: str, output: Path | None, crops: Sequence[Crop], draw: Callable[..., Image.Image]
    ) -> list[Record]:
        """Write what is drawn on a picture, if that is planned; a record if it cannot be written.

        Args:
            output: where it goes; None if it is not planned.
            draw: called with the picture as it is to be drawn on, the size that boxes are in, and outlines of the
                crops.
        """
        if output is None or self._options.dry_run:
            return []
        try:
            if self._resume.todo(job, output, What(kind)) is Todo.LEAVE:
                return []
            self._check_stop()
            size_wh = job.opened.width, job.opened.height
            with self._clock("overlay and thumbnails"):
                job.opened.decode(job.scale)
                whole = pixels.for_screens(
                    job.opened.crop((0, 0, *size_wh), overlay.size_wh(*size_wh)), job.opened.ground or "white"
                )
                outlines = overlay.crop_outlines(crops, list(self._ratios), self._options.circle)
                mark = self._resume.mark(job, output.suffix, What(kind))
                drawn = draw(whole, size_wh, outlines)
                data = encode.encode(drawn, output.suffix, self._options.quality, software=mark)
            self._write_output(job, output, data, What(kind))
        except Exception as error:
            return [self.failed(self.record(job, output=str(output)), error)]
        return []

    def _thumbnails(self, job: Job, records: Sequence[Record]) -> list[Thumbnails]:
        """Of a picture and of its crops, if asked for: as they are cut, or of the files that there were already."""
        if not self._options.thumbnails:
            return []
        with self._clock("overlay and thumbnails"):
            crops = []
            for record in records:
                if record.status == report.SKIPPED:
                    crops.append(self._thumbnail(partial(Picture.open, record.output or "")))
                else:
                    crops.append(
                        self._thumbnail(lambda: job.opened, record.box) if record.status != report.ERROR else None
                    )
            return [Thumbnails(self._thumbnail(lambda: job.picture or self.open(job)), crops)]

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
