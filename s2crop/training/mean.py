"""Write the mean of several runs' weights.

    python -m s2crop.training.mean runs/one runs/other --out runs/mean

Of trainings that began with the same weights it is often better than each of them (Wortsman et al. 2022, "Model
soups"). A run that is named twice counts twice.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from s2crop.errors import InputError
from s2crop.models.weights import MODELS, read_weights, save_weights


def write_mean(runs: Sequence[Path], out: Path, name: str = "s2cnet") -> Path:
    """Write `out/weights.safetensors`; returns it.

    Args:
        runs: folders with weights of a network of this name.
    Raises:
        InputError: they are of networks of different configurations.
        WeightsError: weights that cannot be used.
    """
    configs, states = zip(*(read_weights(run / "weights.safetensors", name) for run in runs), strict=True)
    for run, config in zip(runs, configs, strict=True):
        if config != configs[0]:
            raise InputError(f"{run}: another configuration than that of {runs[0]}")
    model = MODELS[name][0](configs[0])
    model.load_state_dict({key: torch.stack([state[key] for state in states]).mean(0) for key in states[0]})
    out.mkdir(parents=True, exist_ok=True)
    save_weights(model, out / "weights.safetensors")
    return out / "weights.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--out", type=Path, required=True, help="folder to write weights.safetensors in")
    parser.add_argument("--model", choices=tuple(MODELS), default="s2cnet")
    args = parser.parse_args()
    print(write_mean(args.runs, args.out, args.model))


if __name__ == "__main__":
    main()
