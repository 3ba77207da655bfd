"""The device that a network runs on, and the type of numbers that it computes in there."""

import torch

from s2crop.errors import DeviceError


def find_device(name: str) -> torch.device:
    """Raises DeviceError for a device that was named and is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"no such device: {name} (auto, cpu, cuda, cuda:1, mps)") from None
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise DeviceError(f"device {name} is not there")
    return device


def find_precision(name: str, device: torch.device) -> torch.dtype:
    """The backbone's type of numbers; "auto" is fp16 on CUDA, else fp32.

    On a processor with bf16 instructions that type saved a picture of 256x384 about 1 of 6 ms of the backbone, before
    fp32 was packed (`conv`), but 11 of 72 boxes of sample photos came out different. Most are moved by the layers down
    to stride 8, whose maps show what is small: with those in fp32 it is 3. So the type is left to be asked for.
    """
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    try:
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
    except KeyError:
        raise ValueError(f"precision is auto, fp32, bf16 or fp16, not {name!r}") from None
