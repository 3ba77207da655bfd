"""What a file is follows from its bytes: HEIC, JPEG XL, raw files, and names that say something else."""

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pictures
from s2crop.errors import InputError
from s2crop.files import jxl, metadata, raw, reading
from s2crop.files.picture import Picture
from s2crop.files.sniff import CLIP, HEAD_BYTES, RAW, sniff
from test_cli import draw, records, s2crop  # noqa: F401
from test_inputs import difference

UPRIGHT = pictures.photo(320, 200)
RED_DISC = (20 + 33, 25 + 33)  # in it, of UPRIGHT


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def put(name, data):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def refused(data, **options):
    with pytest.raises(InputError) as error:
        Picture.open(data, **options).reduced(50)
    assert "\n" not in str(error.value)
    return str(error.value)


class TestSniffing:
    @pytest.mark.parametrize("fmt", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "JPEG2000", "QOI"])
    def test_what_pillow_writes_is_known(self, fmt):
        assert sniff(pictures.encoded(UPRIGHT, fmt)[:HEAD_BYTES]) == fmt

    @pytest.mark.parametrize(
        "head, kind",
        [
            (pictures.box(b"ftyp", b"heic\0\0\0\0mif1heic"), "HEIF"),
            (pictures.box(b"ftyp", b"mif1\0\0\0\0mif1avif"), "AVIF"),
            (pictures.box(b"ftyp", b"mif1\0\0\0\0mif1heic"), "HEIF"),
            (pictures.box(b"ftyp", b"hevc\0\0\0\0msf1hevc") + pictures.box(b"meta", bytes(9)), "HEIF"),
            (pictures.box(b"ftyp", b"msf1\0\0\0\0msf1hevc") + pictures.box(b"moov", bytes(9)), CLIP),
            (pictures.box(b"ftyp", b"isom\0\0\0\0isommp41"), CLIP),
            (pictures.box(b"ftyp", b"qt  \0\0\0\0qt  "), CLIP), (pictures.box(b"ftyp", b"crx \0\0\0\1crx "), RAW),
            (b"\x1aE\xdf\xa3" + bytes(40), CLIP), (b"RIFF\0\0\0\0AVI LIST", CLIP), ((b"G" + bytes(187)) * 3, CLIP),
            (b"II*\0\x10\0\0\0CR\2\0", RAW), (b"\xff\x0a\0\0", "JXL"), (b"%PDF-1.7", None), (b"<svg", None),
            (b"", None),
            (b"Pride and prejudice", None), (b"BM of old", None),
        ],
    )  # fmt: skip
    def test_first_bytes(self, head, kind):
        assert sniff(head) == kind


@pytest.mark.parametrize("head", [b"ID3\4\0", b"fLaC\0", b"RIFF\0\0\0\0WAVEfmt "])
def test_a_sound_file_is_called_so(head):
    assert refused(head + bytes(100)) == "is a sound file; --cover takes its picture"


class TestNames:
    def test_contents_count_whatever_a_file_is_called(self):
        put("in/a.HEIC", pictures.encoded(UPRIGHT))
        put("in/b.jpg", pictures.heic(UPRIGHT))
        put("in/c", pictures.encoded(UPRIGHT, "PNG"))
        put("in/d.JPG_Large", pictures.encoded(UPRIGHT))
        put("in/notes", b"only words")
        put("in/e.pdf", b"%PDF-1.7")
        put("in/f.PDF", b"%PDF-1.7")
        code, out, err = s2crop("in", "-a", "1:1", "--json", "--no-progress")
        assert code == 0, err
        got = [json.loads(line) for line in out.splitlines()]
        assert {r["input"]: r["status"] for r in got} == dict.fromkeys(
            ("in/a.HEIC", "in/b.jpg", "in/c", "in/d.JPG_Large"), "written"
        )
        assert all(sniff(Path(r["output"]).read_bytes()) == ("PNG" if r["input"] == "in/c" else "JPEG") for r in got)
        assert "passed over 2 .pdf and 1 without suffix" in err

    def test_nothing_to_do_says_what_there_was(self):
        put("in/a.svg", b"<svg/>")
        code, _, err = s2crop("in")
        assert (code, err) == (3, "s2crop: nothing to do: no picture or video matches (passed over 1 .svg)\n")

    def test_globs_take_names_in_any_case(self):
        put("in/IMG_1.JPG", pictures.encoded(UPRIGHT))
        put("in/b.png", pictures.encoded(UPRIGHT, "PNG"))
        assert [r["input"] for r in records("in", "--include", "*.jpg", "--dry-run")] == ["in/IMG_1.JPG"]
        assert [r["input"] for r in records("in", "--exclude", "*.PNG", "--dry-run")] == ["in/IMG_1.JPG"]


class TestHeic:
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_upright(self, orientation):
        picture = Picture.open(pictures.heic(UPRIGHT, orientation))
        assert (picture.width, picture.height, picture.format) == (320, 200, "HEIF")
        assert difference(picture.reduced(200), UPRIGHT) < 4
        assert difference(picture.crop((20, 20, 120, 120)), UPRIGHT.crop((20, 20, 120, 120))) < 4

    def test_profile_goes_along(self):
        profile = pictures.p3_profile()
        picture = Picture.open(pictures.heic(UPRIGHT, icc_profile=profile))
        assert picture.crop((0, 0, 50, 50)).info == {"icc_profile": profile}

    def test_alpha(self):
        image = UPRIGHT.convert("RGBA")
        image.putalpha(Image.fromarray(np.repeat([[0] * 160 + [255] * 160], 200, axis=0).astype(np.uint8)))
        crop = Picture.open(pictures.heic(image)).crop((0, 0, 320, 200))
        assert crop.mode == "RGBA" and crop.getpixel((40, 100))[3] < 10 and crop.getpixel((300, 100))[3] > 245

    def test_ten_bits_become_eight(self):
        import pillow_heif

        ramp = np.repeat(np.linspace(0, 65535, 320)[None, :, None], 200, axis=0).repeat(3, axis=2).astype("<u2")
        heif = pillow_heif.from_bytes(mode="RGB;16", size=(320, 200), data=ramp.tobytes())
        data = io.BytesIO()
        heif.save(data, quality=95)
        seen = Picture.open(data.getvalue()).reduced(200).astype(float)
        assert np.abs(seen - ramp / 257).max() < 6 and np.abs(seen - ramp / 257).mean() < 1

    def test_burst_gives_its_primary_picture(self):
        import pillow_heif

        heif = pillow_heif.HeifFile()
        for colour in ("red", "lime", "blue"):
            heif.add_from_pillow(Image.new("RGB", (64, 48), colour))
        data = io.BytesIO()
        heif.save(data, primary_index=1)
        picture = Picture.open(data.getvalue())
        red, green, blue = picture.reduced(48)[20, 20]
        assert green > 200 and max(red, blue) < 60 and picture.frames == 1

    def test_limit_counts_before_anything_is_decoded(self, monkeypatch):
        monkeypatch.setattr(reading, "loaded", lambda *_: pytest.fail("decoded"))
        assert refused(pictures.heic(UPRIGHT), max_pixels=1000) == "320x200 is over 1000 pixels (max_pixels)"

    @pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.97])
    def test_damaged(self, part):
        data = pictures.heic(pictures.photo(300, 200, noise=20))
        assert refused(data[: int(len(data) * part)])


class TestJpegXl:
    def test_without_its_package_one_line_says_which(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pillow_jxl", None)
        assert refused(b"\xff\x0a" + bytes(60)) == "JPEG XL needs a package more: pip install 's2crop[jxl]'"
        put("in/a.jxl", b"\xff\x0a" + bytes(60))
        code, _, err = s2crop("in")
        assert code == 1 and "in/a.jxl: JPEG XL needs a package more" in err

    @pytest.mark.parametrize("size", [(320, 200), (200, 320), (8, 8), (64, 64), (1, 1), (700, 3), (640, 480)])
    @pytest.mark.parametrize("container", [True, False])
    def test_read_upright_and_its_size_known_before_it_is_decoded(self, size, container):
        pytest.importorskip("pillow_jxl")
        image = pictures.photo(*size)
        data = pictures.encoded(image, "JXL", lossless=True, use_container=container)
        assert jxl.header_size(jxl._codestream(io.BytesIO(data))) == size
        picture = Picture.open(data)
        assert (picture.width, picture.height) == size and difference(picture.crop((0, 0, *size)), image) == 0
        if size != (1, 1):
            assert refused(data, max_pixels=size[0] * size[1] - 1).startswith(f"{size[0]}x{size[1]} is over")

    def test_bomb(self):
        pytest.importorskip("pillow_jxl")
        # not small; height 2**30 by 30 bits; a width of the same by ratio 1
        bits = 0 | 3 << 1 | (2**30 - 1) << 3 | 1 << 33
        assert "is over" in refused(b"\xff\x0a" + bits.to_bytes(8, "little") + bytes(20))

    @pytest.mark.parametrize("part", [0.05, 0.5, 0.9])
    def test_damaged(self, part):
        pytest.importorskip("pillow_jxl")
        data = pictures.encoded(pictures.photo(200, 150, noise=20), "JXL")
        assert refused(data[: int(len(data) * part)])


THUMBNAIL = pictures.encoded(Image.new("RGB", (160, 120), "gray"))


class TestRaw:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["dng", "big-endian dng", "nef", "cr2", "cr3", "arw", "orf", "rw2"])
    def test_preview_upright(self, kind, orientation):
        method = pictures.STORED[orientation]
        preview = pictures.encoded(UPRIGHT if method is None else UPRIGHT.transpose(method))
        data = {
            "dng": lambda: pictures.dng(preview, THUMBNAIL, orientation),
            "big-endian dng": lambda: pictures.dng(preview, THUMBNAIL, orientation, ">"),
            "nef": lambda: pictures.nef(preview, THUMBNAIL, orientation),
            "cr2": lambda: pictures.cr2(preview, THUMBNAIL, orientation),
            "cr3": lambda: pictures.cr3(preview, orientation),
            "arw": lambda: pictures.arw(preview, THUMBNAIL, orientation),
            "orf": lambda: pictures.orf(preview, THUMBNAIL, orientation),
            "rw2": lambda: pictures.rw2(preview, orientation),
        }[kind]()
        picture = Picture.open(data)
        assert (picture.width, picture.height, picture.format, picture.is_preview) == (320, 200, "JPEG", True)
        assert difference(picture.reduced(200), UPRIGHT) < 3

    @pytest.mark.parametrize("orientation", [1, 6])
    def test_raf_whose_preview_has_its_own_exif(self, orientation):
        picture = Picture.open(pictures.raf(pictures.encoded(UPRIGHT, orientation=orientation)))
        assert (picture.width, picture.height) == (320, 200) and difference(picture.reduced(200), UPRIGHT) < 3

    def test_preview_that_no_directory_names_is_found(self):
        data = pictures.tiff([{50706: b"\1\4\0\0", 256: (8,)}], [bytes(5000), pictures.encoded(UPRIGHT), bytes(300)])
        assert (Picture.open(data).width, Picture.open(data).height) == (320, 200)

    def test_lossless_jpeg_of_the_sensor_is_no_preview(self):
        fake = b"\xff\xd8\xff\xc3\0\x11\x0e" + struct.pack(">HH", 4000, 6000) + bytes(30)
        assert raw.jpeg_size(io.BytesIO(fake), 0, len(fake)) is None
        data = pictures.dng(fake, THUMBNAIL)
        assert (Picture.open(data).width, Picture.open(data).height) == (160, 120)

    def test_none_at_all(self):
        data = pictures.tiff([{50706: b"\1\4\0\0", 256: (8,)}], [bytes(500)])
        assert refused(data) == "a raw file without a JPEG preview; develop it first"

    def test_plain_tiff_is_none(self):
        assert raw.find_preview(io.BytesIO(pictures.encoded(UPRIGHT, "TIFF"))) is None
        assert not Picture.open(pictures.encoded(UPRIGHT, "TIFF", compression="jpeg")).is_preview

    def test_directories_that_go_round_end(self):
        data = bytearray(pictures.tiff([{50706: b"\1\4\0\0", 330: (("sub", 0),)}], []))
        struct.pack_into("<I", data, 8 + 2 + 24, 8)  # the next directory is the first
        assert refused(bytes(data)) == "a raw file without a JPEG preview; develop it first"

    def test_said_once_a_run(self):
        for name in ("a.dng", "b.NEF"):
            put(f"in/{name}", pictures.dng(pictures.encoded(UPRIGHT), THUMBNAIL))
        code, _, err = s2crop("in", "-a", "1:1")
        assert code == 0 and err.count("of raw files the JPEG") == 1
        assert sorted(Path("s2crop-out").iterdir()) == [Path("s2crop-out/a_1x1.jpg"), Path("s2crop-out/b_1x1.jpg")]


class TestJpegs:
    @pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2}])
    def test_missing_end_marker_is_no_damage(self, options):
        data = pictures.encoded(pictures.photo(320, 200, noise=10), **options)
        assert data.endswith(b"\xff\xd9")
        picture, whole = Picture.open(data[:-2]), Picture.open(data)
        for short_side in (25, 200):
            assert difference(picture.reduced(short_side), whole.reduced(short_side)) == 0
        assert difference(picture.crop((9, 9, 99, 99)), whole.crop((9, 9, 99, 99))) == 0
        assert picture.notes == ("has no end marker; all its pixels are there",)

    @pytest.mark.parametrize("end", [b"\xff", b"\xff\xff", bytes(100)])
    @pytest.mark.parametrize("options", [{"quality": 70}, {"progressive": True}])
    def test_half_an_end_marker_or_filling_is_no_damage(self, options, end):
        data = pictures.encoded(pictures.photo(320, 200, noise=10), **options)
        picture = Picture.open(data[:-2] + end)
        assert difference(picture.reduced(200), Picture.open(data).reduced(200)) == 0

    @pytest.mark.parametrize("name", ["MPO", "xmp", "iso"])
    def test_first_picture_of_those_with_a_gain_map(self, name):
        gain, xmp = UPRIGHT.convert("L").reduce(4), b'<x:xmpmeta xmlns:x="adobe:ns:meta/" hdrgm:Version="1.0"/>'
        if name == "MPO":
            data = pictures.encoded(UPRIGHT, "MPO", quality=95, save_all=True, append_images=[gain], xmp=xmp)
        else:
            data = pictures.encoded(UPRIGHT, **({"xmp": xmp} if name == "xmp" else {})) + pictures.encoded(gain)
        if name == "iso":
            mark = b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4)
            data = data[:2] + b"\xff\xe2" + struct.pack(">H", 2 + len(mark)) + mark + data[2:]
        picture = Picture.open(data)
        assert (picture.width, picture.height) == (320, 200) and difference(picture.reduced(200), UPRIGHT) < 3
        assert picture.notes == ("has a gain map for HDR, which is not carried over",)

    def test_depth_in_extended_xmp_is_no_obstacle(self):
        depth, key = b"/9j/" * 40000, b"0" * 32
        parts = b""
        for at in range(0, len(depth), 65000):
            body = b"http://ns.adobe.com/xmp/extension/\0" + key + struct.pack(">II", len(depth), at)
            body += depth[at : at + 65000]
            parts += b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body
        data = pictures.encoded(UPRIGHT, xmp=b"<x:xmpmeta xmpNote:HasExtendedXMP='" + key + b"'/>")
        at = data.index(b"\xff\xdb")
        picture = Picture.open(data[:at] + parts + data[at:])
        assert difference(picture.reduced(200), UPRIGHT) < 3 and picture.notes == ()

    @pytest.mark.parametrize("missing", [40, 300, 3000])
    def test_missing_pixels_are(self, missing):
        data = pictures.encoded(pictures.photo(320, 200, noise=10))
        assert refused(data[:-missing]).startswith("truncated JPEG")

    def test_trailer_of_a_maker_is_no_damage(self):
        data = pictures.encoded(UPRIGHT) + b"SEFT" * 500
        assert difference(Picture.open(data).reduced(200), UPRIGHT) < 3 and Picture.open(data).notes == ()

    def test_motion_photo_and_gain_map_are_told_of(self):
        xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" GCamera:MotionPhoto="1" hdrgm:Version="1.0"/>'
        second = pictures.encoded(UPRIGHT.convert("L").reduce(4))
        data = pictures.encoded(UPRIGHT, xmp=xmp) + second + pictures.box(b"ftyp", b"isom") + bytes(400)
        picture = Picture.open(data)
        assert difference(picture.reduced(200), UPRIGHT) < 3 and picture.frames == 1
        assert len(picture.notes) == 2 and "gain map" in picture.notes[0] and "motion photo" in picture.notes[1]
        put("a.jpg", data)
        assert "gain map" not in s2crop("a.jpg")[2] and "gain map" in s2crop("a.jpg", "-v", "--overwrite")[2]

    @pytest.mark.parametrize("marker, words", [(0xC3, "lossless JPEG"), (0xC1, "12 bits")])
    def test_sound_kinds_that_are_not_read_are_not_called_damaged(self, marker, words):
        data = bytearray(pictures.encoded(UPRIGHT))
        at = data.index(b"\xff\xc0")
        data[at + 1] = marker
        if marker == 0xC1:
            data[at + 4] = 12
        reason = refused(bytes(data))
        assert words in reason and "not supported" in reason


PREVIEW = Image.new("RGB", (80, 50), "gray")


def tiff_with_below(pages, extratags=(), byteorder="<", **layout):
    """A TIFF whose first page has the others in directories below it; each with its NewSubfileType."""
    tifffile = pytest.importorskip("tifffile")
    data = io.BytesIO()
    (first, kind), *below = pages
    with tifffile.TiffWriter(data, byteorder=byteorder) as writer:
        options = {"photometric": "rgb", "metadata": None}
        writer.write(np.asarray(first), subfiletype=kind, subifds=len(below), extratags=extratags, **options, **layout)
        for image, kind in below:
            writer.write(np.asarray(image), subfiletype=kind, **options, **layout)
    return data.getvalue()


class TestTiff:
    def test_largest_page_is_the_picture(self):
        preview = Image.new("RGB", (80, 50), "gray")
        data = pictures.encoded(preview, "TIFF", save_all=True, append_images=[UPRIGHT.copy(), preview.copy()])
        picture = Picture.open(data)
        assert (picture.width, picture.height) == (320, 200)
        assert difference(picture.reduced(200), UPRIGHT) == 0
        assert difference(picture.crop((9, 9, 99, 99)), UPRIGHT.crop((9, 9, 99, 99))) == 0

    def test_pages_of_about_one_size_are_a_document(self):
        pages = [Image.new("RGB", size, colour) for size, colour in (((100, 80), "red"), ((102, 81), "blue"))]
        picture = Picture.open(pictures.encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
        assert (picture.width, picture.height) == (100, 80) and tuple(picture.reduced(80)[40, 40]) == (255, 0, 0)

    @pytest.mark.parametrize("layout", [{}, {"compression": "zlib"}, {"tile": (64, 64)}, {"byteorder": ">"}])
    def test_the_picture_may_lie_in_a_directory_below_its_preview(self, layout):
        data = tiff_with_below([(PREVIEW, 1), (UPRIGHT, 0)], **layout)
        picture = Picture.open(data)
        assert (picture.width, picture.height, picture.frames, picture.is_preview) == (320, 200, 2, False)
        assert difference(picture.reduced(200), UPRIGHT) == 0
        assert difference(picture.crop((9, 9, 99, 99)), UPRIGHT.crop((9, 9, 99, 99))) == 0
        assert refused(data, max_pixels=320 * 200 - 1) == "320x200 is over 63999 pixels (max_pixels)"

    def test_smaller_copies_below_a_page_are_not_the_picture(self):
        copies = [(UPRIGHT.reduce(2), 1), (UPRIGHT.reduce(4), 1)]
        picture = Picture.open(tiff_with_below([(UPRIGHT, 0), *copies]))
        assert (picture.width, picture.height, picture.page) == (320, 200, 0)
        assert difference(picture.reduced(200), UPRIGHT) == 0

    def test_a_mask_below_a_page_is_not_the_picture(self):
        def directory(number, kind, width, height):
            layout = {258: (8,), 259: (1,), 262: (1,), 273: (("at", number),), 277: (1,), 278: (height,)}
            return {254: (kind,), 256: (width,), 257: (height,), 279: (width * height,), **layout}

        directories = [directory(0, 1, 80, 50), directory(1, 4, 320, 200), directory(2, 0, 160, 100)]
        directories[0][330] = (("sub", 1), ("sub", 2))
        picture = Picture.open(pictures.tiff(directories, [bytes(80 * 50), bytes(320 * 200), b"x" * 160 * 100]))
        assert (picture.width, picture.height) == (160, 100) and picture.reduced(50).mean() == ord("x")

    @pytest.mark.parametrize("orientation", [1, 3, 6])
    def test_what_the_first_directory_says_holds_for_the_picture_below(self, orientation):
        stored = pictures.STORED[orientation]
        turned = UPRIGHT if stored is None else UPRIGHT.transpose(stored)
        tags = [(274, "H", 1, orientation, True), (315, "s", 0, "Ann", True), (33432, "s", 0, "All hers", True)]
        picture = Picture.open(tiff_with_below([(PREVIEW, 1), (turned, 0)], extratags=tags))
        assert (picture.width, picture.height) == (320, 200)
        assert difference(picture.reduced(200), UPRIGHT) == 0
        exif = Image.Exif()
        exif.load(metadata.kept(picture.metadata, "rights", (320, 200)).exif)
        assert (exif[315], exif[33432]) == ("Ann", "All hers")

    def test_a_directory_that_is_damaged_is_no_page(self):
        data = bytearray(pictures.encoded(UPRIGHT, "TIFF", save_all=True, append_images=[PREVIEW]))
        first = struct.unpack_from("<I", data, 4)[0]
        following = first + 2 + 12 * struct.unpack_from("<H", data, first)[0]
        for place in (len(data) - 3, len(data) + 1000, first + 5):
            struct.pack_into("<I", data, following, place)
            assert difference(Picture.open(bytes(data)).reduced(200), UPRIGHT) == 0

    def test_deep_grey_in_which_nought_is_white(self):
        tifffile = pytest.importorskip("tifffile")
        values = np.linspace(0, 65535, 60 * 40).reshape(40, 60).astype(np.uint16)
        data = io.BytesIO()
        tifffile.imwrite(data, values, photometric="miniswhite", byteorder="<")
        seen = Picture.open(data.getvalue()).reduced(40)[..., 0]
        assert np.abs(seen - (65535 - values.astype(float)) / 257).max() <= 1
        data = io.BytesIO()
        tifffile.imwrite(data, values, photometric="miniswhite", byteorder=">")
        assert "not supported" in refused(data.getvalue())

    def test_whole_numbers_of_32_bits_do_not_wrap(self):
        tifffile = pytest.importorskip("tifffile")
        values = np.linspace(0, 2**32 - 1, 60 * 40).reshape(40, 60)
        data = io.BytesIO()
        tifffile.imwrite(data, values.astype(np.uint32), byteorder="<")
        seen = Picture.open(data.getvalue()).reduced(40)[..., 0]
        assert np.abs(seen - values / (2**32 - 1) * 255).max() <= 1

    def test_deep_colour_in_planes_is_refused_and_not_scrambled(self):
        """Pillow 13 reads it wrongly; where it does better some day, so may we."""
        tifffile = pytest.importorskip("tifffile")
        values = np.random.default_rng(0).integers(0, 65536, (3, 40, 60)).astype(np.uint16)
        data = io.BytesIO()
        tifffile.imwrite(data, values, photometric="rgb", planarconfig="separate")
        assert "separate planes is not supported" in refused(data.getvalue())
        seen = np.asarray(Image.open(data)).astype(float)
        assert np.abs(seen - values.transpose(1, 2, 0) / 257).mean() > 20, (
            "Pillow reads it right now: no need to refuse it"
        )

    def test_deep_lab_is_not_supported(self):
        tifffile = pytest.importorskip("tifffile")
        data = io.BytesIO()
        tifffile.imwrite(data, np.zeros((40, 60, 3), np.uint16), photometric="cielab")
        assert "not supported" in refused(data.getvalue())

    def test_libtiff_says_nothing_on_standard_error(self, capfd):
        data = bytearray(pictures.encoded(pictures.photo(60, 40, noise=30), "TIFF", compression="tiff_lzw"))
        rng = np.random.default_rng(0)
        for _ in range(60):
            broken = bytearray(data)
            broken[int(rng.integers(8, len(data)))] ^= 255
            try:
                Picture.open(bytes(broken)).reduced(20)
            except InputError:
                pass
        assert capfd.readouterr().err == ""
