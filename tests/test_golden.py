"""The shipped weights on `examples/` against what they gave when they were shipped: drift of numbers is seen here."""

import json

import pytest
from PIL import Image

from golden_examples import EXAMPLES, GOLDEN, PICTURES, RATIOS, REWRITE, measured
from s2crop import Cropper
from s2crop.choices import MODELS

SCORE_TOLERANCE = 0.01  # on the MOS scale: processors sum in other orders, decoders round pixels differently
BOX_TOLERANCE = 0.01  # of the picture's longer side; candidates lie further apart


@pytest.fixture(scope="module")
def golden():
    assert GOLDEN.is_file(), f"{GOLDEN} is missing: make it with `{REWRITE}`"
    return json.loads(GOLDEN.read_text())


@pytest.fixture(
    scope="module", params=[MODELS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in MODELS[1:])]
)
def model(request):
    return request.param


@pytest.fixture(scope="module")
def cropper(model, request):
    return request.getfixturevalue("shipped_cropper") if model == "s2cnet" else Cropper(model, device="cpu")


@pytest.mark.parametrize("picture", PICTURES)
def test_shipped_weights_give_the_crops_and_scores_they_were_shipped_with(golden, model, cropper, picture):
    expected, found = golden[model][picture], measured(cropper, picture)
    with Image.open(EXAMPLES / picture) as image:
        tolerance_px = BOX_TOLERANCE * max(image.size)
    help_text = f"if this is meant to change: {REWRITE}"
    assert list(found) == list(expected) == [*RATIOS, "parts"], help_text
    assert found["parts"] == pytest.approx(expected["parts"], abs=SCORE_TOLERANCE), help_text
    for ratio in RATIOS:
        *box, score = found[ratio]
        *expected_box, expected_score = expected[ratio]
        assert score == pytest.approx(expected_score, abs=SCORE_TOLERANCE), f"{ratio}; {help_text}"
        assert box == pytest.approx(expected_box, abs=tolerance_px), f"{ratio}; {help_text}"


def test_the_golden_file_covers_every_network_and_picture(golden):
    assert list(golden) == list(MODELS)
    assert all(list(pictures) == list(PICTURES) for pictures in golden.values())
    assert {path.name for path in EXAMPLES.glob("*.jpg")} == set(PICTURES)
