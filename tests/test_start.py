"""What a run imports, and what it does while it imports that."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from commands import draw
from pictures import picture
from s2crop.cropping.early import EarlyCropper
from s2crop.cropping.request import CropRequest
from s2crop.errors import WeightsError
from s2crop.files.names import plan_names
from s2crop.files.picture import Picture
from s2crop.files.sources import find_sources
from s2crop.geometry.ratio import parse_ratio
from s2crop.models import header
from s2crop.models.header import InputConfig, input_config
from s2crop.models.weights import MODELS, load_model, save_weights
from s2crop.report import Clock
from s2crop.run import pipeline, work
from s2crop.run.incoming import Listed
from s2crop.run.stopping import Interrupts
from s2crop.run.work import BatchOptions

HERE = Path(__file__).parent


def modules_of(script: str) -> set[str]:
    """What a fresh process has imported in the end."""
    script += "\nimport sys; print(*sorted(sys.modules), file=sys.stderr)"
    paths = os.pathsep.join([str(HERE.parent), str(HERE)])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("model", MODELS)
def test_a_run_imports_neither_torchvision_nor_the_compiler_of_torch(model, tmp_path):
    path = draw(tmp_path / "a.png", (96, 64))
    out = tmp_path / "out"
    script = f"""if True:
        from s2crop import cli
        try: cli.main(["{path}", "-a", "1:1", "-m", "{model}", "-d", "cpu", "-o", "{out}", "-q"])
        except SystemExit as end: assert end.code == 0, end.code
    """
    found = modules_of(script)
    assert "torch" in found and (out / "a_1x1.png").is_file()
    assert not found & {"torchvision", "torch._dynamo", "torch._inductor", "sympy", "scipy", "rich"}


def test_what_was_loaded_is_not_gone_through_again():
    """Python's collector leaves it out, and is at work for all that comes later."""
    script = """if True:
        import gc
        from s2crop.cli.loading import load_cropper
        load_cropper("s2cnet", None, "cpu", "auto", "auto", 2).load()
        assert gc.isenabled() and gc.get_freeze_count() > 10 * len(gc.get_objects())
    """
    assert "torch" in modules_of(script)


def test_pictures_are_prepared_without_torch(tmp_path):
    path = draw(tmp_path / "a.png", (96, 64))
    script = f"""if True:
        from s2crop.cli.loading import load_cropper
        from s2crop.files.picture import Picture
        from s2crop.run import pipeline
        cropper = load_cropper("s2cnet", None, "cpu", "auto", "auto", 2)
        assert cropper.prepare(Picture.open("{path}")).pixels.shape == (3, 256, 384)
        assert cropper.device is None
    """
    assert "torch" not in modules_of(script)


def test_what_is_prepared_early_is_what_the_cropper_prepares(shipped_cropper):
    early = EarlyCropper("s2cnet", input_config("s2cnet", None), lambda: pytest.fail("not to be loaded"))
    for size in ((320, 200), (200, 333), (1200, 900)):
        mine, its = (cropper.prepare(Picture.open(picture(*size))) for cropper in (early, shipped_cropper))
        assert np.array_equal(mine.pixels, its.pixels) and (mine.width, mine.height) == (its.width, its.height)


def test_pictures_are_prepared_while_the_network_is_loaded(tmp_path, shipped_cropper):
    """The load does not end before the workers have prepared a picture, and skipped another."""
    for name in ("a.png", "b.png", "c.png"):
        draw(tmp_path / name, (96, 64))
    done = draw(tmp_path / "out" / "b_1x1.png")
    sources = find_sources([str(tmp_path / name) for name in ("a.png", "b.png", "c.png")])
    ratios = [parse_ratio("1:1")]
    plans = plan_names(sources, ratios, 1, folder=tmp_path / "out", fmt="same", circle=False)
    ready = threading.Event()

    class Watched(EarlyCropper):
        def prepare(self, *given, **more):
            prepared = super().prepare(*given, **more)
            ready.set()
            return prepared

    def load():
        assert ready.wait(20)
        return shipped_cropper

    got = []
    cropper = Watched("s2cnet", input_config("s2cnet", None), load)
    options = BatchOptions(CropRequest(ratios=tuple(ratios)), jobs=2, folder=tmp_path / "out", skip_existing=True)
    pipeline.run(Listed(sources, plans), cropper, options, got.append)
    assert [record.status for record in got] == ["written", "skipped", "written"] and done.is_file()
    assert {record.device for record in got} == {"cpu"} and {record.model for record in got} == {"s2cnet"}


@pytest.mark.parametrize("room", [1 << 30, 1])
def test_workers_go_on_while_the_network_is_loaded_if_there_is_room(tmp_path, shipped_cropper, monkeypatch, room):
    """With two jobs and batches of two, four pictures are on their way otherwise."""
    monkeypatch.setattr(work, "LEAST_ROOM", room)
    monkeypatch.setattr(work, "ROOM_BYTES", 0)
    names = [f"{i:02}.png" for i in range(18)]
    for name in names:
        draw(tmp_path / name, (96, 64))
    sources = find_sources([str(tmp_path / name) for name in names])
    ratios = [parse_ratio("1:1")]
    plans = plan_names(sources, ratios, 1, folder=tmp_path / "out", fmt="same", circle=False)
    wanted = 4 + pipeline._WHILE_LOADING if room > 1 else 4
    prepared, enough, seen = [], threading.Event(), []

    class Watched(EarlyCropper):
        def prepare(self, picture, *given, **more):
            made = super().prepare(picture, *given, **more)
            prepared.append(picture)
            if len(prepared) >= wanted:
                enough.set()
            return made

    def load():
        assert enough.wait(60)
        time.sleep(0.1)
        seen.append(len(prepared))
        return shipped_cropper

    got = []
    cropper = Watched("s2cnet", input_config("s2cnet", None), load)
    options = BatchOptions(CropRequest(ratios=tuple(ratios)), jobs=2, batch_size=2, folder=tmp_path / "out")
    pipeline.run(Listed(sources, plans), cropper, options, got.append)
    assert seen == [wanted]
    assert [Path(record.input).name for record in got] == names and {record.status for record in got} == {"written"}


@pytest.mark.parametrize("known", [True, False])
def test_a_network_that_cannot_be_loaded_ends_the_run(tmp_path, known):
    for name in "abcdef":
        draw(tmp_path / f"{name}.png", (96, 64))
    sources = find_sources([str(tmp_path)])
    ratios = [parse_ratio("1:1")]
    plans = plan_names(sources, ratios, 1, folder=tmp_path / "out", fmt="same", circle=False)

    def load():
        raise WeightsError("damaged")

    cropper = EarlyCropper("s2cnet", InputConfig(256, True) if known else None, load)
    options = BatchOptions(CropRequest(ratios=tuple(ratios)), jobs=2)
    with pytest.raises(WeightsError, match="damaged"):
        pipeline.run(Listed(sources, plans), cropper, options, pytest.fail)
    assert not (tmp_path / "out").exists()


def test_weights_that_change_while_they_are_read(shipped_cropper):
    with pytest.raises(WeightsError, match="changed while they were read"):
        EarlyCropper("s2cnet", InputConfig(64, True), lambda: shipped_cropper).load()


def test_batches_grow_when_the_device_turns_out_to_be_fast():
    cropper = EarlyCropper("s2cnet", InputConfig(64, True), lambda: SimpleNamespace(
        device="cuda", model="s2cnet", config=InputConfig(64, True)
    ))  # fmt: skip
    options = BatchOptions(CropRequest(), jobs=3)
    run = pipeline._Pipeline(Listed([], []), cropper, options, Interrupts(), Clock(), lambda part: None)
    assert (run._options.batch_size, run._in_flight) == (2, 5)
    run._load()
    assert (run._options.batch_size, run._in_flight) == (8, 11)


@pytest.mark.parametrize("name", MODELS)
def test_the_header_says_how_pictures_are_made_ready(name, tmp_path):
    model = load_model(name)
    assert input_config(name, None) == (model.config.short_side, model.config.antialias)
    path = tmp_path / "w.safetensors"
    save_weights(model, path)
    assert input_config(name, path) == input_config(name, None)
    others = set(MODELS) - {name}
    assert all(input_config(other, path) is None for other in others)


def test_a_header_that_says_nothing_is_left_to_the_reader(tmp_path):
    path = tmp_path / "w.safetensors"
    assert input_config("s2cnet", path) is None

    def header_of(config, size=None, **more):
        metadata = {"format": header.FORMAT, "model": "s2cnet", "config": json.dumps(config)} | more
        text = json.dumps({"__metadata__": metadata}).encode()
        path.write_bytes((len(text) if size is None else size).to_bytes(8, "little") + text)
        return input_config("s2cnet", path)

    good = {"short_side": 64, "antialias": True}
    assert header_of(good) == (64, True)
    for bad in ({}, [], {**good, "short_side": 10**6}, {**good, "short_side": True}, {**good, "antialias": 1}, None):
        assert header_of(bad) is None
    assert header_of(good, size=1 << 40) is header_of(good, size=5) is header_of(good, format="other") is None
    path.write_bytes((200_000).to_bytes(8, "little") + b"[" * 200_000)
    assert input_config("s2cnet", path) is None
