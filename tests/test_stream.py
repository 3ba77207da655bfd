"""Names that come one by one on standard input: each is answered before the next has to be there."""

import io
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image

from commands import draw, files, process, records, s2crop, usage_error
from s2crop.errors import InputError
from s2crop.files.names import Namer, Strangers
from s2crop.files.sources import NameStream, Source
from s2crop.geometry.ratio import parse_ratio
from s2crop.run.incoming import Recent

pytestmark = pytest.mark.usefixtures("folder")


def ask(run, name, end=b"\n"):
    """Send a name and wait for its line."""
    run.stdin.write(os.fsencode(name) + end)
    run.stdin.flush()
    return json.loads(run.stdout.readline())


@pytest.mark.parametrize("more, end", [([], b"\n"), (["-0"], b"\0")])
def test_each_name_is_answered_before_the_next_is_sent(more, end):
    names = ["a.png", "b c.png", "d.png", "missing.png", "e.png"]
    for name in names:
        if name != "missing.png":
            draw(name)
    run = process("--files-from", "-", *more, "--json", "-b", "4", stdin=subprocess.PIPE)
    answers = [ask(run, name, end) for name in names]
    assert [answer["input"] for answer in answers] == names
    assert [answer["status"] for answer in answers] == ["written", "written", "written", "error", "written"]
    assert Path("s2crop-out/e_free.png").is_file()  # also while standard input is open
    started = time.monotonic()
    for _ in range(5):
        assert ask(run, "a.png", end)["status"] == "skipped"
    assert time.monotonic() - started < 5
    assert ask(run, "b c.png", end)["output"] == "s2crop-out/b c_free.png"
    run.stdin.close()
    assert run.wait(20) == 1
    assert run.stdout.read() == b"" and b"missing.png: no such file" in run.stderr.read()


def test_answers_come_in_the_order_of_the_names():
    names = [f"{i}.png" for i in range(30)]
    for i, name in enumerate(names):
        draw(name, (48, 32) if i % 3 else (32, 48))
    run = process("--files-from", "-", "--json", "-j", "3", "-b", "4", stdin=subprocess.PIPE)
    out, _ = run.communicate("\n".join(names).encode())  # without a line break at the end
    assert [json.loads(line)["input"] for line in out.splitlines()] == names
    assert run.returncode == 0


def test_a_stream_gives_what_a_list_gives():
    for name in ("a.png", "x/a.png", "x/a.jpg", "y/a.jpg", "b.jpg"):
        draw(name)
    names = ["a.png", "x/a.png", "x/a.jpg", "y/a.jpg", "b.jpg"]
    Path("list").write_text("\n".join(names))
    asked = ("-a", "1:1,4:5", "-k", "2", "--dry-run")
    listed = records("--files-from", "list", *asked)
    assert records("--files-from", "-", *asked, input=b"a.png\r\n\nx/a.png\nx/a.jpg\ny/a.jpg\nb.jpg") == listed
    parts = [records("--files-from", "-", *asked, "--shard", f"{i}/2", input="\n".join(names)) for i in (1, 2)]
    assert sorted(map(str, parts[0] + parts[1])) == sorted(map(str, listed))
    assert [r["input"] for r in records("b.jpg", "--files-from", "-", "--dry-run", input=b"a.png\n")] == [
        "b.jpg",
        "a.png",
    ]


def test_a_name_that_comes_again_keeps_its_outputs():
    draw("x/a.png")
    draw("y/a.png")
    got = records("--files-from", "-", "--overwrite", input=b"x/a.png\ny/a.png\nx/a.png\ny/a.png\n")
    first, second = "s2crop-out/a_free.png", "s2crop-out/a_png_free.png"
    assert [r["output"] for r in got] == [first, second, first, second]
    assert {r["status"] for r in got} == {"written"}


def outputs(*names, more=()):
    got = records("--files-from", "-", *more, input="\n".join(names).encode())
    return {record["input"]: (Path(record["output"]).name, record["status"]) for record in got}


@pytest.mark.parametrize("more", [[], ["-f", "webp", "-a", "1:1,4:5", "-k", "2"]])
def test_outputs_that_stand_stay_whose_they_are_in_any_order(more):
    names = [f"{folder}/a.png" for folder in "qrstu"]
    for i, name in enumerate(names):
        draw(name, (48, 32 + i))
    first = outputs(*names, more=more)
    assert len({name for name, _ in first.values()}) == 5
    draw("p/a.png", (90, 80))  # new, and in front
    for order in ([*reversed(names)], ["p/a.png", *names], ["p/a.png", "u/a.png", "r/a.png"], ["s/a.png"]):
        before = {name: (Image.open(f"s2crop-out/{name}").size) for name in files("s2crop-out")}
        again = outputs(*order, more=more)
        assert all(again[name][0] == first[name][0] for name in order if name in first)
        assert {again[name][1] for name in order if name in first} == {"skipped"}
        assert all(Image.open(f"s2crop-out/{name}").size == size for name, size in before.items())
    new = outputs("p/a.png", more=more)["p/a.png"]
    assert new[0] not in {name for name, _ in first.values()}
    listed = {name: first[name][0] for name in names} | {"p/a.png": new[0]}
    Path("list").write_text("\n".join(["p/a.png", *names]))
    told = records("--files-from", "list", *more)
    assert {record["input"]: Path(record["output"]).name for record in told} == listed, "as a list has it"


def test_what_is_overwritten_or_left_is_settled_at_its_place():
    for i, folder in enumerate("qrs"):
        draw(f"{folder}/a.png", (48, 32 + i))
        assert outputs(f"{folder}/a.png", more=["--overwrite"]) == {f"{folder}/a.png": ("a_free.png", "written")}
    draw("t/a.png", (80, 32))
    assert outputs("t/a.png", more=["--skip-existing"]) == {"t/a.png": ("a_free.png", "skipped")}
    assert files("s2crop-out") == ["a_free.png"]


def test_no_output_of_another_input_is_taken_though_the_first_is_its_own():
    draw("p/a.png")
    draw("q/a.png", (64, 32))
    outputs("p/a.png", more=["-a", "1:1"])
    assert outputs("q/a.png", more=["-a", "4:5"])["q/a.png"][0] == "a_4x5.png"
    before = Path("s2crop-out/a_4x5.png").read_bytes()
    told = records("--files-from", "-", "-a", "1:1,4:5", input=b"p/a.png")
    assert {record["status"] for record in told} == {"written"}
    assert Path("s2crop-out/a_4x5.png").read_bytes() == before


def test_what_was_moved_or_edited_is_known_and_strangers_keep_theirs():
    draw("q/a.png")
    draw("r/a.png", (64, 32))
    outputs("q/a.png", "r/a.png")
    os.rename("r", "t")
    assert outputs("t/a.png") == {"t/a.png": ("a_png_free.png", "skipped")}
    draw("q/a.png", (80, 32))
    assert outputs("t/a.png", "q/a.png")["q/a.png"] == ("a_free.png", "written")
    draw("s2crop-out/b_free.png", (5, 5))  # no mark of ours: an error as ever
    draw("q/b.png")
    (record,) = records("--files-from", "-", input=b"q/b.png", code=1)
    assert "has no mark of ours" in record["error"]


def test_inputs_are_not_overwritten():
    before = draw("photos/a.png").read_bytes()
    (record,) = records(
        "--files-from",
        "-",
        "-o",
        "photos",
        "--name",
        "{stem}",
        "--overwrite",
        "-a",
        "1:1",
        input=b"photos/a.png",
        code=1,
    )
    assert record["error"] == "photos/a.png is an input; inputs are never overwritten"
    assert Path("photos/a.png").read_bytes() == before


def test_folders_and_filters():
    for name in ("photos/a.png", "photos/b.jpg", "c.jpg"):
        draw(name)
    got = records("--files-from", "-", "--exclude", "*.jpg", input=b"photos\nc.jpg\n")
    assert [r["input"] for r in got] == ["photos/a.png"]
    nothing = (3, "", "s2crop: nothing to do: no picture or video matches\n")
    assert s2crop("--files-from", "-", "--exclude", "*", input=b"c.jpg\n") == nothing
    assert s2crop("--files-from", "-", "--shard", "2/2", input=b"c.jpg\n") == (
        0,
        "",
        "s2crop: part 2 of 2 has no pictures\n",
    )


def test_what_cannot_be_a_list():
    draw("a.png")
    code, out, err = s2crop("--files-from", "-", input=b"a.png\0b.png\0")
    assert (code, out, err) == (1, "", "s2crop: the list of files is separated by NUL: add -0\n")
    code, _, err = s2crop("--files-from", "-", input=b"x" * 70_000)
    assert (code, err) == (1, "s2crop: the list of files has a name of more than 65536 bytes\n")
    (record,) = records("--files-from", "-", input=b"-\n", code=1)  # it is taken
    assert (record["input"], record["error"]) == ("-", "no such file")
    assert usage_error("--files-from", "-", "--name", "x", "-a", "1:1,4:5", input=b"a.png").startswith("--name: ")


def test_many_names_wait_until_they_are_asked_for():
    class Endless(io.RawIOBase):
        served = 0
        stop = False

        def read(self, size=-1):
            self.served += 1
            return b"" if self.stop else b"a.png\n" * 100

        def fileno(self):
            raise OSError

    stream = Endless()
    names = NameStream(stream, False)
    assert names.news.wait(5)
    time.sleep(0.2)
    assert stream.served == 1  # 64 of its 100 names fit
    taken = 0
    while taken < 1000:
        taken += names.take() is not None
    assert stream.served <= 12 and not names.ended
    stream.stop = True
    while not names.ended:  # so that its thread ends
        names.take()


def test_what_is_kept_in_mind_has_a_bound():
    recent = Recent(3)
    for i in range(10):
        recent.add(Path(str(i)))
    assert [Path(str(i)) in recent for i in range(10)] == [False] * 7 + [True] * 3

    namer = Namer([parse_ratio("1:1")], 1, folder=Path("out"), fmt="same", circle=False, remember=3)
    for i in range(100):
        path = Path(f"{i}/a.png")
        namer.plan(Source(str(path), path, Path("a.png")))
    assert len(namer._known) == len(namer._taken) == 3 and len(namer._next_number) <= 3

    for i in range(9):
        draw(f"{i}/a.png", (40 + i, 30))
    records("--files-from", "-", input="\n".join(f"{i}/a.png" for i in range(9)).encode())
    strangers = Strangers(2)
    namer = Namer([parse_ratio("free")], 1, folder=Path("s2crop-out"), fmt="same", circle=False, remember=2)
    last = Source("8/a.png", Path("8/a.png"), Path("a.png"))
    assert namer.plan(last, owners=strangers).crops["free", 1].name == "a_8_free.png"
    assert len(strangers._kept) == 4


def test_a_stream_that_breaks():
    class Broken(io.RawIOBase):
        def fileno(self):
            raise OSError

        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    names = NameStream(Broken(), False)
    assert names.news.wait(5)
    with pytest.raises(InputError, match="the list of files cannot be read: input/output error"):
        names.take()
    assert names.ended and names.take() is None


def test_an_interrupt_while_nothing_comes():
    draw("a.png")
    run = process("--files-from", "-", "--json", stdin=subprocess.PIPE)
    assert ask(run, "a.png")["status"] == "written"
    sent = time.monotonic()
    run.terminate()
    assert run.wait(20) == 130
    assert time.monotonic() - sent < 4
    assert b"interrupted after 1 of 1 picture" in run.stderr.read()
    assert files("s2crop-out") == ["a_free.png"]
