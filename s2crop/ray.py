"""Many machines: an actor for Ray Data, which does the rest.

    import ray
    from s2crop.ray import CropActor

    pictures = ray.data.read_binary_files("s3://bucket/photos", include_paths=True)
    crops = pictures.map_batches(
        CropActor,
        fn_constructor_kwargs={"ratios": ["16:9", "1:1"], "size": "640"},
        batch_size=16,
        concurrency=4,
        num_gpus=0.25,
    )

Ray itself is not imported here. `examples/ray_batch.py` is a whole command. Install with `pip install 's2crop[ray]'`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2crop import report
from s2crop.cropping.cropper import Cropper
from s2crop.cropping.request import Crop, CropRequest
from s2crop.files import sizes
from s2crop.files.formats import ALPHA_FORMATS, FORMATS, SAME, can_hold_circles, either
from s2crop.files.pad import TRANSPARENT, checked
from s2crop.files.picture import lift_pillow_limits
from s2crop.files.sources import Source
from s2crop.geometry.ratio import parse_ratios
from s2crop.report import Clock, Record
from s2crop.run.job import Job
from s2crop.run.work import BatchOptions, Work, batch_size_on, rank

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

_OF_OUTPUTS = frozenset(["no_upscale", "quality", "pad_with", "max_pixels"])  # fields of BatchOptions


class CropActor:
    """Crops batches of pictures; the network is loaded once, when an actor starts.

    Made for `ray.data.Dataset.map_batches` with a `batch_size` of some ten pictures; `num_gpus` there is the share of a
    GPU that each actor gets. Decoding takes more time than the network, so several actors share a GPU well.

    Args:
        ratios, top: as `s2crop.Cropper.crop` has them.
        size: output size, one side of it: "640" (width) or "x360" (height); the other follows from the ratio. Commas
            give several sizes of each crop.
        fmt: one of `s2crop.files.formats.FORMATS`; "same" is as the input, and PNG for what is not written.
        crops: give the encoded crops; False for boxes and scores alone.
        model, weights, device, precision, proposals: as `s2crop.Cropper` has them.
        how: what else `s2crop.Cropper.crop` takes (focus, keep, protect, circle, pad, ...), and of outputs:
            no_upscale, quality, pad_with, and max_pixels, above which pictures are refused, as
            `s2crop.run.work.BatchOptions` has them.
    Raises:
        TypeError: an option that there is not.
        ValueError: an option that makes no sense. WeightsError: weights that cannot be used. DeviceError: a device that
            is not there.
    """

    def __init__(
        self,
        ratios: Sequence[str] = ("free",),
        top: int = 1,
        *,
        size: str | None = None,
        fmt: str = SAME,
        crops: bool = True,
        model: str = "s2cnet",
        weights: str | Path | None = None,
        device: str = "auto",
        precision: str = "auto",
        proposals: str = "auto",
        **how: Any,
    ):
        asked = parse_ratios(ratios)
        parsed = sizes.parse_sizes(size) if size else ()
        for one in parsed:
            if one.width and one.height:
                raise ValueError(f"size '{one}' has two sides: give one, the other follows from the ratio")
        if fmt not in FORMATS:
            raise ValueError(f"fmt is one of {', '.join(FORMATS)}, not {fmt!r}")
        of_outputs = {name: how.pop(name) for name in _OF_OUTPUTS & how.keys()}
        request = CropRequest(ratios=asked, top=top, **how)
        self._options = BatchOptions(request=request, sizes=parsed, dry_run=not crops, **of_outputs)
        if request.circle and ([ratio.label for ratio in asked] != ["1:1"] or not can_hold_circles(fmt)):
            raise ValueError(f"circles are for ratios=['1:1'] and for {either(ALPHA_FORMATS)}")
        if request.pad != "never" and checked(self._options.pad_with) == TRANSPARENT and not can_hold_circles(fmt):
            raise ValueError(f"transparent pads are for {either(ALPHA_FORMATS)}")
        self._fmt, self._crops = fmt, crops
        lift_pillow_limits()  # an actor has a process of its own
        self._cropper = Cropper(model, weights, device, precision=precision, proposals=proposals)
        # The same bound on the pixels that are kept as in a run with one job, however many pictures Ray gives at once.
        pictures = 1 + batch_size_on(self._cropper.device)
        self._work = Work(self._cropper, self._options, pictures, Clock())

    def __call__(self, batch: "dict[str, np.ndarray]") -> "pyarrow.Table":
        """Crop a batch.

        Args:
            batch: "path", the pictures' names; "bytes", their files' contents, without which the paths are opened.
        Returns:
            A row for each crop, and one for each picture that failed: the fields of `s2crop.report.Record`, "crop", the
            bytes of a file, and "suffix", what its name ends with. "status" is "planned" (nothing is written here) or
            "error".
        """
        names = [str(path) for path in batch["path"]]
        contents = batch["bytes"] if "bytes" in batch else [None] * len(names)
        jobs = [
            Job(i, Source(name, Path(name), Path(name)), contents=data)
            for i, (name, data) in enumerate(zip(names, contents, strict=True))
        ]
        for job in jobs:
            try:
                self._work.load(job)
            except Exception as error:
                job.records = [self._work.failed(self._work.record(job), error)]
        usable = [job for job in jobs if job.records is None]
        ranked = dict(zip(map(id, usable), rank(self._cropper, usable, self._options.request), strict=True))
        return _table([row for job in jobs for row in self._rows(job, ranked.get(id(job)))])

    def _rows(self, job: Job, crops: list[Crop] | Exception | None) -> "list[_Row]":
        """What became of a picture; crops is None where it could not be loaded."""
        made: dict[tuple[str | None, int | None, str | None], tuple[bytes, str]] = {}

        def cut(record: Record) -> Record:
            sized = replace(self._work.sized(record), status=report.PLANNED)
            if self._crops:
                suffix = self._work.suffix(job, self._fmt)
                made[record.ratio, record.rank, record.size] = self._work.encoded(job, record, suffix), suffix
            return sized

        if isinstance(crops, Exception):
            job.records = [self._work.failed(self._work.record(job), crops)]
        elif crops is not None:
            job.records = self._work.each(job, crops, cut)
        self._work.drop_pixels(job)
        return [
            _Row(record, *made.get((record.ratio, record.rank, record.size), (None, None)))
            for record in job.records or []
        ]


@dataclass(frozen=True)
class _Row:
    record: Record
    crop: bytes | None = None
    suffix: str | None = None


def _table(rows: Sequence[_Row]) -> "pyarrow.Table":
    """Rows as a table whose types do not depend on what is missing in them."""
    import pyarrow as pa

    thing = pa.struct([("kind", pa.string()), ("box", pa.list_(pa.int32()))])
    types = {
        "box": pa.list_(pa.int32()),
        "padded": pa.list_(pa.int32()),
        "time_s": pa.float64(),
        "crop": pa.large_binary(),
    }
    types |= {"cut": pa.list_(thing), "lost": pa.list_(thing), "focus": pa.list_(pa.float64())}
    types |= dict.fromkeys(("score", "worth", "cover_score"), pa.float32())
    types |= dict.fromkeys(("width", "height", "cover_rank", "rank", "output_width", "output_height"), pa.int32())
    names = [*Record.__dataclass_fields__, "crop", "suffix"]
    schema = pa.schema([(name, types.get(name, pa.string())) for name in names])
    return pa.Table.from_pylist([_plain(row.record) | {"crop": row.crop, "suffix": row.suffix} for row in rows], schema)


def _plain(record: Record) -> dict[str, object]:
    """The fields of a record, things as dictionaries."""
    things = {name: getattr(record, name) for name in ("cut", "lost")}
    return asdict(record) | {name: found and [thing._asdict() for thing in found] for name, found in things.items()}
