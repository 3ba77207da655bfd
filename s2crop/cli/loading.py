"""Load the network, and set up this process for it."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s2crop.cropping.cropper import Cropper
    from s2crop.cropping.early import EarlyCropper

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def load_cropper(
    model: str, weights: Path | None, device: str, precision: str, proposals: str, jobs: int | None = None
) -> "EarlyCropper":
    """Set up this process for a network beside that many busy threads; its `loaded` imports and reads what it takes."""
    # Read when torch is imported: its threads must not spin on the cores that others decode on.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    from s2crop.cropping.early import EarlyCropper
    from s2crop.models.header import input_config

    def load() -> "Cropper":
        with kept_to_the_end():
            from s2crop.cropping.cropper import Cropper  # imports torch, which takes most of the time

            if jobs is not None:
                import torch

                torch.set_num_threads(max(1, cpu_count() // 2, cpu_count() - jobs))
            return Cropper(model, weights, device, precision=precision, proposals=proposals)

    return EarlyCropper(model, input_config(model, weights), load)


@contextmanager
def kept_to_the_end() -> Iterator[None]:
    """What is imported and loaded here stays for as long as the process runs: Python's collector need not go through it
    again and again while it grows, nor once more at the end, which is over a quarter of what `import torch` takes.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def keep_freed_memory() -> None:
    """Let the C library keep what pictures and maps leave for the next ones, as far as it can be asked.

    Large blocks go back to the system otherwise, and getting them again, page by page, takes as long as a resize.
    """
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
                libc.mallopt(parameter, 1 << 30)


def cpu_count() -> int:
    """CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
