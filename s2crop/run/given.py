"""What happens in a worker thread to one input whose boxes are given: it is cut and written; nothing is scored."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s2crop import report
from s2crop.cropping.request import Crop, Thing
from s2crop.errors import InputError, S2CropError
from s2crop.files import sizes
from s2crop.files.boxes import Line, why_not
from s2crop.files.picture import Picture
from s2crop.files.sniff import CLIP
from s2crop.geometry.pads import Pads, pads_around
from s2crop.preview.sheet import Thumbnails
from s2crop.report import Record
from s2crop.run.clips import ClipWorkers
from s2crop.run.job import Job

if TYPE_CHECKING:
    from s2crop.video.reader import Video


class NoCropper:
    """What stands in a cropper's place where all boxes are given."""

    model = device = None


class BoxWorkers(ClipWorkers):
    """Workers for inputs with boxes: each is done when it is prepared."""

    def look(self, job: Job) -> list[Record] | None:
        """Nothing: what is there is looked at when the job is done."""
        return None

    def prepare(self, job: Job) -> list[Record] | None:
        """Open, check, cut and write; what became of each line."""
        assert job.given is not None
        try:
            self._check_stop()
            self._resume.find_origin(job)
            done = self._do_clip(job) if job.given.lines[0].is_clip else self._do_picture(job)
        except BrokenPipeError:
            raise  # the stream's
        except Exception as error:
            return [self._failed(job, job.given.lines, error)]
        return done

    def _do_picture(self, job: Job) -> list[Record]:
        assert job.given is not None
        if job.source.inside == CLIP:
            raise InputError("is a video, and the line has no time_s to say what frame is meant")
        with self._clock("decode"):
            job.picture = self.open(job)
        # As the run that chose decoded it to be scored: from other pixels outputs would differ a little.
        job.scale = sizes.scoring_scale(min(job.opened.width, job.opened.height))
        return self._do(job, job.given.lines)

    def _do_clip(self, job: Job) -> list[Record]:
        """The covers of a clip; where it cannot be opened, an error."""
        assert job.given is not None
        job.about = {"type": "video"}
        video: Video | None = None
        records: list[Record] = []
        for rank, lines in job.given.covers.items():
            assert rank is not None
            self._check_stop()
            cover = self._cover_of(job, rank, lines)
            try:
                if self._is_done(cover):
                    done = self._told(cover, self._skipped(cover), lines)
                else:
                    video = video or self._open_clip(job)
                    with self._clock("decode"):
                        cover.picture = Picture.open(self._frame(video, lines[0]))
                    done = self._do(cover, lines)
            except S2CropError as error:
                if video is None:
                    left = [line for line in job.given.lines if job.given.ranks[line.moment] >= rank]
                    return [*records, self._failed(job, left, error)]
                done = [self._failed(cover, lines, error)]
            records += done
            if self._options.thumbnails:
                job.thumbnails += cover.thumbnails or [Thumbnails(None, [None] * len(done))]
        job.notes += video.warnings if video else []
        return records

    def _cover_of(self, job: Job, rank: int, lines: Sequence[Line]) -> Job:
        """A cover of a clip as a picture of its own."""
        line = lines[0]
        about: dict[str, Any] = {"time_s": line.time_s} if not line.is_art else {"source": "art"}
        about |= {"cover_score": line.told.get("cover_score")}
        boxes = self._boxes(lines)
        plan = job.plan.covers[rank - 1]
        about = job.about | {"cover_rank": rank} | about
        return Job(job.index, job.source, plan, about, origin=job.origin, given=job.given, boxes=boxes)

    def _open_clip(self, job: Job) -> "Video":
        from s2crop.video.reader import Video

        assert job.source.path is not None
        with self._clock("decode"):
            return Video.open(job.source.path, max_pixels=self._options.max_pixels, or_art=True)

    def _frame(self, video: "Video", line: Line) -> np.ndarray:
        from s2crop.video import moments

        if line.time_s is None:
            return moments.attached_picture(video, (line.width, line.height))
        return moments.frame_at(video, line.time_s)

    def _do(self, job: Job, lines: Sequence[Line]) -> list[Record]:
        """Write those crops of a picture that can be; the others are errors."""
        size_wh, options = (job.opened.width, job.opened.height), self._options
        faults, fitting = [], []
        for line in lines:
            if reason := why_not(line, size_wh, options.sizes, options.circle):
                faults.append(self._failed(job, [line], InputError(reason)))
            else:
                fitting.append(line)
        job.boxes = self._boxes(fitting)
        if not fitting:
            return faults
        crops = [_crop(line, self._pads(line)) for line in fitting]
        records = faults + self._told(job, self.write(job, crops), fitting)
        job.thumbnails = [replace(one, crops=[*[None] * len(faults), *one.crops]) for one in job.thumbnails]
        return records

    def _boxes(self, lines: Sequence[Line]) -> dict[tuple[str, int], tuple[int, ...]]:
        return {(one.ratio.label, one.rank): (*one.box, *(self._pads(one) or ())) for one in lines}

    def _pads(self, line: Line) -> Pads | None:
        """What fills a box up to its ratio again, where the run that chose did so."""
        ratio = self._ratios[line.ratio.label].value
        x1, y1, x2, y2 = line.box
        return pads_around((x2 - x1, y2 - y1), ratio, self._options.circle) if line.is_padded and ratio else None

    def _failed(self, job: Job, lines: Sequence[Line], error: Exception) -> Record:
        """The record of lines that nothing could be made of."""
        first = lines[0]
        one = {"ratio": first.ratio.label, "rank": first.rank, "box": first.box} if len(lines) == 1 else {}
        record = self.failed(self.record(job, **one), error)
        more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
        return replace(record, error=f"line {first.number}{more}: {record.error}")

    def _told(self, job: Job, records: Sequence[Record], lines: Sequence[Line]) -> list[Record]:
        """The records with what the lines say besides, but for outputs that stay and may show other boxes."""
        known = {(line.ratio.label, line.rank): line for line in lines}
        told = []
        for record in records:
            line = known.get((record.ratio or "", record.rank or 0))
            if record.status == report.SKIPPED and not self._shows(job, record):
                record = self._untold(record)
            elif line is not None and record.status != report.ERROR:
                told_of: dict[str, Any] = {"cut": None, "lost": None, "box": line.box, **line.told}
                record = replace(record, **told_of)
            told.append(record)
        return told

    def _shows(self, job: Job, record: Record) -> bool:
        """Whether an output that stays is a crop to the box that was given, as far as its mark tells."""
        assert job.boxes is not None
        box = job.boxes[record.ratio or "", record.rank or 0]
        return self._resume.shows(job, Path(record.output or ""), box)


def _crop(line: Line, padded: Pads | None) -> Crop:
    """A box that was given, as one that was chosen; what is not known of it is not a number."""
    told = line.told
    cut, lost = ([Thing(*thing) for thing in told.get(key, ())] for key in ("cut", "lost"))
    score, worth = (float(told.get(key, math.nan)) for key in ("score", "worth"))
    focus = told.get("focus")
    return Crop(line.box, score, line.ratio.label, line.rank, None, worth, cut, lost, focus, padded)
