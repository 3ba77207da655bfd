"""Corrections of a sheet as labels: read, measured by, and tuned to."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from made_up_data import run_recipe
from s2crop import cli
from s2crop.cropping.cropper import Cropper
from s2crop.cropping.features import ALL_NAMES
from s2crop.datasets.fixes import is_fixes, read_accepted, read_fixes
from s2crop.datasets.rankings import Ranking, check_size, input_path
from s2crop.errors import InputError
from s2crop.evaluation import editor
from s2crop.models.weights import load_model
from s2crop.training import utility

OLD, NEW = [0, 0, 60, 60], [20, 0, 80, 60]


def line(**changes):
    """A corrected square crop of a picture of 90x60 pixels."""
    told = {"input": "photos/a.png", "width": 90, "height": 60, "ratio": "1:1", "rank": 1, "box": NEW, "was": OLD}
    return {key: value for key, value in (told | changes).items() if value is not None}


def write(path, *lines):
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines))
    return path


@pytest.fixture
def fixes(tmp_path):
    return lambda *lines: read_fixes(write(tmp_path / "fixes.jsonl", *lines))


def test_a_corrected_frame_is_better_than_the_one_that_was_given(fixes):
    found = fixes(line())
    (ranking,) = found.rankings
    assert (ranking.photo, ranking.ratio, ranking.size_wh) == ("photos/a.png", "1:1", (90, 60))
    np.testing.assert_allclose(ranking.candidates * [90, 60, 90, 60], [NEW, OLD])
    assert [list(part) for part in ranking.pairs()] == [[0], [1]] and not ranking.bad
    assert found.text() == "1 correction" and found.concerned == {("photos/a.png", "1:1")}


def test_a_refused_crop_is_worse_than_what_the_file_gives_of_its_ratio(fixes):
    refused = line(box=[5, 0, 65, 60], was=None, refused=True, rank=2)
    found = fixes(line(), refused, line(ratio="4:3", box=[5, 0, 85, 60], was=None, refused=True))
    corrected, against = found.rankings
    np.testing.assert_allclose(against.candidates * [90, 60, 90, 60], [NEW, [5, 0, 65, 60]])
    assert against.bad == {1} and [list(part) for part in against.pairs()] == [[0], [1]] and not corrected.bad
    assert found.text() == "2 corrections, passed over 1 refused without a better one"
    (own,) = fixes(line(refused=True)).rankings  # a line that gives another crop itself
    assert own.bad == {1} and (own.candidates[0] * [90, 60, 90, 60]).tolist() == NEW


def test_what_teaches_nothing_is_passed_over_and_counted(fixes):
    found = fixes(
        line(input="a.mp4", type="video", time_s=1.5),
        line(padded=[4, 0, 4, 0]),
        line(was=[0, 0, 90, 60]),  # it was padded before
        line(was=None),
        line(was=NEW),
        line(input="-"),
        {"input": "gone.png", "status": "error", "error": "not there"},
        "",
    )
    assert not found.rankings
    assert found.text() == (
        "0 corrections, passed over 1 of clips, 1 from standard input, 2 padded, 2 unchanged,"
        " 1 of inputs that failed or were skipped"
    )


def test_several_sizes_of_a_crop_say_what_they_say_once(fixes):
    assert len(fixes(line(size="320"), line(size="640"), line(box=[30, 0, 90, 60])).rankings) == 2


def test_free_and_original_ratios_are_read(fixes):
    free, original = fixes(
        line(ratio="free", box=[0, 0, 40, 60]), line(ratio="original", box=[0, 0, 60, 40], was=[30, 20, 90, 60])
    ).rankings
    assert (free.ratio, original.ratio) == ("free", "original")


@pytest.mark.parametrize(
    "broken",
    [
        "{",
        "[" * 100_000,
        "7",
        '{"input": "a.png", "width": NaN}',
        line(width=None),
        line(input=None),
        line(input="a\0b"),
        line(ratio="0:0"),
        line(ratio=None),
        line(box=[0, 0, 1e400, 9]),
        line(box=[-4, 0, 56, 60]),
        line(box=[0, 0, 60, 10**30]),
        line(box=[60, 0, 120, 60]),
        line(box=[0, 0, 80, 60]),
        line(was=[60, 0, 120, 60]),
        line(was=[0, 0, 60]),
        line(was="here"),
        line(was=[0, 0, 0, 0]),
        line(box=None, refused=True),
        line(width=-5),
        line(height=1e300),
    ],
    ids=lambda broken: str(broken)[:60],
)
def test_a_broken_line_is_one_clear_error(fixes, broken):
    with pytest.raises(InputError, match=r"fixes.jsonl, line 2: .") as caught:
        fixes(line(), broken, line(width=None))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_how_many_more_lines_are_broken_is_told(fixes):
    with pytest.raises(InputError, match=r"line 1: not JSON .*\(2 more lines are broken\)"):
        fixes("{", line(), "[", "}")


def test_a_file_that_is_not_there_is_an_input_error(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(InputError):
            read_fixes(path)


def test_corrections_are_told_from_rankings_by_suffix_or_content(tmp_path):
    assert is_fixes(write(tmp_path / "a.jsonl", "")) and is_fixes(write(tmp_path / "a.json", "", line()))
    assert not is_fixes(write(tmp_path / "b.json", "[", "{}]")) and not is_fixes(tmp_path / "none.json")


def test_accepted_are_the_best_crops_that_nobody_changed(tmp_path):
    path = write(
        tmp_path / "boxes.jsonl",
        line(was=None, box=OLD),
        line(was=None, box=OLD, ratio="1:1", input="photos/b.png"),
        line(was=None, input="photos/b.png", rank=2),
        line(was=None, input="photos/c.png", padded=[1, 0, 1, 0]),
    )
    (found,) = read_accepted(path, {("photos/a.png", "1:1")})
    assert found.photo == "photos/b.png" and found.groups == ((0,),)
    assert [len(part) for part in found.pairs()] == [0, 0]


def test_inputs_are_found_as_they_were_named(tmp_path, monkeypatch):
    photo = tmp_path / "library/photos/a.png"
    photo.parent.mkdir(parents=True)
    Image.new("RGB", (9, 6)).save(photo)
    assert input_path(tmp_path / "library", "photos/a.png") == photo
    assert input_path(photo.parent, "a.png") == photo and input_path(photo.parent, "photos/a.png") == photo
    with pytest.raises(InputError, match="no photo photos/a.png"):
        input_path(tmp_path, "photos/a.png")
    monkeypatch.chdir(tmp_path / "library")
    assert input_path(tmp_path, "photos/a.png").resolve() == photo
    for name in ("x" * 4000, "photos", "../" * 50):
        with pytest.raises(InputError, match="no photo"):
            input_path(tmp_path, name)


def test_a_picture_of_other_sides_is_not_the_one_that_was_corrected(fixes):
    (ranking,) = fixes(line()).rankings
    check_size(ranking, (90, 60))
    with pytest.raises(InputError, match="has 60x90 pixels, and its crops are of 90x60"):
        check_size(ranking, (60, 90))


def test_own_choice_is_judged_by_the_corrected_frame(fixes):
    (ranking,) = fixes(line()).rankings
    better, worse = ranking.candidates
    assert editor.judged_correction(ranking, better).tolist() == [1, 0, 1]
    assert editor.judged_correction(ranking, worse).tolist() == [0, 1, pytest.approx(0.5)]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Ten photos with a bright square each, the crops that a small network gives, and tighter ones in their place."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(10):
        pixels = rng.integers(0, 60, (60, 90, 3), dtype=np.uint8)
        x = int(rng.integers(5, 55))
        pixels[15:45, x : x + 30] = 230
        Image.fromarray(pixels).save(folder / f"photos/p{i}.png")
    return folder


def corrected(library, weights):
    """Its crops, and corrections that are four fifths of their sides."""
    cropper = Cropper(weights=weights, device="cpu")
    crops, fixed = [], []
    for path in sorted((library / "photos").iterdir()):
        for ratio in ("1:1", "free"):
            (crop,) = cropper.crop(path, [ratio])
            x1, y1, x2, y2 = crop.box
            given = line(input=f"photos/{path.name}", ratio=ratio, box=list(crop.box), was=None)
            w, h = round(0.8 * (x2 - x1)), round(0.8 * (y2 - y1))
            x, y = (x1 + x2 - w) // 2, (y1 + y2 - h) // 2
            crops.append(given)
            fixed.append(given | {"box": [x, y, x + w, y + h], "was": given["box"]})
    return crops, fixed


def scale(weights, free=False):
    return float(load_model("s2cnet", weights).choice.weights(free)[ALL_NAMES.index("scale")])


def tune(library, out, *changes, resume=False):
    told = []
    common = {"data": library, "out": out, "device": "cpu", "report": told.append, "resume": resume}
    results = run_recipe("tune", changes=["training.start=start", *changes], **common)
    return results, told


@pytest.fixture
def runs(tmp_path, small_weights):
    (tmp_path / "runs/start").mkdir(parents=True)
    (tmp_path / "runs/start/weights.safetensors").write_bytes(small_weights.read_bytes())
    return tmp_path / "runs"


def test_corrections_move_the_choice_towards_them(library, runs, small_weights):
    crops, fixed = corrected(library, small_weights)
    write(library / "fixes.jsonl", *[one for one in fixed if one["ratio"] == "1:1"])
    results, told = tune(library, runs, "training.pull=1")
    assert told[0] == "fixes.jsonl: 10 corrections" and results["given_ratios_rankings"] == 10
    assert results["given_ratios_iou_held_out"] > results["given_ratios_iou_before"]
    made = runs / "tune/weights.safetensors"
    assert scale(made) < scale(small_weights) - 0.1  # tighter crops
    assert scale(made, free=True) == pytest.approx(scale(small_weights, free=True), abs=1e-3)  # nobody said so
    first = load_model("s2cnet", made).state_dict()
    tune(library, runs, "training.pull=1", resume=True)
    again = load_model("s2cnet", made).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    with pytest.raises(InputError, match="pull was 1"):
        tune(library, runs, "training.pull=2", resume=True)
    tune(library, runs, "training.pull=1000000")  # drawn hard, they hardly move
    assert scale(made) == pytest.approx(scale(small_weights), abs=0.01)

    write(library / "fixes.jsonl", *fixed)
    results, _ = tune(library, runs, "training.pull=1")
    assert results["free_ratio_rankings"] == 10 and scale(made, free=True) < scale(small_weights, free=True)
    write(library / "boxes.jsonl", *crops)
    write(library / "fixes.jsonl", *fixed[:2])
    tune(library, runs, "training.pull=1")
    alone = scale(made)
    results, told = tune(library, runs, "training.pull=1", 'training.accepted=["boxes.jsonl"]')
    assert told[1] == "boxes.jsonl: 18 crops that were found good"
    assert results["given_ratios_rankings"] == 10 and scale(made) > alone  # most were large enough


def test_nothing_to_tune_to_or_no_photo_is_one_error(library, runs):
    write(library / "fixes.jsonl", line(was=None))
    with pytest.raises(InputError, match=r"nothing to tune to in fixes.jsonl"):
        tune(library, runs)
    write(library / "fixes.jsonl", line(input="photos/none.png"))
    with pytest.raises(InputError, match=r"no photo photos/none.png"):
        tune(library, runs)
    write(library / "fixes.jsonl", line(input="photos/p1.png", width=180, height=120))
    with pytest.raises(InputError, match=r"p1.png: the picture has 90x60 pixels, and its crops are of 180x120"):
        tune(library, runs)
    assert not (runs / "tune/weights.safetensors").exists()


def test_weights_move_no_further_than_signs_and_floors_allow():
    rng = np.random.default_rng(3)
    head, score = ALL_NAMES.index("head_lost"), ALL_NAMES.index("score")
    made = []
    for i in range(60):  # whose editor likes lost heads, and whatever the network does not
        x = rng.normal(size=(30, len(ALL_NAMES)))
        made.append(utility.Example(str(i), pools=[utility.Pool(x, np.exp(x[:, head] - x[:, score] - 4).clip(0, 1))]))
    start = np.zeros(len(ALL_NAMES))
    start[head], start[score] = -4.5, 1
    found = utility.tuned(made, start, utility.ChoiceRecipe(pull=0.1, floors={"head_lost": 3.5}))
    assert found[head] == pytest.approx(-3.5, abs=0.01)
    assert found[score] == pytest.approx(0, abs=1e-3)
    assert utility.expected_ious(made, found).mean() > utility.expected_ious(made, start).mean()
    assert utility.tuned([], start, utility.ChoiceRecipe(pull=1)) is start


def test_the_evaluation_tells_of_corrections(library, small_weights, tmp_path):
    _, fixed = corrected(library, small_weights)
    path = write(tmp_path / "fixes.json", *fixed, line(input="a.mp4", time_s=1))
    common = ["--weights", str(small_weights), "-d", "cpu"]
    out = CliRunner().invoke(cli.evaluate, ["editor", str(path), str(library), *common])
    assert out.exit_code == 0, out.output
    assert "fixes.json, all split, 10 pictures" in out.output and "| centre crop |" in out.output
    assert "20 corrections, passed over 1 of clips; 10 of them of a ratio that was given" in out.output
    (row,) = (row for row in out.output.splitlines() if row.startswith("| s2cnet |"))
    best, bad, near = map(float, row.split("|")[3:6])
    assert (best, bad) == (0, 1) and near == pytest.approx(0.64, abs=0.02)  # it gives what was corrected
    write(path, line(was=None))
    out = CliRunner().invoke(cli.evaluate, ["editor", str(path), str(library), *common])
    assert out.exit_code == 1 and "nothing to measure by in the all split (0 corrections" in out.output
    write(path, line(), "{")
    out = CliRunner().invoke(cli.evaluate, ["editor", str(path), str(library), *common])
    assert out.exit_code == 1 and "fixes.json, line 2: not JSON" in out.output and len(out.output.splitlines()) == 1


def test_rankings_are_still_judged_by_the_nearest():
    rows = Ranking("p", "1:1", np.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1]]), ((1,), (0,)), frozenset({0}))
    assert editor.judged(rows, np.array([0.1, 0, 0.6, 1]))[:2].tolist() == [0, 1]
