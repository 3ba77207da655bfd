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
from typing import TYPE_CHECKING

from s2crop import report
from s2crop.choices import MAX_PIXELS
from s2crop.cropping.cropper import Cropper
from s2crop.cropping.request import Crop, CropRequest
from s2crop.files import sizes
from s2crop.files.formats import ALPHA_FORMATS, FORMATS, can_hold_circles, either
from s2crop.files.pad import BLUR, TRANSPARENT, checked
from s2crop.files.picture import lift_pillow_limits
from s2crop.files.sources import Source
from s2crop.geometry.ratio import parse_ratio
from s2crop.report import Clock, Record
from s2crop.run.work import BatchOptions, Job, Work, batch_size_on, rank

if TYPE_CHECKING:
    import numpy as np
    import pyarrow


class CropActor:
    """Crops batches of pictures; the network is loaded once, when an actor starts.

    Made for `ray.data.Dataset.map_batches` with a `batch_size` of some ten pictures; `num_gpus` there is the share of a
    GPU that each actor gets. Decoding takes more time than the network, so several actors share a GPU well.

    Args:
        ratios, top, focus, keep, protect, keep_bars, min_scale, pad, pad_with: as `s2crop.Cropper.crop` has them.
        size: output size, one side of it: "640" (width) or "x360" (height); the other follows from the ratio. Commas
            give several sizes of each crop.
        no_upscale: leave crops that are smaller as they are.
        circle: square crops with transparent corners.
        fmt: one of `s2crop.files.formats.FORMATS`; "same" is as the input, and PNG for what is not written.
        quality: 1 to 100, for lossy formats.
        crops: give the encoded crops; False for boxes and scores alone.
        max_pixels: larger pictures are refused.
        model, weights, device, precision, proposals: as `s2crop.Cropper` has them.
    Raises:
        ValueError: an option that makes no sense. WeightsError: weights that cannot be used. DeviceError: a device that
            is not there.
    """

    def __init__(
        self,
        ratios: Sequence[str] = ("free",),
        top: int = 1,
        *,
        size: str | None = None,
        no_upscale: bool = False,
        circle: bool = False,
        keep_bars: bool = False,
        min_scale: float = 0.0,
        pad: str = "never",
        pad_with: str = BLUR,
        fmt: str = "same",
        quality: int = 90,
        crops: bool = True,
        focus: tuple[float, float] | None = None,
        keep: tuple[float, float, float, float] | None = None,
        protect: str = "all",
        max_pixels: int = MAX_PIXELS,
        model: str = "s2cnet",
        weights: str | Path | None = None,
        device: str = "auto",
        precision: str = "auto",
        proposals: str = "auto",
    ):
        asked = {ratio.label: ratio for ratio in map(parse_ratio, ratios)}
        parsed = sizes.parse_sizes(size) if size else ()
        for one in parsed:
            if one.width and one.height:
                raise ValueError(f"size '{one}' has two sides: give one, the other follows from the ratio")
        if fmt not in FORMATS:
            raise ValueError(f"fmt is one of {', '.join(FORMATS)}, not {fmt!r}")
        if circle and (set(asked) != {"1:1"} or not can_hold_circles(fmt)):
            raise ValueError(f"circles are for ratios=['1:1'] and for {either(ALPHA_FORMATS)}")
        if pad != "never" and checked(pad_with) == TRANSPARENT and not can_hold_circles(fmt):
            raise ValueError(f"transparent pads are for {either(ALPHA_FORMATS)}")
        self._fmt, self._crops = fmt, crops
        self._options = BatchOptions(
            request=CropRequest(
                ratios=tuple(asked.values()),
                top=top,
                focus=focus,
                keep=keep,
                protect=protect,
                circle=circle,
                keep_bars=keep_bars,
                min_scale=min_scale,
                pad=pad,
            ),
            max_pixels=max_pixels,
            sizes=parsed,
            pad_with=pad_with,
            no_upscale=no_upscale,
            quality=quality,
            dry_run=not crops,
        )
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
