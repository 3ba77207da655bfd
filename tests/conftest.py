"""Shared by all tests."""

import os
import signal

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: spinning threads starve each other
if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # as shells start jobs in the background: tests interrupt what they start
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def limits_of_the_command(monkeypatch):
    """Pillow's limits as the commands set them; what a test or a command changes of them is undone."""
    from PIL import Image, PngImagePlugin

    from s2crop.files.picture import MAX_TEXT_BYTES

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", MAX_TEXT_BYTES)
