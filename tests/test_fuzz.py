"""Damaged files by the hundred through the whole command: a crop or one line for each, no trace, no hang, no change."""

import hashlib
import json
import struct
import zlib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pictures
from commands import files, process

JXL = find_spec("pillow_jxl") is not None
if JXL:
    import pillow_jxl  # noqa: F401 (tells Pillow of itself)

EACH = 100  # mutants of each format
_NO_FAILURE = (
    " frames, the first is cropped",
    " frames, the largest is cropped",
    "s2crop: of raw files the JPEG that the camera put into them is cropped",
)
TIMEOUT_S = 300  # some 10 s are usual


def seeds():
    """Small valid files, by suffix; several of a format where it has several kinds."""
    photo = pictures.photo(60, 44, noise=10)
    alpha = photo.convert("RGBA")
    alpha.putalpha(120)
    profile = pictures.p3_profile()
    return {
        "jpg": [pictures.encoded(photo, orientation=6, icc_profile=profile), pictures.encoded(photo, progressive=True),
                pictures.encoded(photo.convert("CMYK"), icc_profile=pictures.cmyk_profile())],
        "png": [pictures.encoded(photo, "PNG", icc_profile=profile), pictures.encoded(alpha.quantize(60), "PNG"),
                pictures.animation("PNG"), pictures.png_with_late_exif(photo, 8)],
        "webp": [pictures.encoded(photo, "WEBP", icc_profile=profile), pictures.encoded(alpha, "WEBP", lossless=True),
                 pictures.animation("WEBP")],
        "gif": [pictures.encoded(photo, "GIF"), pictures.animation("GIF")],
        "heic": [pictures.heic(photo, 6, icc_profile=profile), pictures.heic(alpha),
                 pictures.heic(photo, color_primaries=9, transfer_characteristics=16, matrix_coefficients=9)],
        "avif": [pictures.encoded(photo, "AVIF"), pictures.encoded(alpha, "AVIF", icc_profile=profile)],
        "tif": [pictures.encoded(photo, "TIFF", compression="tiff_lzw"), pictures.encoded(photo.convert("L"), "TIFF")],
        "dng": [pictures.dng(pictures.encoded(photo), pictures.encoded(photo.reduce(4))),
                pictures.cr3(pictures.encoded(photo), 6), pictures.raf(pictures.encoded(photo))],
        # Hardly a bit of it can change unseen, so there is a box with nothing in it.
        **({"jxl": [pictures.encoded(each, "JXL", use_container=True) + pictures.box(b"free", bytes(4000))
                    for each in (photo, alpha)]} if JXL else {}),
    }  # fmt: skip


def mutated(data, rng):
    """A copy with a few of the things that go wrong with files: noise, gaps, repeats, ends cut off, extreme numbers."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if len(data) < 20:
            break
        # Headers are short, and most of what can go wrong is in them.
        at = int(rng.integers(0, len(data) if rng.random() < 0.5 else min(len(data), 200)))
        length = int(rng.integers(1, 40))
        match rng.integers(0, 7):
            case 0:
                data[at] ^= 1 << rng.integers(0, 8)
            case 1:
                data[at : at + length] = rng.bytes(len(data[at : at + length]))
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length] * int(rng.integers(1, 4))
            case 4:
                data[at:at] = rng.bytes(length)
            case 5:
                extreme = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\x80\0"])
                data[at : at + len(extreme)] = extreme
            case 6:
                del data[max(20, at) :]
    return bytes(data)


def with_checksums(data):
    """A PNG whose chunks have the checksums that fit, so that readers believe what is in them."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        out += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return bytes(out)


def test_mutants_are_mutants_and_the_same_each_time():
    for kinds in seeds().values():
        for data in kinds:
            assert mutated(data, np.random.default_rng(1)) == mutated(data, np.random.default_rng(1)) != data
    png = seeds()["png"][0]
    assert with_checksums(png) == png


@pytest.mark.slow
def test_mutants_cost_one_line_each_at_most(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(20240229)
    hashes = {}
    for suffix, kinds in seeds().items():
        for i in range(EACH):
            data = mutated(kinds[i % len(kinds)], rng)
            data = with_checksums(data) if suffix == "png" and i % 2 else data
            path = Path("in") / f"{i:03}.{suffix}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            hashes[str(path)] = hashlib.sha256(data).hexdigest()

    run = process("in", "-a", "1:1,free", "-s", "32", "-f", "webp", "--json", "--max-pixels", "4000000", "-j", "4",
                  "--sheet", "sheet.html")  # fmt: skip
    try:
        out, err = (stream.decode() for stream in run.communicate(timeout=TIMEOUT_S))
    except Exception:
        run.kill()
        run.communicate()
        pytest.fail("it hangs")
    assert run.returncode == 1, err

    got = [json.loads(line) for line in out.splitlines()]
    by_input = Counter(r["input"] for r in got)
    assert by_input.keys() == hashes.keys()
    assert {r["status"] for r in got} == {"written", "error"}
    failed = [r for r in got if r["status"] == "error"]
    assert all(r["error"] and "\n" not in r["error"] and "internal error" not in r["error"] for r in failed)
    written = [r for r in got if r["status"] == "written"]
    assert sorted(files("s2crop-out")) == sorted(r["output"].removeprefix("s2crop-out/") for r in written)
    for record in written:
        with Image.open(record["output"]) as image:
            image.load()
            assert image.width == 32
    # Neither all fail nor all pass, or the mutants are too wild or too tame to tell anything.
    fates = Counter((Path(r["input"]).suffix, r["status"]) for r in got)
    assert all(fates[f".{suffix}", status] >= 10 for suffix in seeds() for status in ("written", "error")), fates

    lines = err.splitlines()
    # A mutant with the first bytes of a clip is one, and may have fewer covers than are asked for.
    told = [line for line in lines[:-1] if not line.endswith(_NO_FAILURE) and " of 3 covers: " not in line]
    assert [line.partition(": ")[2].partition(": ")[0] for line in told] == [r["input"] for r in failed]
    assert all(line.startswith("s2crop: ") for line in lines)
    assert {name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in hashes} == hashes
    assert files(".") == sorted([*hashes, *(r["output"] for r in written), "sheet.html"])
    assert Path("sheet.html").read_text("utf-8").count("<article ") == len(hashes)
