"""What outputs keep of EXIF, XMP and IPTC under each policy; seen by Pillow, and by exiftool where it is installed."""

import json
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pictures
from s2crop.files import metadata
from s2crop.files.encode import encode
from s2crop.files.metadata import Metadata
from s2crop.files.picture import Picture
from test_cli import draw, records, s2crop, usage_error  # noqa: F401

PHOTO = pictures.photo(120, 80)
FORMATS = "JPEG", "PNG", "WEBP", "AVIF"
SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "AVIF": "avif"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def exif_of(orientation=6):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Camera Works", "Model 7"
    exif[0x0112] = orientation
    exif[0x0131] = "Editor 3"
    exif[0x013B], exif[0x8298] = "Ada Example", b"(c) 2024 Ada Example"
    exif.get_ifd(0x8769).update({0x9003: "2024:05:06 07:08:09", 0xA431: "SERIAL-123", 0xA002: 9999, 0xA003: 7777,
                                 0x9010: "+02:00"})  # fmt: skip
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 30.0, 0.0), 3: "E", 4: (9.0, 3.0, 0.0)})
    return exif.tobytes()


XMP = b"""<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x='adobe:ns:meta/'>
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description rdf:about=''
 xmlns:dc='http://purl.org/dc/elements/1.1/' xmlns:photoshop='http://ns.adobe.com/photoshop/1.0/'
 xmlns:xmpRights='http://ns.adobe.com/xap/1.0/rights/' xmlns:plus='http://ns.useplus.org/ldf/xmp/1.0/'
 xmlns:exif='http://ns.adobe.com/exif/1.0/' xmlns:tiff='http://ns.adobe.com/tiff/1.0/'
 xmlns:aux='http://ns.adobe.com/exif/1.0/aux/'
 photoshop:Credit='Example Agency' exif:GPSLatitude='48,30N' tiff:Orientation='6' aux:SerialNumber='SERIAL-123'
 photoshop:City='Stuttgart' xmpRights:Marked='True' photoshop:DateCreated='2024-05-06T07:08:09+02:00'>
<dc:creator><rdf:Seq><rdf:li>Ada Example</rdf:li><rdf:li>Bo Example</rdf:li></rdf:Seq></dc:creator>
<dc:rights><rdf:Alt><rdf:li xml:lang='x-default'>\xc2\xa9 2024 Ada Example</rdf:li></rdf:Alt></dc:rights>
<dc:description><rdf:Alt><rdf:li xml:lang='x-default'>Two at home</rdf:li></rdf:Alt></dc:description>
<xmpRights:UsageTerms><rdf:Alt><rdf:li xml:lang='x-default'>Once, in print</rdf:li></rdf:Alt></xmpRights:UsageTerms>
<plus:LicensorURL>https://example.org/licence</plus:LicensorURL>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"""


def dataset(number, text, record=2):
    return struct.pack(">BBBH", 0x1C, record, number, len(text)) + text


IPTC = (dataset(90, b"\x1b%G", 1) + dataset(80, "Ada Éxample".encode()) + dataset(110, b"Example Agency")
        + dataset(116, b"2024 Ada") + dataset(90, b"Stuttgart") + dataset(120, b"Two at home"))  # fmt: skip


def with_iptc(jpeg, iptc=IPTC):
    return metadata.with_segments(jpeg, Metadata(iptc=iptc))


def picture(fmt="JPEG", orientation=6, **options):
    method = pictures.STORED[orientation]
    image = PHOTO if method is None else PHOTO.transpose(method)
    if fmt == "PNG":
        return pictures.encoded(
            image, fmt, **metadata.save_options(Metadata(exif_of(orientation)[6:], XMP), fmt), **options
        )
    data = pictures.encoded(image, fmt, exif=exif_of(orientation), xmp=XMP, **options)
    return with_iptc(data) if fmt == "JPEG" else data


def made(data, *args, name="a", suffix="jpg"):
    Path(f"{name}.{suffix}").write_bytes(data)
    (record,) = records(f"{name}.{suffix}", "-a", "1:1", "--overwrite", *args)
    with Image.open(record["output"]) as image:
        image.load()
        return Path(record["output"]), image


def everything(image):
    """What an output says, but for the mark of who made it from what, which every one has."""
    found = metadata.read(image)
    exif = metadata._loaded(found.exif)
    mark = exif.pop(0x0131) if image.format != "PNG" else image.info["Software"]
    assert mark.startswith("s2crop ")
    return (
        dict(exif),
        dict(exif.get_ifd(0x8769)),
        dict(exif.get_ifd(0x8825)),
        (found.xmp or b"").decode(),
        found.iptc or b"",
    )


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
class TestPolicies:
    def test_rights_are_kept_and_nothing_that_tells_where_or_with_what(self, source, to):
        path, image = made(picture(source), "-f", SUFFIXES[to], suffix=SUFFIXES[source])
        tags, inner, gps, xmp, iptc = everything(image)
        assert tags[0x013B] == "Ada Example" and tags[0x8298] == "(c) 2024 Ada Example"
        assert set(tags) <= {0x013B, 0x8298, 0x8769} and inner == {0x9003: "2024:05:06 07:08:09"} and not gps
        for words in (
            "Bo Example",
            "© 2024 Ada Example",
            "Example Agency",
            "Once, in print",
            "https://example.org/licence",
        ):
            assert words in xmp
        if to == "JPEG":
            assert b"Example Agency" in iptc and b"Ada" in iptc
        for secret in (b"SERIAL-123", b"Stuttgart", b"48,30N", b"Camera Works", b"Editor 3", b"+02:00", b"Two at home"):
            assert secret not in path.read_bytes()
        assert image.getexif().get(0x0112, 1) == 1

    def test_all_is_all_with_what_tells_of_the_pixels_set_right(self, source, to):
        _, image = made(picture(source), "-f", SUFFIXES[to], "--metadata", "all", suffix=SUFFIXES[source])
        tags, inner, gps, xmp, iptc = everything(image)
        assert tags[0x010F] == "Camera Works" and inner[0xA431] == "SERIAL-123" and gps[2] == (48.0, 30.0, 0.0)
        assert tags.get(0x0112, 1) == 1 and (inner[0xA002], inner[0xA003]) == image.size
        assert "Two at home" in xmp and "Stuttgart" in xmp and "Orientation" not in xmp
        if source == to == "JPEG":
            assert iptc == IPTC

    def test_none_is_none(self, source, to):
        _, image = made(picture(source), "-f", SUFFIXES[to], "--metadata", "none", suffix=SUFFIXES[source])
        assert everything(image) == ({}, {}, {}, "", b"")


class TestKinds:
    def test_what_iptc_alone_says_is_said_in_the_others(self):
        _, image = made(with_iptc(pictures.encoded(PHOTO)), "-f", "webp")
        tags, _, _, xmp, _ = everything(image)
        assert "Ada Éxample" in xmp and "2024 Ada" in xmp and "Example Agency" in xmp
        assert metadata._repaired(tags[0x013B]) == "Ada Éxample"

    def test_heic_and_tiff(self):
        _, image = made(pictures.heic(PHOTO, exif=exif_of(1), xmp=XMP), suffix="heic")
        assert everything(image)[0][0x013B] == "Ada Example" and "Bo Example" in everything(image)[3]
        exif = Image.Exif()
        exif[0x013B], exif[0x8298] = "Ada Example", "mine"
        _, image = made(
            pictures.encoded(PHOTO, "TIFF", exif=exif), "-f", "jpg", "--metadata", "all", name="b", suffix="tif"
        )
        assert everything(image)[0][0x8298] == "mine" and 0x0111 not in everything(image)[0]

    def test_nothing_in_nothing_out(self):
        _, image = made(pictures.encoded(PHOTO), "--metadata", "all")
        assert everything(image) == ({}, {}, {}, "", b"")

    def test_thumbnail_of_the_input_is_gone(self):
        exif = bytearray(exif_of())
        marker = b"THUMBNAIL-OF-THE-WHOLE"
        path, _ = made(pictures.encoded(PHOTO, exif=bytes(exif) + marker), "--metadata", "all")
        assert marker not in path.read_bytes()

    def test_policy_that_is_none(self):
        draw("a.jpg")
        assert "--metadata" in usage_error("a.jpg", "--metadata", "some")


class TestDamage:
    BOMB = (b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
            b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>&b;</x:xmpmeta>")  # fmt: skip

    @pytest.mark.parametrize("policy", ["rights", "all"])
    def test_comments_in_xmp_are_no_reason_to_leave_it_out(self, policy):
        said = XMP.replace(b"<rdf:RDF", b"<!-- by hand -->\n<rdf:RDF")
        assert said != XMP
        assert metadata.kept(Metadata(xmp=said), policy, (9, 9)) == metadata.kept(Metadata(xmp=XMP), policy, (9, 9))

    @pytest.mark.parametrize(
        "xmp", [b"", b"<x", BOMB, BOMB[21:].decode().encode("utf-16"), b"\xff\xfe\0\0", XMP[:700], b"<a/>",
                XMP.decode().encode("utf-16")]
    )  # fmt: skip
    @pytest.mark.parametrize("policy", ["rights", "all"])
    def test_xmp_that_cannot_be_read_is_left_out(self, xmp, policy):
        kept = metadata.kept(Metadata(exif_of()[6:], xmp, b"\x1c\x02\x50\xff"), policy, (9, 9))
        assert b"Ada Example" in kept.exif and (kept.xmp is None or b"aaaaaaaaaaaaaa" not in kept.xmp)

    def test_noise_in_place_of_metadata_is_never_a_crash(self):
        rng = np.random.default_rng(0)
        exif, xmp = exif_of()[6:], XMP
        for _ in range(300):
            parts = []
            for clean in (exif, xmp, IPTC):
                data = np.frombuffer(clean, np.uint8).copy()
                data[rng.integers(0, len(data), 6)] = rng.integers(0, 256, 6)
                parts.append(data.tobytes())
            for policy in ("rights", "all"):
                kept = metadata.kept(Metadata(*parts), policy, (9, 9))
                for suffix in (".jpg", ".png"):
                    assert pictures.decoded(encode(PHOTO, suffix, 90, kept=kept)).size == PHOTO.size

    def test_what_is_too_long_for_a_segment_is_left_out(self):
        long = XMP.replace(b"Two at home", b"Two at home" * 9000)
        data = metadata.with_segments(pictures.encoded(PHOTO), Metadata(xmp=long, iptc=IPTC))
        assert Picture.open(data).reduced(80).shape == (80, 120, 3) and pictures.decoded(data).info["photoshop"]


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
class TestExiftool:
    def seen(self, path):
        run = subprocess.run(
            ["exiftool", "-json", "-G1", "-a", "-warning", "-all", str(path)], capture_output=True, check=True
        )
        (tags,) = json.loads(run.stdout)
        return tags

    @pytest.mark.parametrize("policy", ["none", "rights", "all"])
    @pytest.mark.parametrize("to", FORMATS)
    def test_it_finds_what_was_kept_and_nothing_wrong(self, to, policy):
        path, image = made(picture(), "-f", SUFFIXES[to], "--metadata", policy)
        tags = self.seen(path)
        assert not [tag for tag in tags if "Warning" in tag or "Error" in tag], tags
        text = json.dumps(tags, ensure_ascii=False)
        assert ("Ada Example" in text) == (policy != "none")
        assert ("SERIAL-123" in text) == ("Stuttgart" in text) == (policy == "all")
        assert any(tag.startswith("GPS:") for tag in tags) == (policy == "all")
        if policy == "rights":
            assert tags["IFD0:Artist"] == "Ada Example" and tags["XMP-dc:Creator"] == ["Ada Example", "Bo Example"]
            assert tags["XMP-photoshop:Credit"] == "Example Agency" and tags["XMP-plus:LicensorURL"].startswith("https")
            assert tags["ExifIFD:DateTimeOriginal"] == "2024:05:06 07:08:09"
            if to == "JPEG":
                assert tags["IPTC:By-line"] == "Ada Éxample" and tags["IPTC:Credit"] == "Example Agency"
        if policy == "all":
            assert (tags["ExifIFD:ExifImageWidth"], tags["ExifIFD:ExifImageHeight"]) == image.size
            assert tags.get("IFD0:Orientation", "Horizontal (normal)") == "Horizontal (normal)"
