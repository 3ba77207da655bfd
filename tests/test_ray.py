"""The actor for Ray Data: what it makes of a batch, and two of them against one machine."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pictures
from networks import SCORE_TOLERANCE
from s2crop import Cropper, CropRequest, WeightsError
from s2crop.files.picture import Picture
from s2crop.geometry.ratio import parse_ratio

pytest.importorskip("pyarrow", reason="pip install 's2crop[ray]'")

from s2crop.ray import CropActor  # noqa: E402
from s2crop.run import work  # noqa: E402

ROOT = Path(__file__).parents[1]
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "avif": "AVIF"}


@pytest.fixture
def weights(small_weights):
    return small_weights


def files():
    """Name -> contents: pictures of several formats and shapes, and one that is none."""
    made = {f"sub/{i}.png": pictures.encoded(pictures.photo(300 + 20 * i, 200, noise=5 * i), "PNG") for i in range(5)}
    made |= {"tall.jpg": pictures.encoded(pictures.photo(200, 300), orientation=6), "words.jpg": b"no picture"}
    return made | {"wide.webp": pictures.encoded(pictures.photo(640, 200), "WEBP", lossless=True)}


def batch_of(contents):
    return {"path": np.array(list(contents), object), "bytes": np.array(list(contents.values()), object)}


def crop(weights, contents, *args, **options):
    actor = CropActor(*args, weights=weights, device="cpu", **options)
    return actor(batch_of(contents)).to_pylist()


def test_a_batch_gives_what_the_cropper_gives(weights, tmp_path):
    rows = crop(weights, files(), ["16:9", "1:1"], 2)
    cropper = Cropper(weights=weights, device="cpu")
    for name, data in files().items():
        mine = [row for row in rows if row["input"] == name]
        if name == "words.jpg":
            assert [(r["status"], r["error"], r["crop"], r["box"]) for r in mine] == [
                ("error", "not an image", None, None)
            ]
            continue
        (tmp_path / "file").write_bytes(data)
        with Picture.open(tmp_path / "file") as picture:
            (expected,) = cropper.rank(
                [cropper.prepare(picture)], CropRequest(ratios=(parse_ratio("16:9"), parse_ratio("1:1")), top=2)
            )
        assert [(r["ratio"], r["rank"], tuple(r["box"])) for r in mine] == [(c.ratio, c.rank, c.box) for c in expected]
        np.testing.assert_allclose([r["score"] for r in mine], [c.score for c in expected], atol=SCORE_TOLERANCE)
        for row in mine:
            with Image.open(io.BytesIO(row["crop"])) as image:
                assert image.size == (row["output_width"], row["output_height"])
                assert row["suffix"] == Path(name).suffix and image.format == FORMATS[row["suffix"][1:]]


def test_pads_and_several_sizes(weights):
    name = "wide.webp"
    rows = crop(
        weights, {name: files()[name]}, ["1:1", "free"], size="64,128", pad="always", pad_with="white", fmt="png"
    )
    assert [(r["ratio"], r["size"], r["padded"]) for r in rows] == [
        ("1:1", "64", [0, 22, 0, 22]), ("1:1", "128", [0, 44, 0, 44]), ("free", "64", None), ("free", "128", None),
    ]  # fmt: skip
    for row in rows[:2]:
        with Image.open(io.BytesIO(row["crop"])) as image:
            assert image.size == (row["output_width"],) * 2 and image.convert("RGB").getpixel((9, 9)) == (255, 255, 255)
    with pytest.raises(ValueError, match="transparent pads are for png"):
        CropActor(["1:1"], pad="auto", pad_with="transparent", fmt="jpg", weights=weights)
    with pytest.raises(ValueError, match="smear"):
        CropActor(["1:1"], pad="auto", pad_with="smear", weights=weights)


def test_paths_are_opened_where_there_are_no_bytes(weights, tmp_path):
    (tmp_path / "a.png").write_bytes(files()["sub/0.png"])
    names = [str(tmp_path / "a.png"), str(tmp_path / "none.png")]
    found, missing = CropActor(weights=weights, device="cpu")({"path": np.array(names)}).to_pylist()
    assert (found["input"], found["status"], found["width"], found["model"]) == (names[0], "planned", 300, "s2cnet")
    assert (missing["status"], missing["error"]) == ("error", "no such file")


def test_size_format_shape_and_boxes_alone(weights):
    one = {"a.png": files()["sub/0.png"]}
    (row,) = crop(weights, one, ["1:1"], size="64", fmt="jpg")
    assert Image.open(io.BytesIO(row["crop"])).size == (64, 64) and row["suffix"] == ".jpg"
    (row,) = crop(weights, one, ["1:1"], circle=True)
    assert Image.open(io.BytesIO(row["crop"])).getpixel((0, 0))[-1] == 0
    (row,) = crop(weights, one, ["1:1"], crops=False, size="64")
    assert row["crop"] is None and row["output_width"] == 64 and row["box"]
    (row,) = crop(weights, one, ["1:1"], focus=(999, 1))
    assert row["status"] == "error" and "outside" in row["error"] and row["width"] == 300


def test_a_ratio_that_cannot_hold_what_must_be_kept_is_a_row_of_its_own(weights):
    rows = crop(weights, {"a.png": files()["sub/0.png"]}, ["1:1", "original"], keep=(0, 0, 1, 1))
    assert [(r["ratio"], r["status"], r["crop"] is None) for r in rows] == [
        ("1:1", "error", True), ("original", "planned", False)
    ]  # fmt: skip
    assert rows[0]["error"].startswith("no crop of 1:1 holds") and rows[0]["width"] == 300


def test_types_do_not_depend_on_what_is_missing(weights):
    actor = CropActor(weights=weights, device="cpu")
    good, bad = (actor(batch_of({name: files()[name]})) for name in ("tall.jpg", "words.jpg"))
    assert good.schema == bad.schema and actor({"path": np.array([], object)}).schema == good.schema


def test_a_batch_too_big_for_the_device_is_cropped_one_by_one(weights, monkeypatch):
    actor = CropActor(weights=weights, device="cpu")
    rank = actor._cropper.rank

    def small(prepared, request):
        if len(prepared) > 1 or prepared[0].width == 320:
            raise RuntimeError("out of memory")
        return rank(prepared, request)

    monkeypatch.setattr(actor._cropper, "rank", small)
    rows = actor(batch_of(files())).to_pylist()
    assert [r["input"] for r in rows if r["status"] == "error"] == ["sub/1.png", "words.jpg"]
    assert len(rows) == len(files())


def test_few_decoded_pictures_are_kept_and_the_crops_are_the_same(weights, monkeypatch):
    def crops():
        return [(row["input"], row["box"], row["crop"]) for row in crop(weights, files(), ["16:9", "1:1"])]

    roomy = crops()
    monkeypatch.setattr(work, "LEAST_ROOM", 0)
    monkeypatch.setattr(work, "ROOM_BYTES", 400 * 200 * 4 // 3)  # for one of them, in place of three
    kept, load = [], work.Work.load

    def watch(self, job):
        load(self, job)
        kept.append(kept[-1] + job.room if kept else job.room)

    monkeypatch.setattr(work.Work, "load", watch)
    assert crops() == roomy
    assert 0 < max(kept) <= 400 * 200 * 4


@pytest.mark.parametrize(
    "options", [{"ratios": ["wide"]}, {"size": "640x360"}, {"size": "big"}, {"fmt": "gif"}, {"circle": True},
                {"circle": True, "ratios": ["1:1"], "fmt": "jpg"}, {"quality": 1000}, {"quality": 0},
                {"max_pixels": -1}, {"no_upscale": "x"}]
)  # fmt: skip
def test_options_that_make_no_sense(weights, options):
    with pytest.raises(ValueError):
        CropActor(weights=weights, device="cpu", **options)


def test_an_option_that_there_is_not(weights):
    with pytest.raises(TypeError, match="min_size"):
        CropActor(weights=weights, device="cpu", min_size=1)


def test_weights_that_are_not_there(tmp_path):
    with pytest.raises(WeightsError):
        CropActor(weights=tmp_path / "none.safetensors", device="cpu")


@pytest.mark.slow
def test_two_workers_make_what_one_machine_makes(weights, tmp_path):
    """The example on a Ray of its own with two actors, against the command."""
    pytest.importorskip("ray", reason="pip install 's2crop[ray]'")
    from pyarrow import parquet

    for name, data in files().items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import ray, runpy\nif __name__ == '__main__':\n"
        "    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)\n"
        f"    runpy.run_path({str(ROOT / 'examples/ray_batch.py')!r}, run_name='__main__')\n"
    )
    asked = ["-a", "16:9,1:1", "-k", "2", "-s", "64", "--weights", str(weights)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, driver, "photos", "ray", *asked, "--actors", "2", "--batch-size", "2"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == "28 crops written, 1 pictures failed"
    rows = {
        (Path(r["input"]).name, r["ratio"], r["rank"]): r
        for r in parquet.read_table(tmp_path / "ray/boxes").to_pylist()
    }

    command = [sys.executable, "-m", "s2crop", "photos", "-r", *asked, "-o", "one", "--json", "-b", "1"]
    alone = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert alone.returncode == 1, alone.stderr
    records = [json.loads(line) for line in alone.stdout.splitlines()]
    assert len(records) == len(rows) == 29
    for record in records:
        row = rows[Path(record["input"]).name, record["ratio"], record["rank"]]
        same = "width", "height", "box", "output_width", "output_height", "status", "error", "type", "model", "device"
        assert [row[key] for key in same] == [record[key] for key in same]
        if record["status"] == "written":
            assert abs(row["score"] - record["score"]) < 1e-3
            # Without the mark that tells runs of the command what they made.
            paths = tmp_path / "ray" / row["output"], tmp_path / record["output"]
            one, other = (Image.open(path) for path in paths)
            assert one.format == other.format and one.convert("RGBA").tobytes() == other.convert("RGBA").tobytes()
    written = {
        str(path.relative_to(tmp_path / "ray")) for path in (tmp_path / "ray/crops").rglob("*") if path.is_file()
    }
    assert written == {row["output"] for row in rows.values() if row["output"]}
    assert "crops/sub/0.png_16x9_1.png" in written
