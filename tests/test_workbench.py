"""`s2crop-eval` and `s2crop-train` on made-up photos and labels."""

import gzip
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from made_up_data import rated_boxes
from networks import make_weights
from s2crop import cli
from s2crop.choices import SPLITS
from s2crop.cropping.cropper import Cropper
from s2crop.datasets.metrics import srcc
from s2crop.datasets.split import is_validation
from s2crop.evaluation import baselines, fcdb, gaic, integrity, tables
from s2crop.files.picture import Picture


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twenty noise photos with labels in the layout of the evaluations."""
    folder = tmp_path_factory.mktemp("data")
    rng, labels, boxes = np.random.default_rng(0), [], {}
    for i in range(20):
        Image.fromarray(rng.integers(0, 255, (60, 90, 3), dtype=np.uint8)).save(folder / f"p{i}.png")
        corner = rng.uniform(0, 0.3, 2)
        pairs = [{"a": [0, 0, 0.5, 0.5], "b": [0.2, 0.2, 0.9, 0.9], "votes_a": 1, "votes_b": 4}]
        labels.append({"id": f"p{i}", "width": 900, "height": 600, "best": [*corner, *(corner + 0.6)], "pairs": pairs})
        boxes[f"p{i}"] = [
            {"box": [0.4, 0.4, 0.5, 0.5], "score": 0.9, "kind": "face", "label": "face"},
            {"box": [0.0, 0.9, 0.98, 1.0], "score": 0.9, "kind": "text", "label": "text"},
            {"box": [0.1, 0.1, 0.2, 0.2], "score": 0.3, "kind": "face", "label": "face"},
        ]
    (folder / "labels.json").write_text(json.dumps(labels))
    (folder / "boxes.json.gz").write_bytes(gzip.compress(json.dumps(boxes).encode()))
    return folder


@pytest.fixture
def weights(small_weights):
    return str(small_weights)


def test_fcdb_prints_a_table_and_keeps_the_figures(data, weights, tmp_path):
    results = tmp_path / "results.json"
    results.write_text('{"other": 1}')
    out = CliRunner().invoke(
        cli.evaluate,
        [
            "fcdb",
            str(data),
            str(data / "labels.json"),
            "--split",
            "all",
            "--weights",
            weights,
            "-d",
            "cpu",
            "--results",
            str(results),
        ],
    )
    assert out.exit_code == 0, out.output
    assert "labels.json, all split, 20 pictures" in out.output and "| centre crop, 80 % of each side |" in out.output
    kept = json.loads(results.read_text())
    assert kept["other"] == 1 and kept["fcdb"]["pictures"] == 20
    rows = {row["scorer"]: row for row in kept["fcdb"]["rows"]}
    best = np.array([row["best"] for row in json.loads((data / "labels.json").read_text())])
    assert rows["full picture"]["iou"] == pytest.approx(np.prod(best[:, 2:] - best[:, :2], axis=1).mean(), abs=1e-5)
    assert rows["full picture"]["pairs_3"] == 1.0  # the larger crop has the votes
    assert 0.1 < rows["s2cnet"]["iou"] < 1 and 0.1 < rows["s2cnet"]["iou_ratio"] < 1


def test_splits_are_those_of_the_training(data, weights):
    cropper = Cropper(weights=weights, device="cpu")
    counts = {
        split: fcdb.evaluate(cropper, data, data / "labels.json", split=split)["pictures"]
        for split in SPLITS
        if split != "validation" or any(is_validation(f"p{i}") for i in range(20))
    }
    assert counts["training"] == sum(not is_validation(f"p{i}") for i in range(20)) and counts["all"] == 20


@pytest.mark.slow
def test_integrity_counts_what_could_be_held(data, weights):
    out = CliRunner().invoke(
        cli.evaluate,
        ["integrity", str(data), str(data / "boxes.json.gz"), "--split", "all", "--weights", weights, "-d", "cpu"],
    )
    assert out.exit_code == 0, out.output
    # the face fits all four ratios; the text line is wider than any but the crop of 16:9
    assert "| face | centre crop | 80 | 0.000 | 0.000 | 0.000 | 0.000 |" in out.output
    assert "| text | centre crop | 20 |" in out.output and "| lettering | centre crop |" in out.output
    assert "| lettering | s2cnet, --protect none |" in out.output


@pytest.mark.slow
def test_integrity_tells_what_pads_save_and_how_often_there_are_any(data, weights):
    cropper = Cropper(weights=weights, device="cpu")
    result = integrity.evaluate(cropper, data, data / "boxes.json.gz", split="all", pad="always")
    rows = {(row["scorer"], row["kind"]): row for row in result["rows"]}
    for kind in ("face", "text", "lettering"):
        row = rows["s2cnet, --pad always", kind]
        assert row["boxes"] == rows["s2cnet", kind]["boxes"] and row["cut"] == row["lost"] == row["missed"] == 0
    filled = result["padded"]["photos"]
    assert set(filled) == set(integrity.RATIOS) and filled["9:16"] == filled["1:1"] == 1.0
    assert "Filled up, of lettered copies: 1.000 at 1:1" in integrity.table(result)
    assert {row["scorer"] for row in result["rows"]} == {"s2cnet", "s2cnet, --pad always"}
    assert "padded" not in integrity.evaluate(cropper, data, data / "boxes.json.gz", split="all")


@pytest.mark.slow
def test_of_things_that_were_marked_the_first_counts_and_its_core(data, weights, tmp_path):
    marks = {"p0": {"main": [[0.4, 0.4, 0.6, 0.6], [0, 0, 0.1, 0.1]], "weight": [1, 1], "core": [0.45, 0.45, 0.5, 0.5]}}
    marks |= {
        "p1": {"main": [], "weight": [], "core": None},
        "p2": {"main": [[0, 0, 1, 1]], "weight": [1], "core": None},
    }
    (tmp_path / "main_subjects.json").write_text(json.dumps(marks))
    cropper = Cropper(weights=weights, device="cpu")
    found = integrity.evaluate(cropper, data, tmp_path / "main_subjects.json", split="all")
    rows = {(row["scorer"], row["kind"]): row for row in found["rows"]}
    assert found["pictures"] == 2  # nothing stands out in the other
    assert (
        rows["centre crop", "core"]["boxes"] == rows["centre crop", "main thing"]["boxes"] == 4
    )  # the larger fits none
    assert rows["centre crop", "main thing"]["cut"] == rows["centre crop", "core"]["lost"] == 0
    marks = {"p0": {"main": [[0.05, 0.4, 0.25, 0.6]], "weight": [1], "core": [0.05, 0.4, 0.1, 0.6]}}
    (tmp_path / "main_subjects.json").write_text(json.dumps(marks))
    found = integrity.evaluate(cropper, data, tmp_path / "main_subjects.json", split="all")
    rows = {(row["scorer"], row["kind"]): row for row in found["rows"]}
    aside = rows["centre crop", "main thing"], rows["centre crop", "core"]
    assert aside[0]["cut"] + aside[0]["lost"] > 0 and aside[1]["lost"] > 0


@pytest.mark.slow
def test_with_pads_faces_and_lines_that_are_large_count_once_more(data, weights, tmp_path):
    boxes = {
        f"p{i}": [
            {"box": [0.4, 0.4, 0.4 + width, 0.5], "score": 0.9, "kind": "face"},
            {"box": [0.2, 0.9, 0.4, 0.9 + height], "score": 0.9, "kind": "text"},
        ]
        for i, (width, height) in enumerate([(0.03, 0.1), (0.05, 0.03)])
    }
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    cropper = Cropper(weights=weights, device="cpu")
    found = integrity.evaluate(cropper, data, tmp_path / "boxes.json", split="all", pad="always")
    counts = {row["kind"]: row["boxes"] for row in found["rows"] if row["scorer"] == "s2cnet"}
    assert (counts["face"], counts["face, prominent"], counts["text"], counts["text, prominent"]) == (8, 4, 8, 4)
    plain = integrity.evaluate(cropper, data, tmp_path / "boxes.json", split="all")
    assert not any("prominent" in row["kind"] for row in plain["rows"])


def test_missed_boxes_are_counted_against_what_fits_together():
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [80, 0, 90, 10.0]])
    assert integrity.most_held(boxes, np.array([40, 40])) == 2 and integrity.most_held(boxes, np.array([90, 10])) == 3
    assert (
        integrity.most_held(boxes, np.array([10, 9])) == 0 and integrity.most_held(boxes[:0], np.array([10, 10])) == 0
    )
    held, cut, none = (integrity.count(np.array([x, 0, x + 40, 40.0]), boxes, np.array([40, 40])) for x in (0, 25, 35))
    assert held.tolist() == [3, 0, 1, 2, 0]  # both that fit together are whole: nothing is missed
    assert cut.tolist() == [3, 1, 2, 2, 2] and none.tolist() == [3, 0, 3, 2, 2]


@pytest.mark.parametrize("name", ["centre crop", "smartcrop.py", "libvips attention"])
def test_other_croppers_give_boxes_of_the_ratio_on_what_stands_out(name):
    found = baselines.baselines()
    if name not in found:
        pytest.skip(f"{name} is not installed")
    pixels = np.full((120, 300, 3), 90, np.uint8)
    pixels[30:90, 210:270] = (220, 60, 40)
    pixels[40:80:4, 220:260] = 255
    box = found[name](pixels, 1.0)
    assert (box >= 0).all() and (box <= [300, 120, 300, 120]).all()
    assert (box[2] - box[0]) / (box[3] - box[1]) == pytest.approx(1, abs=0.05)
    if name != "centre crop":
        assert box[0] > 100  # to the right, where something is


@pytest.fixture(scope="module")
def gaicd(tmp_path_factory):
    """Three noise pictures in GAICD's layout."""
    folder = tmp_path_factory.mktemp("gaicd")
    for name in ("images/test", "annotations", "bbox"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (60, 90, 3), dtype=np.uint8)).save(folder / f"images/test/{i}.jpg")
        corners = rng.integers(0, 20, (12, 2))
        rows = [
            [y, x, y + 35, x + 60, score] for (y, x), score in zip(corners, rng.uniform(1, 5, 12).round(2), strict=True)
        ]
        rows.append([0, 0, 60, 90, -2])
        (folder / f"annotations/{i}.txt").write_text("\n".join(" ".join(map(str, row)) for row in rows))
        (folder / f"bbox/{i}.txt").write_text("10 20 30 50\n0 0 20 20\n5 5 40 80\n1 1 2 2\n")
    return folder


def test_gaic_averages_over_pictures_and_leaves_unrated_crops_out(gaicd, weights):
    rated = gaic.read_gaic(gaicd, "test")
    assert [len(r.mos) for r in rated] == [12, 12, 12] and (rated[0].proposals[0] == [20, 10, 50, 30]).all()
    cropper = Cropper(weights=weights, device="cpu")
    result = gaic.evaluate(cropper, gaicd)
    expected = [
        srcc(cropper.score_prepared(cropper.prepare(Picture.open(r.path)), r.crops, r.proposals, clip=False), r.mos)
        for r in rated
    ]
    (row,) = result["rows"]
    assert (
        result["pictures"] == 3
        and result["proposals"] == "bbox"
        and row["srcc"] == pytest.approx(np.mean(expected), abs=1e-6)
    )
    assert row["acc5"] == pytest.approx(np.mean([row[f"acc{k}_5"] for k in range(1, 5)]))
    own = gaic.evaluate(cropper, gaicd, own_proposals=True)
    assert own["proposals"] == "own" and own["rows"][0]["pcc"] != row["pcc"]


def test_gaic_prints_its_table_and_names_what_is_wrong(gaicd, weights, tmp_path):
    out = CliRunner().invoke(cli.evaluate, ["gaic", str(gaicd), "--weights", weights, "-d", "cpu"])
    assert out.exit_code == 0, out.output
    assert "test split, 3 pictures" in out.output and "| scorer | SRCC | PCC | ACC1/5 |" in out.output
    out = CliRunner().invoke(cli.evaluate, ["gaic", str(tmp_path), "--weights", weights, "-d", "cpu"])
    assert out.exit_code == 1 and "no pictures there" in out.stderr
    (tmp_path / "images/test").mkdir(parents=True)
    (tmp_path / "images/test/0.jpg").write_bytes((gaicd / "images/test/0.jpg").read_bytes())
    out = CliRunner().invoke(cli.evaluate, ["gaic", str(tmp_path), "--weights", weights, "-d", "cpu"])
    assert out.exit_code == 1 and "0.txt: not there" in out.stderr


def test_boxes_alone_are_ranked_without_pictures(weights, tmp_path):
    rows = rated_boxes(np.random.default_rng(0), 5)
    (tmp_path / "boxes.json").write_text(json.dumps(rows))
    out = CliRunner().invoke(
        cli.evaluate,
        [
            "boxes",
            str(tmp_path / "boxes.json"),
            "--split",
            "all",
            "--weights",
            weights,
            "-d",
            "cpu",
            "--results",
            str(tmp_path / "r.json"),
        ],
    )
    assert out.exit_code == 0, out.output
    assert "boxes.json, all split, 5 pictures" in out.output
    (row,) = json.loads((tmp_path / "r.json").read_text())["boxes"]["rows"]
    assert -1 <= row["srcc"] <= 1 and 0 <= row["acc5"] <= row["acc10"] <= 1
    plain = str(make_weights(tmp_path, node_geometry=False, overlap_messages=False))
    out = CliRunner().invoke(cli.evaluate, ["boxes", str(tmp_path / "boxes.json"), "--weights", plain, "-d", "cpu"])
    assert out.exit_code == 1 and "pixels only" in out.stderr


def test_missing_photos_weights_and_data_are_one_line(data, weights, tmp_path):
    (tmp_path / "empty").mkdir()
    out = CliRunner().invoke(
        cli.evaluate, ["fcdb", str(tmp_path / "empty"), str(data / "labels.json"), "--weights", weights, "-d", "cpu"]
    )
    assert out.exit_code == 1 and out.stderr.count("\n") == 1 and "none of the" in out.stderr
    (tmp_path / "bad.pth").write_text("no")
    out = CliRunner().invoke(
        cli.evaluate, ["fcdb", str(data), str(data / "labels.json"), "--weights", str(tmp_path / "bad.pth")]
    )
    assert out.exit_code == 4 and "neither a safetensors file" in out.stderr
    out = CliRunner().invoke(cli.train, ["nonesuch", "--data", str(tmp_path)])
    assert out.exit_code == 1 and "no recipe" in out.stderr
    out = CliRunner().invoke(cli.train, ["proposals", "--data", str(tmp_path), "--out", str(tmp_path / "runs")])
    assert out.exit_code == 1 and "not there" in out.stderr


@pytest.mark.parametrize("what", ["fcdb", "integrity", "boxes", "editor", "masks"])
@pytest.mark.parametrize("text", ["{", '[{"id": "p0"}]', '{"p0": [1]}', "3"])
def test_labels_that_are_something_else_are_one_line(data, weights, tmp_path, what, text):
    path = tmp_path / "labels.json"
    path.write_text(text)
    args = ["boxes", path] if what == "boxes" else [what, data, path]
    if what == "editor":
        args = [what, path, data]
    elif what == "masks":
        args = ["integrity", data, data / "boxes.json.gz", "--masks", path]
    out = CliRunner().invoke(cli.evaluate, [*map(str, args), "--split", "all", "--weights", weights, "-d", "cpu"])
    assert out.exit_code == 1 and out.stderr.count("\n") == 1 and str(path) in out.stderr, out.stderr


@pytest.mark.parametrize("make", ["array", "nothing", "brackets"])
def test_masks_and_labels_of_any_kind_are_one_line(data, weights, tmp_path, make):
    path = tmp_path / "a.npz"
    args = ["integrity", data, data / "boxes.json.gz", "--masks", path]
    if make == "array":
        np.save(path.open("wb"), np.zeros(3))
    elif make == "nothing":
        path.write_bytes(b"")
    else:
        path.write_text("[" * 200_000)
        args = ["fcdb", data, path]
    out = CliRunner().invoke(cli.evaluate, [*map(str, args), "--split", "all", "--weights", weights, "-d", "cpu"])
    assert out.exit_code == 1 and out.stderr.count("\n") == 1 and str(path) in out.stderr, out.output


def test_help_of_both_commands():
    for command in (cli.evaluate, cli.train):
        out = CliRunner().invoke(command, ["--help"])
        assert out.exit_code == 0 and "Usage" in out.output


def test_tables_are_filled_between_their_marks():
    results = {"proposals": {"recall": {"object": 0.5, "face": 0.25}}}
    text = "a\n<!-- table: proposals -->\nold\n<!-- end -->\nb"
    filled = tables.filled(text, results)
    assert filled == "a\n<!-- table: proposals -->\n| object | face |\n|---|---|\n| 0.500 | 0.250 |\n<!-- end -->\nb"
    assert tables.filled(filled, results) == filled


def test_the_table_of_padding_sets_crops_with_pads_beside_those_without():
    row = {"kind": "face", "boxes": 8, "cut": 0.25, "lost": 0.125, "holdable": 8, "missed": 0.25}
    rows = [
        row | {"scorer": "s2cnet"},
        row | {"scorer": "s2cnet, --pad auto", "cut": 0.0, "lost": 0.125, "missed": 0.0},
    ]
    padded = {"photos": dict(zip(integrity.RATIOS, (0.1, 0.2, 0.3, 0.4), strict=True))}
    lines = tables.padding_table({"rows": rows, "padded": padded}).splitlines()
    assert lines[2] == "| face | 8 | 0.375 | 0.125 | 0.250 | 0.000 |" and len(lines) == 7
    assert lines[4:] == [
        "| filled up | 1:1 | 16:9 | 9:16 | 4:5 |",
        "|---|---|---|---|---|",
        "| photos | 0.100 | 0.200 | 0.300 | 0.400 |",
    ]
