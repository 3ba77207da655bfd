"""What happens to one clip in a worker thread: its covers are pictures of their own."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from s2crop import report
from s2crop.files.formats import Kind
from s2crop.files.picture import Picture
from s2crop.files.sources import content
from s2crop.report import Record
from s2crop.run.job import Job
from s2crop.run.writing import Workers

if TYPE_CHECKING:
    from s2crop.video.covers import Cover
    from s2crop.video.reader import Video

log = logging.getLogger(__name__)


class ClipWorkers(Workers):
    """Workers for pictures and for clips; what reads clips is imported when the first one comes."""

    def look(self, job: Job) -> list[Record] | None:
        """Look at what is there already; records if nothing is left to do. For what may be a clip, see `prepare`."""
        return super().look(job) if job.source.kind == Kind.PICTURE else None

    def prepare(self, job: Job) -> list[Record] | None:
        """Open and decode as far as scoring needs; records if that was all there is to do."""
        try:
            is_clip = job.source.kind == Kind.CLIP or job.source.kind == Kind.EITHER and self._is_animated(job)
            if is_clip:
                return self._prepare_clip(job)
            done = super().look(job) if job.source.kind == Kind.EITHER else None
            return super().prepare(job) if done is None else done
        except Exception as error:
            return [self.failed(self.record(job), error)]

    def _is_animated(self, job: Job) -> bool:
        """Whether a picture has several frames. Of HEIC the reader of clips tells, which knows its tracks."""
        if job.source.path is not None and content(job.source.path) == "HEIF":
            from s2crop.video import probe

            return probe.has_track(job.source.path)
        return self.open(job).frames > 1

    def _prepare_clip(self, job: Job) -> list[Record] | None:
        """Find the key frames of a clip; records if that was all there is to do."""
        from s2crop.video import covers
        from s2crop.video.reader import Video

        job.about = {"type": "video"}
        self._resume.find_origin(job)
        done = self._done_covers(job)
        if done is not None:
            records = [record for cover in done for record in self._skipped(cover)]
            job.thumbnails = [thumbnails for cover in done for thumbnails in cover.thumbnails]
            return records
        self._check_stop()
        try:
            with self._clock("decode"):
                assert job.source.path is not None
                job.video = Video.open(job.source.path, max_pixels=self._options.max_pixels, or_art=True)
                job.about |= {"width": job.video.width, "height": job.video.height}
                winners = covers.find_winners(
                    job.video, self._options.covers, self._options.start_s, self._options.end_s,
                    lambda time_s: self._tell_time(job, time_s), self._options.scan,
                )  # fmt: skip
                if job.video.looked_at:
                    log.debug("%s: %s", report.one_line(job.source.name), job.video.looked_at)
                shown = []
                for one in covers.show(job.video, winners, self._cropper, self._options.request.keep_bars):
                    self._check_stop()
                    shown.append(one)
        except Exception as error:
            return [self.failed(self.record(job), error)]
        job.shown = shown
        return None

    def _done_covers(self, job: Job) -> list[Job] | None:
        """The covers of a clip if nothing is left to do about any; None otherwise."""
        done: list[Job] = []
        few = None  # covers, where the marks of any tell that the clip has no more
        for rank in range(1, self._options.covers + 1):
            cover = self._cover(job, rank)
            if not self._is_done(cover):
                return None
            done.append(cover)
            few = cover.few_covers or few
            if few == rank:
                break
        return done

    def _tell_time(self, job: Job, time_s: float) -> None:
        """Tell the progress through a clip; nine tenths of the work are in finding its key frames."""
        self._check_stop()
        assert job.video is not None
        start_s = self._options.start_s or 0.0
        end_s = job.video.duration_s if self._options.end_s is None else self._options.end_s
        if end_s and end_s > start_s:
            reached = 0.9 * min((time_s - start_s) / (end_s - start_s), 1.0)
            self._on_progress(max(0.0, reached - job.progress))
            job.progress = max(job.progress, reached)

    def _cover(self, job: Job, rank: int, cover: "Cover | None" = None, frame: np.ndarray | None = None) -> Job:
        """One cover of a clip as a picture of its own."""
        about: dict[str, Any] = {}
        if cover is not None:
            about = {"time_s": cover.time_s} if cover.art is None else {"source": "art"}
            about |= {"cover_score": cover.score}
        if frame is not None:  # which may have a shape of its own
            about |= {"width": frame.shape[1], "height": frame.shape[0]}
        return Job(
            job.index, job.source, job.plan.covers[rank - 1], job.about | {"cover_rank": rank} | about,
            contents=job.contents, origin=job.origin,
            picture=None if frame is None else _picture(frame, job.video),
            proposals=cover.proposals if cover and self._options.overlay_proposals else [],
            heatmaps=cover.heatmaps if cover else [],
        )  # fmt: skip

    def write_covers(self, job: Job, chosen: "Sequence[Cover]") -> list[Record]:
        """Cut, encode and write the crops of a clip's covers."""
        from s2crop.video import covers

        assert job.video is not None
        records: list[Record] = []
        if not chosen:
            job.notes += job.video.warnings
            return self.each(job, [], lambda record: record)
        try:
            for rank, (cover, frame) in enumerate(covers.frames_of(job.video, chosen), start=1):
                part = self._cover(job, rank, cover, frame)
                part.few_covers = len(chosen) if len(chosen) < self._options.covers else None
                records += self.write(part, cover.crops)
                job.thumbnails += part.thumbnails
                job.notes += part.notes
                if part.broken:
                    break
        except BrokenPipeError:
            raise  # the stream's
        except Exception as error:
            records.append(self.failed(self.record(job), error))
        job.notes += job.video.warnings + covers.notes(chosen, self._options.covers)
        return records


def _picture(frame: np.ndarray, video: "Video | None") -> Picture:
    """A frame of a clip, uint8 [h, w, 3], with what the clip says of itself."""
    image = Image.fromarray(frame)
    if video is not None and video.exif:
        image.info["exif"] = video.exif
    return Picture.open(image)
