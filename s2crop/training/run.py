"""A training run: its folder, log, seeds, checkpoints to resume from, and the loop over epochs."""

import json
import random
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from s2crop.models.scorer import Scorer
from s2crop.models.weights import save_weights
from s2crop.training.losses import total

Report = Callable[[str], object]  # is told each line of what a training has to say


class Stateful(Protocol):
    """What a checkpoint keeps: a network, an optimizer, a schedule."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object: ...


class Choices(Protocol):
    """What `fit` asks of a recipe."""

    @property
    def epochs(self) -> int: ...

    @property
    def weight_decay(self) -> float: ...

    @property
    def average(self) -> float: ...


class ChoicesOfParts(Choices, Protocol):
    """What `fit_parts` asks of a recipe."""

    @property
    def rate(self) -> float: ...


class Run:
    """Folder of one training: `log.jsonl`, `checkpoint.pt`, `results.json`.

    Every epoch seeds its own generators from (seed, epoch), so a run that was stopped and
    resumed goes the way of one that was not.
    """

    def __init__(self, folder: Path, seed: int, report: Report = print):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.seed, self.report = folder, seed, report
        self.started = time.time()

    def generator(self, epoch: int) -> np.random.Generator:
        """Seed everything for an epoch, and return numpy's generator for it."""
        seed = self.seed * 10_000 + epoch
        random.seed(seed)
        torch.manual_seed(seed)
        return np.random.default_rng(seed)

    def log(self, **row: object) -> None:
        """Add a line of figures to the log, and report it."""
        row = {"time_s": round(time.time() - self.started, 1), **row}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.report("  ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))

    def save(self, epoch: int, **parts: Stateful) -> None:
        """Write a checkpoint of `parts` after so many epochs."""
        state = {"epoch": epoch} | {name: part.state_dict() for name, part in parts.items()}
        temporary = self.folder / "checkpoint.part"
        torch.save(state, temporary)
        temporary.replace(self.folder / "checkpoint.pt")

    def resume(self, **parts: Stateful) -> int:
        """Load the last checkpoint into `parts`; returns how many epochs are done."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return 0
        state = torch.load(path, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        return state["epoch"]

    def results(self) -> dict[str, Any]:
        """What `finish` wrote last; empty if nothing yet."""
        path = self.folder / "results.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def finish(self, **results: object) -> None:
        """Write what was measured."""
        text = json.dumps(results, indent=2, sort_keys=True)
        (self.folder / "results.json").write_text(text + "\n")


class Average:
    """Exponential moving average of a model's parameters; what is validated and shipped."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self.mean = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))  # young averages forget faster
        for key, value in model.state_dict().items():
            self.mean[key].lerp_(value, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        # on the device that they are on: checkpoints are read to the processor
        for key, value in state["mean"].items():
            self.mean[key].copy_(value)
        self.steps = state["steps"]


def on(device: torch.device, parts: Iterable[Tensor]) -> list[Tensor]:
    """A batch on the device that learns from it."""
    return [part.to(device, non_blocking=True) for part in parts]


def half_precision(device: torch.device) -> torch.autocast:
    """bfloat16 where it pays, which is on CUDA; needs no scaling of the loss."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def cosine(step: int, steps: int, warmup: int) -> float:
    """Learning-rate factor: linear warm-up (at most a tenth of the steps), then half a cosine down to 0.01."""
    warmup = min(warmup, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * min(1.0, progress))))


_Network = TypeVar("_Network", bound=Scorer)
_Batch = TypeVar("_Batch")


def fit(
    run: Run,
    trained: nn.Module,
    recipe: Choices,
    parameters: list[dict[str, Any]],
    *,
    batches: Callable[[np.random.Generator], tuple[int, Iterable[_Batch]]],
    losses: Callable[[_Batch], dict[str, Tensor]],
    finished: Callable[[Mapping[str, Tensor]], _Network],
    measure: Callable[[_Network], dict[str, Any]],
    warmup: int,
    resume: bool,
    max_norm: float = 5.0,
    temperatures: nn.ParameterDict | None = None,
    measure_every: int = 1,
    **told: int,
) -> dict[str, Any]:
    """Train with AdamW, a cosine and an average of the weights; the average is measured and written.

    Args:
        trained: a head on maps that stay, or a network some of whose parameters learn.
        parameters: groups of those that learn, for the optimizer, each with its rate `lr`.
        batches: how many there are in an epoch, and those; losses: the weighted losses of one of them, by name.
        finished: the network with an average state of `trained` in it; measure: figures of such a network.
        warmup: steps; measure_every: epochs.
        max_norm: of the gradients of `trained`, which are scaled down to it.
        temperatures: of the losses, learned too; they are among the parameters.
        told: what is kept beside the figures.
    Returns:
        The figures of the last epoch.
    """
    optimizer = torch.optim.AdamW(parameters, weight_decay=recipe.weight_decay)
    rates = [group["lr"] for group in optimizer.param_groups]
    average = Average(trained, recipe.average)
    parts: dict[str, Stateful] = {"model": trained, "optimizer": optimizer, "average": average}
    if temperatures is not None:
        parts["temperatures"] = temperatures
    done = run.resume(**parts) if resume else 0
    results = run.results() if resume else {}
    for epoch in range(done, recipe.epochs):
        trained.train()
        count, drawn = batches(run.generator(epoch))
        sums: dict[str, list[float]] = {}
        for step, batch in enumerate(drawn):
            factor = cosine(epoch * count + step, recipe.epochs * count, warmup)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            found = losses(batch)
            optimizer.zero_grad()
            total(found).backward()
            nn.utils.clip_grad_norm_(trained.parameters(), max_norm)
            optimizer.step()
            average.update(trained)
            for name, value in found.items():
                sums.setdefault(name, []).append(value.item())
            if step % 50 == 49:
                now = "  ".join(f"{name} {np.mean(values[-50:]):.3f}" for name, values in sums.items())
                run.report(f"epoch {epoch}  step {step + 1} of {count}  {now}")
        run.save(epoch + 1, **parts)
        final = finished(average.mean)
        save_weights(final, run.folder / "weights.safetensors")
        if (epoch + 1) % measure_every == 0 or epoch + 1 == recipe.epochs:
            results = measure(final.eval())
        told_of = {} if temperatures is None else {f"temperature_{k}": v.exp().item() for k, v in temperatures.items()}
        run.log(epoch=epoch, **{name: float(np.mean(values)) for name, values in sums.items()}, **results, **told_of)
        run.finish(**results | told)
    return results


def fit_parts(
    run: Run,
    model: _Network,
    trained: list[nn.Parameter],
    temperatures: nn.ParameterDict,
    recipe: ChoicesOfParts,
    *,
    batches: Callable[[np.random.Generator], list[_Batch]],
    losses: Callable[[_Batch, np.random.Generator], dict[str, Tensor]],
    measure: Callable[[_Network], dict[str, float]],
    resume: bool,
) -> dict[str, float]:
    """`fit` for parts of a network all of which share one rate.

    Args:
        trained: the parameters that move; all others stay.
        temperatures: of the losses, learned too.
        batches: those of an epoch; losses: the weighted losses of one of them, by name.
    """
    device = next(model.parameters()).device
    model.requires_grad_(False)
    for p in trained:
        p.requires_grad_(True)

    def drawn(rng: np.random.Generator) -> tuple[int, Iterable[tuple[_Batch, np.random.Generator]]]:
        found = batches(rng)
        return len(found), ((batch, rng) for batch in found)

    def losses_of(batch: tuple[_Batch, np.random.Generator]) -> dict[str, Tensor]:
        with half_precision(device):
            return losses(*batch)

    def finished(state: Mapping[str, Tensor]) -> _Network:
        final = type(model)(model.config).to(device)
        final.load_state_dict(state)
        return final

    plain = [*(p for p in trained if p.ndim < 2), *temperatures.parameters()]
    return fit(
        run,
        model,
        recipe,
        [
            {"params": [p for p in trained if p.ndim >= 2], "lr": recipe.rate},
            {"params": plain, "lr": recipe.rate, "weight_decay": 0.0},
        ],
        batches=drawn,
        losses=losses_of,
        finished=finished,
        measure=measure,
        warmup=100,
        resume=resume,
        max_norm=1.0,
        temperatures=temperatures,
    )


def log_temperatures(device: torch.device, **values: float) -> nn.ParameterDict:
    """Temperatures to be learned, as logarithms."""
    return nn.ParameterDict(
        {name: nn.Parameter(torch.tensor(value, device=device).log()) for name, value in values.items()}
    )
