"""Files that strangers send, through the whole command with a small network: crops or one clear line, never a trace."""

import io
import json
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

import pictures
from commands import files, process, records, s2crop, usage_error
from s2crop import Cropper
from s2crop.cli import loading
from s2crop.errors import InputError
from s2crop.files import jpeg, sound, sources
from s2crop.files.pixels import to_srgb

PHOTO = pictures.photo(160, 100)
JPEG, PNG = pictures.encoded(PHOTO), pictures.encoded(PHOTO, "PNG")
WITH_ALPHA = PHOTO.convert("RGBA")
WITH_ALPHA.putalpha(Image.linear_gradient("L").resize(PHOTO.size))


@pytest.fixture(scope="module")
def cropper(small_weights):
    return Cropper(weights=small_weights, device="cpu")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, cropper):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "load_cropper", lambda *asked: cropper)
    return tmp_path


def put(name, data):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def refused(name, data, *args):
    """What is said about one bad input beside a good one, which is cropped; the bad one is left as it is."""
    bad, good = put(f"in/{name}", data), put("in/~good.png", PNG)
    code, out, err = s2crop("in", "-r", "-a", "1:1", *args)
    assert (code, out, files("s2crop-out")) == (1, "", ["~good_1x1.png"])
    assert (bad.read_bytes(), good.read_bytes()) == (data, PNG)
    (message, summary) = err.splitlines()
    assert "1 crop written, 0 skipped, 1 failed" in summary
    assert message.startswith(f"s2crop: in/{name}: ") and "internal error" not in message
    return message.removeprefix(f"s2crop: in/{name}: ")


def cropped(name, data, *args):
    """The record and the picture of the one crop of an input."""
    put(name, data)
    (record,) = records(name, *args)
    assert record["status"] == "written"
    with Image.open(record["output"]) as image:
        image.load()
        assert image.size == (record["output_width"], record["output_height"])
        return record, image


# No pictures


@pytest.mark.parametrize(
    "name, data, said",
    [("a.jpg", b"", "empty file"), ("a.jpg", b"These are only words.\n", "not an image"),
     ("a.jpg", b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>", "not an image"),
     ("a.jpg", bytes(100_000), "not an image"), ("a.png", PNG[:8], "not an image"), ("a.jpg", JPEG[:2], "not an image"),
     ("a.svg.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not an image"),
     ("a.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image")],
)  # fmt: skip
def test_what_is_no_picture_is_said_to_be_none(name, data, said):
    assert refused(name, data) == said


@pytest.mark.parametrize("part", [0.001, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"orientation": 6}])
def test_a_jpeg_that_is_cut_off_gives_no_crop(part, options):
    data = pictures.encoded(pictures.photo(300, 200, noise=20), **options)
    said = refused("a.jpg", data[: int(len(data) * part)])
    assert "truncated" in said or part < 0.1


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "QOI", "JPEG2000"])
def test_a_header_that_promises_billions_of_pixels_is_not_believed(fmt, monkeypatch):
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda im: pytest.fail("decoded") if im.width > 9999 else load(im))
    data = bytearray(pictures.encoded(PHOTO.convert("RGBA") if fmt == "QOI" else PHOTO, fmt))
    big, side = 60000, {"WEBP": 16383}.get(fmt, 60000)  # WebP holds no more
    find = {"JPEG": (b"\xff\xc0", 5, ">HH"), "PNG": (b"IHDR", 4, ">II"), "WEBP": (b"\x9d\x01\x2a", 3, "<HH"),
            "GIF": (b"GIF8", 6, "<HH"), "BMP": (b"BM", 18, "<ii"), "QOI": (b"qoif", 4, ">II"),
            "JPEG2000": (b"ihdr", 4, ">II")}  # fmt: skip
    if fmt == "PPM":
        data = b"P6 60000 60000 255\n"
    elif fmt == "TIFF":
        (entries,) = struct.unpack_from("<I", data, 4)
        for entry in range(entries + 2, entries + 2 + 24, 12):  # the first two are width and height
            struct.pack_into("<HHII", data, entry, *struct.unpack_from("<H", data, entry), 4, 1, big)
    else:
        mark, offset, layout = find[fmt]
        struct.pack_into(layout, data, data.index(mark) + offset, side, side)
        if fmt == "PNG":
            data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    assert refused("a.jpg", bytes(data)) == f"{side}x{side} is over 200000000 pixels (--max-pixels)"


def in_scans(size_wh, scans, progressive, components=3):
    """A JPEG whose scans are of one component each and have no bytes besides their headers."""
    marker, coefficients = (0xC2, b"\0\0\0") if progressive else (0xC0, b"\0\x3f\0")
    frame = struct.pack(">HBHHB", 8 + 3 * components, 8, *size_wh[::-1], components)
    frame += b"".join(bytes([i, 0x11, 0]) for i in range(components))
    tables = b"".join(b"\xff\xc4" + struct.pack(">HB", 20, kind) + b"\1" + bytes(16) for kind in (0, 0x10))
    head = b"\xff\xd8\xff\xdb\0\x43\0" + b"\1" * 64 + b"\xff" + bytes([marker]) + frame + tables
    made = (b"\xff\xda\0\x08\1" + bytes([i % components, 0]) + coefficients for i in range(scans))
    return head + b"".join(made) + b"\xff\xd9"


@pytest.mark.parametrize("progressive, components", [(True, 3), (True, 1), (False, 3)])
def test_a_small_jpeg_that_would_take_minutes_is_not_decoded(progressive, components):
    data = in_scans((14_000, 14_000), 20_000, progressive, components)
    assert len(data) < 210_000
    started = time.monotonic()
    assert refused("a.jpg", data) == "JPEG with more than 100 scans is not supported"
    assert time.monotonic() - started < 10
    record, _ = cropped("small.jpg", in_scans((160, 100), 150, progressive, components))
    assert record["width"] == 160


@pytest.mark.parametrize("progressive, scans", [(True, 10), (False, 1)])
def test_only_the_scans_that_are_decoded_count(progressive, scans, monkeypatch):
    data = pictures.encoded(pictures.photo(300, 200, noise=20), progressive=progressive)
    like_scans = b"\xff\xe5\xff\xff" + (b"\xff\xda\0\x08" * 20_000)[:65533]
    marked = data[:2] + like_scans + data[2:] + like_scans  # in metadata, and behind the end
    monkeypatch.setattr(jpeg, "_MOST_PIXELS", 0)
    monkeypatch.setattr(jpeg, "MOST_SCANS", scans)
    for one in (data, marked):
        jpeg.check_scans(io.BytesIO(one))
    record, _ = cropped("a.jpg", marked)
    assert (record["width"], record["height"]) == (300, 200)
    if progressive:
        hidden = b"\xff\x01\xff\xff", b"\xff\xff", b"\xff\xd0\xff\xff", b"\xff\x02\xff\xff", b"\xff\xfe\0\2"
        monkeypatch.setattr(jpeg, "MOST_SCANS", scans - 1)
        at = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
        for more in (b"", *hidden):  # what libjpeg goes past, or ends at; no segment that a scan could hide in
            with pytest.raises(InputError, match=f"more than {scans - 1} scans"):
                jpeg.check_scans(io.BytesIO(data[:at] + more + data[at:]))


def denied_to(real, name):
    """What opens every file but those of a name."""

    def denied(path, *args, **kwargs):
        if str(path).endswith(name):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    return denied


def test_unreadable_files_cost_one_line_each(monkeypatch):
    if os.geteuid() == 0:  # root may read everything
        monkeypatch.setattr("s2crop.files.picture.open", denied_to(open, "locked.jpg"), raising=False)
    path = put("in/locked.jpg", JPEG)
    path.chmod(0)
    put("in/open.jpg", JPEG)
    code, _, err = s2crop("in")
    assert (code, err.splitlines()[0]) == (1, "s2crop: in/locked.jpg: permission denied")
    assert files("s2crop-out") == ["open_free.jpg"]


def test_what_is_no_file_costs_one_line_or_nothing():
    put("in/sub/a.jpg", JPEG)
    put("in/x.jpg/inside.jpg", JPEG)
    Path("in/self.jpg").symlink_to("self.jpg")
    Path("in/ping.jpg").symlink_to("pong.jpg")
    Path("in/pong.jpg").symlink_to("ping.jpg")
    Path("in/dangling.jpg").symlink_to("nowhere.jpg")
    Path("in/sub/up").symlink_to(Path("in").resolve())
    os.mkfifo("in/pipe.jpg")
    code, _, err = s2crop("in", "-r")
    loop = "too many levels of symbolic links"
    assert (code, err.splitlines()[:-1]) == (1, [
        "s2crop: in/dangling.jpg: no such file",
        f"s2crop: in/ping.jpg: {loop}",
        "s2crop: in/pipe.jpg: not a regular file",
        f"s2crop: in/pong.jpg: {loop}", f"s2crop: in/self.jpg: {loop}",
    ])  # fmt: skip
    assert files("s2crop-out") == ["sub/a_free.jpg", "x.jpg/inside_free.jpg"]
    assert [r["input"] for r in records("in/x.jpg", "--dry-run")] == ["in/x.jpg/inside.jpg"]


def test_sound_that_cannot_be_looked_into_costs_one_line_each(monkeypatch):
    for suffix in sound.SUFFIXES:
        put(f"in/none{suffix}", b"ID3 and no picture")
        os.mkfifo(f"in/pipe{suffix}")
    path = put("in/locked.m4a", b"....ftyp")
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything
        for module in ("sound", "sources"):
            monkeypatch.setattr(f"s2crop.files.{module}.open", denied_to(open, path.name), raising=False)
        monkeypatch.setattr("s2crop.video.ffmpeg.open", denied_to(open, path.name), raising=False)
    put("in/open.jpg", JPEG)
    code, _, err = s2crop("in", "--cover")
    told = [f"s2crop: in/pipe{suffix}: not a regular file" for suffix in sorted(sound.SUFFIXES)]
    assert (code, err.splitlines()[:-1]) == (1, ["s2crop: in/locked.m4a: permission denied", *told])
    assert files("s2crop-out") == ["open_free.jpg"]


# Odd pictures


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (8000, 40)])
def test_extreme_shapes_are_cropped_at_any_ratio_and_size(size):
    put("a.png", pictures.encoded(pictures.photo(*size), "PNG"))
    got = records("a.png", "-a", "1:1,16:9,9:16,original,free", "-k", "2", "-o", "as-cut")
    assert {r["ratio"] for r in got if r["rank"] == 1} == {"1:1", "16:9", "9:16", "original", "free"}
    for record in got:
        x1, y1, x2, y2 = record["box"]
        assert 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]
    sized = records("a.png", "-a", "1:1,16:9", "-s", "64")
    assert [(r["output_width"], r["output_height"]) for r in sized] == [(64, 64), (64, 36)]


def test_every_orientation_gives_one_and_the_same_crop():
    upright = pictures.photo(300, 200)
    for orientation in range(1, 9):
        put(f"in/{orientation}.png", pictures.encoded(upright, "PNG", orientation=orientation))
    got = records("in", "-a", "4:5,free", "-s", "x60")
    assert len({(r["width"], r["height"], r["ratio"], *r["box"]) for r in got}) == 2
    # Pixels are resampled across, then down, and rounded after each: turned ones differ in the last bits.
    assert max(abs(r["score"] - got[i % 2]["score"]) for i, r in enumerate(got)) < 0.01
    for ratio in ("4x5", "free"):
        crops = [np.asarray(Image.open(f"s2crop-out/{i}_{ratio}.png"), int) for i in range(1, 9)]
        assert max(np.abs(crop - crops[0]).max() for crop in crops) <= 3


def test_animations_give_their_first_frame_and_say_so():
    for fmt in ("GIF", "WEBP", "PNG"):
        put(f"in/a.{fmt.lower()}", pictures.animation(fmt))
    put("in/still.gif", pictures.encoded(PHOTO, "GIF"))
    two = pictures.encoded(PHOTO, "MPO", save_all=True, append_images=[PHOTO])
    put("in/phone.jpg", two)
    code, _, err = s2crop("in", "-a", "1:1")
    names = "a.gif", "a.png", "a.webp"
    assert (code, err.splitlines()[:-1]) == (
        0,
        [f"s2crop: in/{name}: 3 frames, the first is cropped" for name in names],
    )
    for name in ("a_1x1.png", "a_png_1x1.png", "a_1x1.webp"):
        red, green, blue = Image.open(f"s2crop-out/{name}").convert("RGB").getpixel((9, 9))
        assert red > 230 and max(green, blue) < 30
    assert s2crop("in", "-a", "1:1", "--overwrite", "-q") == (0, "", "")


@pytest.mark.parametrize("profile", [None, pictures.cmyk_profile()])
@pytest.mark.parametrize("fmt, mode", [("jpg", "CMYK"), ("png", "RGB"), ("webp", "RGB"), ("avif", "RGB")])
def test_cmyk_with_and_without_a_profile(fmt, mode, profile):
    ink = Image.new("CMYK", (160, 100), (255, 0, 0, 0))
    _, image = cropped("a.jpg", pictures.encoded(ink, icc_profile=profile), "-f", fmt, "--colour", "keep")
    assert image.mode == mode and image.info.get("icc_profile") == (profile if mode == "CMYK" else None)
    red, green, blue = to_srgb(image).getpixel((9, 9))
    if profile:
        assert red > 200 and max(green, blue) < 60, "the profile calls this ink red"
    else:
        assert red < 60 and blue > 150, "cyan"


@pytest.mark.parametrize("fmt", ["jpg", "png", "webp", "avif"])
@pytest.mark.parametrize("stored", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_a_wide_profile_is_never_dropped(stored, fmt):
    profile = pictures.p3_profile()
    _, image = cropped("a.jpg", pictures.encoded(PHOTO, stored, icc_profile=profile), "-f", fmt, "-s", "50")
    assert image.info["icc_profile"] == profile


def test_16_bit_grey_keeps_its_depth_and_colour_its_look():
    values = np.linspace(0, 65535, 60 * 90).astype(np.uint16).reshape(60, 90)
    record, image = cropped("grey.png", pictures.encoded(Image.fromarray(values), "PNG"))
    x1, y1, x2, y2 = record["box"]
    assert (np.asarray(image) == values[y1:y2, x1:x2]).all()
    _, image = cropped(
        "grey.png", pictures.encoded(Image.fromarray(values), "PNG"), "-f", "jpg", "-a", "original", "-k", "1"
    )
    assert image.mode == "L" and np.asarray(image).std() > 40
    colour = np.stack([values, values[::-1], values.T.reshape(60, 90)], axis=-1)
    record, image = cropped("colour.png", pictures.png_16_bit_colour(colour))
    x1, y1, x2, y2 = record["box"]
    assert np.abs(np.asarray(image, int) - colour[y1:y2, x1:x2] / 257).max() <= 1


@pytest.mark.parametrize("mode, mode_out", [("P", "RGBA"), ("LA", "LA"), ("RGBA", "RGBA"), ("1", "L")])
def test_palettes_greys_and_alpha_keep_what_they_show(mode, mode_out):
    if mode == "P":
        image = PHOTO.quantize(64)
        data = pictures.encoded(image, "PNG", transparency=bytes(range(0, 256, 4)))
    else:
        image = WITH_ALPHA.convert(mode)
        data = pictures.encoded(image, "PNG")
    record, crop = cropped("a.png", data)
    assert crop.mode == mode_out
    assert crop.tobytes() == pictures.decoded(data).convert(mode_out).crop(record["box"]).tobytes()


def test_transparency_lies_on_white_in_a_jpeg():
    _, image = cropped("a.png", pictures.encoded(Image.new("RGBA", (90, 60), (0, 0, 0, 0)), "PNG"), "-f", "jpg")
    assert image.mode == "RGB" and image.getpixel((9, 9)) == (255, 255, 255)


def with_chunks(*chunks):
    """PNG with more chunks behind its header."""
    return PNG[:33] + b"".join(pictures.png_chunk(*chunk) for chunk in chunks) + PNG[33:]


def metadata(megabytes):
    """Pictures with so much of it, by name."""
    size = megabytes << 20
    text, noise = b"a" * size, np.random.default_rng(0).bytes(size)
    segments = b"".join(b"\xff\xe5\xff\xff" + noise[i : i + 65533].ljust(65533) for i in range(0, size, 65533))
    return {
        "comments.jpg": JPEG[:2] + segments + JPEG[2:],
        "profile.jpg": pictures.encoded(PHOTO, icc_profile=pictures.p3_profile() + noise),
        "xmp.webp": pictures.encoded(PHOTO, "WEBP", xmp=noise),
        "text.png": with_chunks((b"tEXt", b"k\0" + text)),
        "packed.png": with_chunks((b"zTXt", b"k\0\0" + zlib.compress(text))),
        "xmp.png": with_chunks((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(text))),
        "profile.png": with_chunks((b"iCCP", b"k\0\0" + zlib.compress(pictures.p3_profile() + text))),
        "exif.png": with_chunks((b"eXIf", b"II*\0\x08\0\0\0\0\0\0\0\0\0" + noise)),
        "comment.gif": pictures.encoded(PHOTO, "GIF", comment=noise),
    }


def test_huge_metadata_is_no_obstacle_and_stays_behind():
    for name, data in metadata(5).items():
        put(f"in/{name}", data)
    got = records("in", "-a", "1:1")
    assert [r["status"] for r in got] == ["written"] * 9
    for record in got:
        size = Path(record["output"]).stat().st_size
        assert size < 50_000 or "profile" in record["input"]


@pytest.mark.slow
def test_text_that_unpacks_to_more_than_anyone_writes_is_refused():
    packed = zlib.compress(bytes(40 << 20), 9)
    for kind, head in ((b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0"), (b"iCCP", b"k\0\0")):
        assert (
            refused(f"{kind.decode()}.png", with_chunks((kind, head + packed)), "--overwrite")
            == "too much text in its metadata"
        )
        Path(f"in/{kind.decode()}.png").unlink()
    many = [(b"zTXt", b"%d\0\0" % i + zlib.compress(bytes(4 << 20))) for i in range(20)]
    assert refused("many.png", with_chunks(*many), "--overwrite") == "too much text in its metadata"


# Names


def test_the_contents_count_and_not_the_extension():
    put("in/really-png.jpg", PNG)
    put("in/really-jpeg.png", JPEG)
    put("in/UPPER.JPG", JPEG)
    put("in/Mixed.JpEg", JPEG)
    put("in/really-webp.gif", pictures.encoded(PHOTO, "WEBP"))
    assert [r["status"] for r in records("in", "-a", "1:1")] == ["written"] * 5
    formats = {name: Image.open(Path("s2crop-out") / name).format for name in files("s2crop-out")}
    assert formats == {
        "Mixed_1x1.jpg": "JPEG", "UPPER_1x1.jpg": "JPEG", "really-jpeg_1x1.jpg": "JPEG", "really-png_1x1.png": "PNG",
        "really-webp_1x1.webp": "WEBP",
    }  # fmt: skip


ODD = ["a b.jpg", " .jpg", "line\nbreak.jpg", "tab\t.jpg", "-dash.jpg", "--overwrite.jpg", "snö-雪-👀.jpg",
       "e\u0301.jpg",
       "[1].jpg", "*.jpg", "{stem}.jpg", "%s.jpg", "$(id).jpg", "a'\"b.jpg", "a\\b.jpg", "~.jpg", "con.jpg", "a..jpg",
       os.fsdecode(b"latin\xe9.jpg"), "\x1b[31mred.jpg", "<script>.jpg", "[bold].jpg"]  # fmt: skip


@pytest.mark.slow
def test_odd_names_are_cropped_and_told_on_one_line():
    for name in ODD:
        put(f"in/{name}", JPEG)
    got = records("in", "-a", "1:1")
    assert sorted(r["input"] for r in got) == sorted(f"in/{name}" for name in ODD)
    assert files("s2crop-out") == sorted(name.removesuffix(".jpg") + "_1x1.jpg" for name in ODD)
    code, out, err = s2crop("in", "-a", "1:1", "-v", "--overwrite")
    assert code == 0 and len(out.splitlines()) == len(ODD) and "\x1b" not in out + err
    for name in ODD:
        put(f"in/{name}", b"words")
    code, _, err = s2crop("in", "-a", "4:3")
    assert code == 1 and "\x1b" not in err
    assert [line.rpartition(": ")[2] for line in err.splitlines()[:-1]] == ["not an image"] * len(ODD)


def test_odd_names_on_the_command_line():
    for name in ("-dash.jpg", "[1].jpg", "a\nb.jpg"):
        put(name, JPEG)
    assert s2crop("--", "-dash.jpg", "[1].jpg", "a\nb.jpg")[0] == 0
    assert files("s2crop-out") == ["-dash_free.jpg", "[1]_free.jpg", "a\nb_free.jpg"]
    assert "ash.jpg" in usage_error("-dash.jpg"), "-d with a value"


def test_a_name_too_long_for_its_output_is_cut():
    names = ["n" * 251, "n" * 250 + "m", "雪" * 83, os.fsdecode(b"\xe9" * 251), "é" * 125]
    for name in names:
        put(f"in/{name}.jpg", JPEG)
    put("in/ok.jpg", JPEG)
    asked = "in", "-a", "16:9,original", "--overlay"
    got = records(*asked)
    assert [r["status"] for r in got] == ["written"] * 12
    written = [Path(r["output"]).name for r in got]
    assert len(set(written)) == 12 and all(Path(r["output"]).is_file() for r in got)
    assert all(len(os.fsencode(name)) <= 255 for name in files("s2crop-out"))
    assert {"ok_16x9.jpg", "ok_original.jpg", "ok_overlay.jpg"} <= set(files("s2crop-out"))
    for name in names:
        starts = [cut.partition("~")[0] for cut in written if cut.startswith(name[:40])]
        assert starts and all(name.startswith(start) for start in starts), "cut between characters"
    assert [r["status"] for r in records(*asked)] == ["skipped"] * 12
    (one,) = records(f"in/{names[0]}.jpg", "-a", "16:9", "--dry-run")  # the same name without the others
    assert one["output"] in [r["output"] for r in got if r["input"].endswith(f"{names[0]}.jpg")]


@pytest.mark.parametrize(
    "template", ["{stem}-{stem}-{ratio}", "{stem}/" + "x" * 260 + "{ratio}", "{ext}{ratio}" + "y" * 250]
)
def test_what_a_template_makes_is_cut_too(template):
    put("in/" + "n" * 251 + ".jpg", JPEG)
    put("in/a." + "e" * 250, JPEG)
    got = records("in/" + "n" * 251 + ".jpg", "in/a." + "e" * 250, "-a", "16:9,1:1", "--name", template)
    assert [r["status"] for r in got] == ["written"] * 4 and len({r["output"] for r in got}) == 4
    assert all(len(os.fsencode(part)) <= 255 for r in got for part in Path(r["output"]).parts)


def test_a_path_that_is_too_long_as_a_whole_costs_one_line():
    put("in/ok.jpg", JPEG)
    deep = "/".join(["d" * 200] * 21)
    code, _, err = s2crop("in", f"{deep}/a.jpg", "-o", f"{'o' * 100}/{'p' * 100}")
    assert code == 1 and len(err.splitlines()) == 2 and "name too long" in err.splitlines()[0]
    code, _, err = s2crop("in", "-o", f"out/{deep}")
    assert code == 1 and "name too long" in err.splitlines()[0] and "Traceback" not in err


def test_folders_named_with_other_digits_are_walked():
    names = ["１２", "１", "٣", "²", "a2", "a１０", "a²", "10", "9"]
    for name in names:
        put(f"in/{name}/x.jpg", JPEG)
        put(f"in/{name}.jpg", JPEG)
    put("in/a.jpg", JPEG)
    got = [r["input"] for r in records("in", "-r")]
    assert len(got) == 19
    numbers = [name for name in got if name in {f"in/{n}.jpg" for n in ("１", "٣", "9", "10", "１２")}]
    assert numbers == ["in/１.jpg", "in/٣.jpg", "in/9.jpg", "in/10.jpg", "in/１２.jpg"]
    assert got.index("in/a2.jpg") < got.index("in/a１０.jpg")


class Panic(BaseException):
    """As libraries written in Rust raise it: no `Exception`."""


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), RecursionError("deep"), Panic("slice"), SystemExit(3)]
)
@pytest.mark.parametrize(
    "door",
    ["files.marks.look", "files.picture.Picture.open", "files.encode.encode", "files.write.write_atomic",
     "files.metadata.kept", "cropping.cropper.Cropper.prepare", "run.resume.Resume.look", "run.work.Work.load",
     "run.clips.ClipWorkers.prepare", "run.writing.Workers.write"],
)  # fmt: skip
def test_whatever_goes_wrong_with_a_picture_is_one_line(monkeypatch, door, error):
    put("in/a.jpg", JPEG)
    put("in/b.jpg", JPEG)

    def broken(*given, **more):
        raise error

    monkeypatch.setattr(f"s2crop.{door}", broken)
    code, out, err = s2crop("in/a.jpg", "in/b.jpg", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 1 and [(row["input"], row["status"]) for row in rows] == [
        ("in/a.jpg", "error"),
        ("in/b.jpg", "error"),
    ]
    assert all(row["error"] for row in rows) and len(err.splitlines()) == 3 and "Traceback" not in err
    if isinstance(error, OSError):
        assert rows[0]["error"] == "input/output error"


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), RecursionError("deep")])
def test_whatever_goes_wrong_with_a_name_that_comes_is_one_line(monkeypatch, error):
    put("a.jpg", JPEG)
    find = sources.find_sources

    def broken(names, **more):
        if names == ["bad"]:
            raise error
        return find(names, **more)

    monkeypatch.setattr(sources, "find_sources", broken)
    got = records("--files-from", "-", input=b"bad\na.jpg\n", code=1)
    assert [(row["input"], row["status"]) for row in got] == [("bad", "error"), ("a.jpg", "written")]


@pytest.mark.slow
def test_one_stem_in_several_formats_and_folders():
    kinds = {"jpg": "JPEG", "JPG": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tif": "TIFF"}
    for folder in ("in", "in/sub", "in/Sub", "other"):
        for suffix, fmt in kinds.items():
            put(f"{folder}/a.{suffix}", pictures.encoded(PHOTO, fmt))
    got = records("in", "other", "-r", "-a", "1:1,4:5", "-f", "webp")
    assert len(got) == 4 * 7 * 2 and {r["status"] for r in got} == {"written"}
    assert len({r["output"].casefold() for r in got}) == len(got) == len(files("s2crop-out"))


@pytest.mark.parametrize("name", ["../x", "/x", "{stem}/../../x", "..\\x", "C:\\x", "\\\\host\\x", ".."])
def test_names_that_lead_out_of_the_folder_are_refused(name):
    put("in/a.jpg", JPEG)
    for args in ([], ["--overwrite"], ["-o", "out/deep"]):
        assert usage_error("in", "--name", name, *args).startswith("--name: ")


def test_a_stem_that_climbs_is_refused():
    put("in/...jpg", JPEG)
    assert usage_error("in/...jpg", "--name", "{stem}/{ratio}").startswith("--name: ")


# Originals


@pytest.mark.slow
def test_no_way_of_asking_changes_an_input():
    before = {name: put(name, JPEG).read_bytes() for name in ("in/a.jpg", "in/a_free.jpg", "in/b.jpg")}
    Path("alias").symlink_to("in")
    Path("out").mkdir()
    Path("out/b_free.jpg").symlink_to("../in/b.jpg")
    os.link("in/a.jpg", "out/a_free.jpg")
    is_input = "is an input"
    first = next(source for source in sources.find_sources(["in"]) if source.relative.name == "a.jpg")
    part = next(part for part in (1, 2, 3) if first.is_in_part(part, 3))
    for args in (
        ["in/a.jpg", "-o", "in/a.jpg"], ["in/a.jpg", "-o", "alias/a.jpg"], ["in/a.jpg", "-o", "in/../alias/a.jpg"],
        ["in", "-o", "in", "--name", "{stem}"], ["in", "-o", "alias", "--name", "{stem}"], ["in/b.jpg", "-o", "out"],
        ["in", "-o", "in", "--shard", f"{part}/3"],
    ):  # fmt: skip
        code, _, err = s2crop(*args, "--overwrite")
        assert code == 1 and is_input in err, args
    assert s2crop("in/a.jpg", "-o", "out", "--overwrite")[0] == 0  # a hard link: its name is given to the new file
    assert {name: Path(name).read_bytes() for name in before} == before
    assert files("in") == ["a.jpg", "a_free.jpg", "a_free_free.jpg", "b.jpg", "b_free.jpg"]  # of the last one


def test_messages_are_not_appended_to_an_input():
    put("in/a.jpg", JPEG)
    Path("link").symlink_to("in/a.jpg")
    for log in ("in/a.jpg", "link"):
        assert usage_error("in", "--log-file", log) == f"--log-file {log} is an input"
    assert Path("in/a.jpg").read_bytes() == JPEG


@pytest.mark.parametrize("names", [b"in/a.jpg\n", b"none.jpg\n", b""], ids=["one", "missing", "empty"])
def test_nothing_is_written_to_the_list_of_inputs(names):
    put("in/a.jpg", JPEG)
    put("list", names)
    put("list.html", names)
    Path("link").symlink_to("list")
    for log in ("list", "link", "in/../list"):
        assert usage_error("--files-from", "list", "--log-file", log) == f"--log-file {log} is an input"
    page = "--files-from", "list.html", "--sheet", "list.html", "--overwrite"
    assert usage_error(*page) == "--sheet list.html is an input"
    assert Path("list").read_bytes() == Path("list.html").read_bytes() == names
    assert s2crop("in/a.jpg", "--files-from", os.devnull, "--log-file", os.devnull)[0] == 0


def test_a_log_into_the_list_on_standard_input_is_refused():
    put("list", b"none.jpg\n")
    before = Path("list").read_bytes()
    for option in ("--files-from", "--boxes"):
        with open("list", "rb") as standard_input:
            run = process(option, "-", "--log-file", "list", stdin=standard_input)
            _, err = run.communicate(timeout=60)
        assert run.returncode == 2 and b"--log-file list is an input" in err and Path("list").read_bytes() == before


def test_no_crop_replaces_the_list_of_inputs():
    put("in/a.jpg", JPEG)
    put("out/a_free.jpg", b"in/a.jpg\n")
    code, _, err = s2crop("--files-from", "out/a_free.jpg", "-o", "out", "--overwrite")
    assert code == 1 and "is an input" in err and Path("out/a_free.jpg").read_bytes() == b"in/a.jpg\n"
