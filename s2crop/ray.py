"""Many machines: an actor for Ray Data, which does the rest.

    import ray
    from s2crop.ray import CropActor

    pictures = ray.data.read_binary_files("s3://bucket/photos", include_paths=True)
    crops = pictures.map_batches(
        CropActor, fn_constructor_kwargs={"ratios": ["16:9", "1:1"], "size": "640"}, batch_size=16, concurrency=4, num_gpus=0.25
    )

Ray itself is not imported here. `examples/ray_batch.py` is a whole command. Install with `pip install 's2crop[ray]'`.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from s2crop.choices import MAX_PIXELS
from s2crop.cropping.cropper import Cropper
from s2crop.cropping.request import Crop, CropRequest, Prepared
from s2crop.errors import InputError, S2CropError
from s2crop.files import sizes
from s2crop.files.encode import encode
from s2crop.files.formats import ALPHA_FORMATS, FORMATS, can_hold_circles, either, output_suffix
from s2crop.files.picture import Picture
from s2crop.geometry.ratio import parse_ratio
from s2crop.run import report
from s2crop.run.report import Record

if TYPE_CHECKING:
    import numpy as np
    import pyarrow


class CropActor:
    """Crops batches of pictures; the network is loaded once, when an actor starts.

    Made for `ray.data.Dataset.map_batches` with a `batch_size` of some ten pictures; `num_gpus` there is the share of a
    GPU that each actor gets. Decoding takes more time than the network, so several actors share a GPU well.

    Args:
        ratios, top, focus, keep, protect: as `s2crop.Cropper.crop` has them.
        size: output size, one side of it: "640" (width) or "x360" (height); the other follows from the ratio.
        no_upscale: leave crops that are smaller as they are.
        circle: square crops with transparent corners.
        fmt: one of `s2crop.files.formats.FORMATS`; "same" is as the input, and PNG for what is not written.
        quality: 1 to 100, for lossy formats.
        crops: give the encoded crops; False for boxes and scores alone.
        max_pixels: larger pictures are refused.
        model, weights, device, precision, proposals: as `s2crop.Cropper` has them.
    Raises:
        ValueError: an option that makes no sense. WeightsError, DeviceError: see there.
    """

    def __init__(
        self,
        ratios: Sequence[str] = ("free",),
        top: int = 1,
        *,
        size: str | None = None,
        no_upscale: bool = False,
        circle: bool = False,
        fmt: str = "same",
        quality: int = 90,
        crops: bool = True,
        focus=None,
        keep=None,
        protect: str = "all",
        max_pixels: int = MAX_PIXELS,
        model: str = "s2cnet",
        weights: str | Path | None = None,
        device: str = "auto",
        precision: str = "auto",
        proposals: str = "auto",
    ):
        self._ratios = {ratio.label: ratio for ratio in map(parse_ratio, ratios)}
        self._size = sizes.parse_size(size) if size else None
        if self._size and self._size.width and self._size.height:
            raise ValueError(f"size {size!r} has two sides: give one, the other follows from the ratio")
        if fmt not in FORMATS:
            raise ValueError(f"fmt is one of {', '.join(FORMATS)}, not {fmt!r}")
        if circle and (set(self._ratios) != {"1:1"} or not can_hold_circles(fmt)):
            raise ValueError(f"circles are for ratios=['1:1'] and for {either(ALPHA_FORMATS)}")
        self._request = CropRequest(tuple(self._ratios.values()), top, focus, keep, protect, circle)
        self._no_upscale, self._circle, self._fmt, self._quality = no_upscale, circle, fmt, quality
        self._crops, self._max_pixels = crops, max_pixels
        self._cropper = Cropper(model, weights, device, precision=precision, proposals=proposals)

    def __call__(self, batch: "dict[str, np.ndarray]") -> "pyarrow.Table":
        """Crop a batch.

        Args:
            batch: "path", the pictures' names; "bytes", their files' contents, without which the paths are opened.
        Returns:
            A row for each crop, and one for each picture that failed: the fields of `s2crop.run.report.Record`, "crop", the
            bytes of a file, and "suffix", what its name ends with. "status" is "planned" (nothing is written here) or
            "error".
        """
        names = [str(path) for path in batch["path"]]
        contents = batch["bytes"] if "bytes" in batch else map(Path, names)
        looked = [self._look(name, source) for name, source in zip(names, contents, strict=True)]
        usable = [found for found in looked if found[2] is not None]
        ranked = iter(self._rank([prepared for _, _, prepared in usable]))
        rows: list[_Row] = []
        for record, picture, prepared in looked:
            if prepared is None:
                rows.append(_Row(record))
                continue
            crops = next(ranked)
            rows += (
                [_Row(report.failed(record, crops))]
                if isinstance(crops, Exception)
                else self._cut(record, picture, crops)
            )
        return _table(rows)

    def _look(self, name: str, source: "bytes | Path") -> "tuple[Record, Picture | None, Prepared | None]":
        record = Record(input=name, status=report.PLANNED, model=self._cropper.model, device=self._cropper.device)
        try:
            picture = Picture.open(source, max_pixels=self._max_pixels)
            record = replace(record, width=picture.width, height=picture.height)
            scale = sizes.likely_scale(picture, self._ratios, self._size, self._no_upscale)
            return record, picture, self._cropper.prepare(picture, scale)
        except Exception as error:
            return report.failed(record, error), None, None

    def _rank(self, prepared: Sequence[Prepared]) -> list[list[Crop] | Exception]:
        try:
            return self._cropper.rank(prepared, self._request)
        except Exception as error:
            if isinstance(error, S2CropError) and not isinstance(error, InputError):
                raise
            if len(prepared) == 1:
                return [error]
        # One bad picture, or a batch too big for the device's memory: the others may do alone.
        return [crops for one in prepared for crops in self._rank([one])]

    def _cut(self, record: Record, picture: Picture, crops: Sequence[Crop]) -> "list[_Row]":
        """The crops of a picture, up to the first that fails."""
        rows = []
        with picture:
            # as a run decodes, so that the same files come out
            boxes = [(crop.ratio, crop.box) for crop in crops]
            scale = min(picture.decoded_scale, sizes.needed_scale(boxes, self._ratios, self._size, self._no_upscale))
            for crop in crops:
                one = replace(record, ratio=crop.ratio, rank=crop.rank, box=crop.box)
                try:
                    if not math.isfinite(crop.score):
                        raise InputError("the score is not a number (precision='fp32' may help)")
                    one = replace(one, score=crop.score)
                    rows.append(self._encode(one, picture, scale))
                except Exception as error:
                    rows.append(_Row(report.failed(one, error)))
                    break
        return rows or [_Row(report.failed(record, InputError("no crop fits")))]

    def _encode(self, record: Record, picture: Picture, scale: int) -> "_Row":
        x1, y1, x2, y2 = record.box
        size_wh = sizes.output_size(record.box, self._size, self._no_upscale, self._ratios[record.ratio])
        width, height = size_wh or (x2 - x1, y2 - y1)
        record = replace(record, output_width=width, output_height=height)
        if not self._crops:
            return _Row(record)
        suffix = output_suffix(picture.format, self._fmt, self._circle)
        picture.decode(scale)
        image = picture.crop(record.box, size_wh)
        return _Row(record, encode(image, suffix, self._quality, circle=self._circle), suffix)


@dataclass(frozen=True)
class _Row:
    record: Record
    crop: bytes | None = None
    suffix: str | None = None


def _table(rows: Sequence[_Row]) -> "pyarrow.Table":
    """Rows as a table whose types do not depend on what is missing in them."""
    import pyarrow as pa

    types = {"box": pa.list_(pa.int32()), "time_s": pa.float64(), "score": pa.float32(), "crop": pa.large_binary()}
    types |= dict.fromkeys(("width", "height", "cover_rank", "rank", "output_width", "output_height"), pa.int32())
    names = [*Record.__dataclass_fields__, "crop", "suffix"]
    schema = pa.schema([(name, types.get(name, pa.string())) for name in names])
    return pa.Table.from_pylist([asdict(row.record) | {"crop": row.crop, "suffix": row.suffix} for row in rows], schema)
