"""Which outputs of a run are there already, which are to be made again, and which are not ours to touch."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from s2crop.errors import OutputError
from s2crop.files import marks
from s2crop.files.formats import format_to_write
from s2crop.files.marks import Mark, Standing, State
from s2crop.files.plan import STDOUT
from s2crop.files.sizes import Size
from s2crop.run.job import Job, Todo
from s2crop.run.work import BatchOptions

CROP, OVERLAY, HEATMAP, FRAME = "crop", "overlay", "heatmap", "frame"

# Fields of BatchOptions on which no output depends, or not every kind of output.
_OF_NO_OUTPUT = frozenset(
    ["request", "jobs", "batch_size", "max_pixels", "overwrite", "skip_existing", "dry_run", "protected", "folder",
     "stream", "stream_format", "thumbnails", "spell", "sizes", "pad_with"]
)  # fmt: skip
_OF_SOME = frozenset(["quality", "overlay_proposals", "covers", "start_s", "end_s", "scan"])
_OF_THE_CHOICE = frozenset(["weights", "proposals"])  # none of which is made where boxes are given


class What(NamedTuple):
    """What an output of a picture is: CROP with all that tells it from others, or something drawn, or a frame."""

    kind: str
    ratio: str | None = None
    rank: int | None = None
    size: str | None = None


class Resume:
    """Tells what is done by the marks in outputs.

    Args:
        model: the cropper's.
    """

    def __init__(self, options: BatchOptions, model: str):
        self._options = options
        request = options.request
        self._ratios = {ratio.label: ratio.value for ratio in request.ratios}
        padded = [("pad", request.pad), ("pad_with", options.pad_with)] if request.pad != "never" else []
        asked = [
            (name.name, getattr(request, name.name)) for name in fields(request)
            if name.name not in ("ratios", "top", "pad")
        ]  # fmt: skip
        how = [
            (name.name, getattr(options, name.name))
            for name in fields(options) if name.name not in _OF_NO_OUTPUT | _OF_SOME
        ]  # fmt: skip
        self._model, self._asked, self._how = model, asked, how + padded
        self._how_given = [pair for pair in how if pair[0] not in _OF_THE_CHOICE] + [("pad_with", options.pad_with)]
        self._digests: dict[tuple, str] = {}
        self._folders: dict[Path, str] = {}  # with links followed

    def find_origin(self, job: Job) -> None:
        """See what the input is before it is read."""
        if job.origin is None:
            try:
                if job.source.origin is not None:
                    job.origin = job.source.origin
                elif job.contents is not None:
                    job.origin = marks.origin_of_bytes(job.contents)
                elif job.source.path is not None:
                    job.origin = marks.origin_of(job.source.path, job.source.real)
            except (OSError, ValueError):
                pass  # opening it will say what is wrong

    def mark(self, job: Job, suffix: str, what: What) -> str:
        """The text for an output that is about to be written; empty for an input that is not known."""
        if job.origin is None:
            return ""
        if job.boxes is not None:
            digest = self._digest_of_given(job, suffix, what)
            return str(Mark(job.origin, digest, box=_digest_of_box(job, what)))
        crops = job.few.get(what.ratio or "")
        return str(Mark(job.origin, self._digest(job, suffix, what), crops, job.few_covers))

    def look(self, job: Job) -> bool:
        """Look at all outputs of a picture; whether there is nothing left to do. What is not ours to replace is left,
        and kept in the job as refused.
        """
        self.find_origin(job)
        done = True
        for (ratio, rank, *size), output in job.plan.crops.items():
            if rank <= job.few.get(ratio, rank):
                done &= self._is_settled(job, output, What(CROP, ratio, rank, "".join(size) or None))
        for kind, drawn in ((OVERLAY, job.plan.overlay), (HEATMAP, job.plan.heatmap), (FRAME, job.plan.frame)):
            if drawn is not None:
                done &= self._is_settled(job, drawn, What(kind))
        return done and bool(job.todo or job.refused)

    def _is_settled(self, job: Job, output: Path, what: What) -> bool:
        """Whether nothing can be done about an output, or nothing needs to be."""
        try:
            return self.todo(job, output, what) is Todo.LEAVE
        except OutputError as error:
            job.refused[output] = error
            return True

    def todo(self, job: Job, output: Path, what: What, again: bool = False) -> Todo:
        """What is to be done about an output of a job; what is seen is kept in the job.

        Args:
            again: look once more.
        Raises:
            OutputError: something that is not ours to replace is there.
        """
        if again or output not in job.todo:
            job.kept.pop(output, None)
            job.todo[output] = self._todo(job, output, what)
        return job.todo[output]

    def shows(self, job: Job, output: Path, box: tuple[int, ...]) -> bool:
        """Whether an output of a job that stays is a crop to this box, as far as its mark tells.

        Args:
            box: with the pads around it, if there are any.
        """
        if output not in job.kept:
            return True
        mark, time_s = job.kept[output], job.about.get("time_s")
        if mark is None or job.origin is None or mark.origin.input != job.origin.input:
            return False
        as_told = None if time_s is None else round(time_s, 3)  # what is given comes from lines that say it so
        source = job.about.get("source")
        return mark.box in [marks.digest(box, time, source) for time in (time_s, as_told)]

    def _todo(self, job: Job, output: Path, what: What) -> Todo:
        options = self._options
        if options.dry_run or output == STDOUT:
            return Todo.MAKE
        if options.overwrite:
            return Todo.REPLACE
        standing = marks.look(output)
        if standing.state is State.NOTHING or self._is_protected(output):
            return Todo.MAKE  # an input is never written
        if standing.state is State.BROKEN:
            return Todo.REPLACE
        if job.origin is not None and standing.mark is not None:
            same_input = standing.mark.origin.input == job.origin.input
            if same_input and self._is_as_asked(job, standing.mark, output.suffix, what):
                self._learn(job, standing, what.ratio)
                if standing.mark.box and job.boxes is None:
                    job.kept[output] = standing.mark
                return Todo.LEAVE
            if standing.mark.box and job.boxes is None and what.kind == CROP and not options.skip_existing:
                raise OutputError(  # somebody's own work, perhaps
                    f"{output} was cropped to a box that was given, with other options: {options.spell('boxes')} makes "
                    f"it again, {options.spell('overwrite')} replaces it, {options.spell('skip_existing')} leaves it"
                )
            if not options.skip_existing and (same_input or standing.mark.origin.path == job.origin.path):
                return Todo.REPLACE
        if options.skip_existing:
            job.kept[output] = standing.mark
            return Todo.LEAVE
        whose = "was made from another input" if standing.state is State.OURS else "is there and has no mark of ours"
        raise OutputError(
            f"{output} {whose}: {options.spell('overwrite')} replaces it, {options.spell('skip_existing')} leaves it"
        )

    def _is_as_asked(self, job: Job, mark: Mark, suffix: str, what: What) -> bool:
        """Whether an output is what this run would make of the same input. One whose box was given counts as what
        would be chosen now: it is a correction that is to stay."""
        if not mark.box:
            return job.boxes is None and mark.options == self._digest(job, suffix, what)
        if job.boxes is None:
            return what.kind == CROP and mark.options == self._digest_of_given(job, suffix, what)
        box = _digest_of_box(job, what)
        return (mark.box, mark.options) == (box, self._digest_of_given(job, suffix, what))

    def _learn(self, job: Job, standing: Standing, ratio: str | None) -> None:
        """Of a finished output: how many crops and covers there are where these are fewer than asked for."""
        assert standing.mark is not None
        if standing.mark.crops is not None and ratio is not None:
            job.few[ratio] = standing.mark.crops
        if standing.mark.covers is not None:
            job.few_covers = standing.mark.covers

    def _digest(self, job: Job, suffix: str, what: What) -> str:
        """Of all options that such an output depends on."""
        cover = job.about.get("cover_rank")
        key = what.kind, what.ratio, what.rank, suffix, cover
        if (*key, what.size) not in self._digests:
            options, more = self._options, list[Any](key)
            more.append(self._ratios.get(what.ratio or ""))
            more += self._quality(suffix)
            if cover is not None:
                more += [options.covers, options.start_s, options.end_s, options.scan]
            if what.kind in (OVERLAY, HEATMAP):
                more += [self._ratios, options.request.top, options.overlay_proposals]
            base = repr((self._model, self._asked, [("size", self._size(what.size)), *self._how]))
            self._digests[*key, what.size] = marks.digest(base, more)
        return self._digests[*key, what.size]

    def _digest_of_given(self, job: Job, suffix: str, what: What) -> str:
        """Of the options that such an output depends on where its box is given."""
        key = "given", what.kind, what.ratio, what.rank, suffix, job.about.get("cover_rank")
        if (*key, what.size) not in self._digests:
            more = [*key, *self._quality(suffix)]
            base = repr((self._options.request.circle, [("size", self._size(what.size)), *self._how_given]))
            self._digests[*key, what.size] = marks.digest(base, more)
        return self._digests[*key, what.size]

    def _quality(self, suffix: str) -> list[int]:
        fmt = format_to_write(suffix)
        return [self._options.quality] if fmt is None or fmt.lossy else []

    def _size(self, size: str | None) -> Size | None:
        """That of an output; of several none knows of the others, so that one more leaves what is there."""
        sizes = self._options.sizes
        return next((one for one in sizes if len(sizes) == 1 or str(one) == size), None)

    def _is_protected(self, output: Path) -> bool:
        if os.path.islink(output):
            return Path(os.path.realpath(output)) in self._options.protected
        if output.parent not in self._folders:
            self._folders[output.parent] = os.path.realpath(output.parent)
        return Path(self._folders[output.parent], output.name) in self._options.protected


def _digest_of_box(job: Job, what: What) -> str:
    """Of what was given for an output: its box, and of a clip the time; of a drawing all boxes."""
    assert job.boxes is not None
    boxes: Any = None if what.kind == FRAME else sorted(job.boxes.items())
    if what.kind == CROP:
        boxes = job.boxes[what.ratio or "", what.rank or 0]
    return marks.digest(boxes, job.about.get("time_s"), job.about.get("source"))
