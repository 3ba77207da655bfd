"""What the reference S2CNet answers on seeded checkpoints, where those cases are at hand.

They cannot be part of the project. The folder is looked for at S2CROP_PARITY, where it has to be if that is set, or
else beside the checkout; without it, the summary of the tests says in red what was not checked.
`python -m pytest tests/test_parity.py -s` prints the largest differences.
"""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import NOT_CHECKED
from s2crop.models.align import rod_align_avg, roi_align_avg
from s2crop.models.weights import load_model

GIVEN = os.environ.get("S2CROP_PARITY")
FOLDER = Path(GIVEN or Path(__file__).parents[2] / "shared" / "parity")
CASES = [(layout, seed) for layout in ("gaicv1", "gaicv2") for seed in (0, 1)]
SCORE_TOLERANCE, FEATURE_TOLERANCE = 1e-4, 1e-5


@pytest.fixture(autouse=True)
def reference_cases():
    if GIVEN:
        assert (FOLDER / "state.py").is_file(), f"S2CROP_PARITY is {GIVEN}, and there is no state.py in it"
    elif not (FOLDER / "state.py").is_file():
        pytest.skip(f"{NOT_CHECKED}: S2CNet against its reference, whose cases are not in {FOLDER}")


@pytest.mark.parametrize(("layout", "seed"), CASES)
def test_network_answers_as_the_reference(layout, seed, tmp_path):
    spec = importlib.util.spec_from_file_location("state", FOLDER / "state.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    state = {key: torch.from_numpy(np.asarray(value)) for key, value in module.make_state(layout, seed).items()}
    path = tmp_path / f"{layout}.pth"
    torch.save(state, path)
    net = load_model("s2cnet", weights=path)
    with np.load(FOLDER / f"{layout}_seed{seed}.npz") as case:
        case = {name: torch.from_numpy(case[name]).float() for name in case.files}
    with torch.inference_mode():
        reduced = net.features(case["image"]).reduced
        boxes, size = case["crops"][None, :4, 1:], net.config.align_size
        found = {
            "reduced_features": reduced,
            "roi_align": roi_align_avg(reduced, boxes, size, 1 / 16)[0],
            "rod_align": rod_align_avg(reduced, boxes, size, 1 / 16)[0],
            "scores": net(case["image"], case["crops"], case["proposals"]),
        }
    worst = {name: float((value - case[name]).abs().max()) for name, value in found.items()}
    print(f"\n{layout} seed {seed}: " + ", ".join(f"{name} {value:.1e}" for name, value in worst.items()))
    assert worst.pop("scores") <= SCORE_TOLERANCE
    assert max(worst.values()) <= FEATURE_TOLERANCE
