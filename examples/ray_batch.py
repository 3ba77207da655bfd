"""Crop a folder or a bucket of pictures with Ray: on this machine, or on the cluster that RAY_ADDRESS names.

    python examples/ray_batch.py photos out -a 16:9,1:1 -s 640
    python examples/ray_batch.py s3://bucket/photos s3://bucket/crops --actors 16 --gpus-per-actor 0.25

Writes OUT/crops, the input tree with the crops of `a.jpg` as `a.jpg_16x9_1.jpg`, and OUT/boxes, Parquet with a row for
each crop and for each picture that failed: box, score, file, error. Needs `pip install '.[ray]'` in a checkout, here
and on the workers.
"""

import argparse
import os
import posixpath
import sys

import pyarrow as pa
import ray
from pyarrow import compute, fs, parquet

from s2crop.ray import CropActor

PICTURES = "jpg jpeg jpe jfif png webp avif gif bmp tif tiff jp2".split()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("input", help="folder or URI of pictures")
    parser.add_argument("out", help="folder or URI that is not there yet")
    parser.add_argument("-a", "--ratio", default="free", help="aspect ratios, commas between (default: free)")
    parser.add_argument("-s", "--size", help="output size: 640 (width) or x360 (height)")
    parser.add_argument("-k", "--top", type=int, default=1, help="crops for each ratio (default: 1)")
    parser.add_argument("-f", "--format", default="same", help="same, jpg, png, webp or avif (default: same)")
    parser.add_argument("--weights", help="a checkpoint, at the same place on every worker")
    parser.add_argument(
        "--actors",
        type=int,
        help="networks at work, each on a CPU besides one that reads (default: 2 where there are 3)",
    )
    parser.add_argument("--gpus-per-actor", type=float, default=0, help="share of a GPU for each (default: 0, on CPUs)")
    parser.add_argument("--batch-size", type=int, default=16, help="pictures that an actor takes at once (default: 16)")
    args = parser.parse_args()

    source, out = located(args.input), located(args.out)
    storage, place = fs.FileSystem.from_uri(out)
    if storage.get_file_info(place).type != fs.FileType.NotFound:
        parser.error(f"{args.out} exists: nothing is written over")

    options = {
        "ratios": args.ratio.split(","),
        "size": args.size,
        "top": args.top,
        "fmt": args.format,
        "weights": args.weights,
    }
    if not ray.is_initialized():
        ray.init()
    actors = args.actors or (2 if ray.cluster_resources().get("CPU", 0) > 2 else 1)  # more would wait for ever
    pictures = ray.data.read_binary_files(source, include_paths=True, file_extensions=PICTURES)
    crops = pictures.map_batches(
        CropActor, fn_constructor_kwargs=options, batch_size=args.batch_size, num_gpus=args.gpus_per_actor or None,
        compute=ray.data.ActorPoolStrategy(size=actors),
    )  # fmt: skip
    written = crops.map_batches(write_crops, fn_kwargs={"source": source, "out": out}, batch_format="pyarrow")
    written.write_parquet(posixpath.join(out, "boxes"))

    status = parquet.read_table(posixpath.join(place, "boxes"), filesystem=storage, columns=["status"])["status"]
    counts = {row["values"]: row["counts"] for row in compute.value_counts(status).to_pylist()}
    print(f"{counts.get('written', 0)} crops written, {counts.get('error', 0)} pictures failed", file=sys.stderr)
    return 1 if counts.get("error") else 0


def located(place: str) -> str:
    """A URI as it is; a folder of this machine by its whole path, which workers understand."""
    return place if "://" in place else os.path.abspath(place)


def write_crops(rows: pa.Table, source: str, out: str) -> pa.Table:
    """Write the crops of a batch and put the names of their files in their place."""
    storage, top = fs.FileSystem.from_uri(out)
    _, source = fs.FileSystem.from_uri(source)
    names, statuses = [], []
    for row in rows.to_pylist():
        name = None
        if row["crop"] is not None:
            # The whole name of the input stays in it: no two inputs have one output.
            stem = posixpath.relpath(row["input"], source)
            name = f"crops/{stem}_{row['ratio'].replace(':', 'x')}_{row['rank']}{row['suffix']}"
            path = posixpath.join(top, name)
            storage.create_dir(posixpath.dirname(path), recursive=True)
            with storage.open_output_stream(path) as file:
                file.write(row["crop"])
        names.append(name)
        statuses.append("written" if name else row["status"])
    rows = rows.drop_columns(["crop", "suffix", "output", "status"])
    return rows.append_column("output", pa.array(names, pa.string())).append_column(
        "status", pa.array(statuses, pa.string())
    )


if __name__ == "__main__":
    sys.exit(main())
