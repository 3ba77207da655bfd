"""What a clip's container says of who made it, when and where, as the EXIF that its covers get."""

import re
from collections.abc import Mapping

from PIL import Image

# EXIF
_DESCRIPTION, _MAKE, _MODEL, _ARTIST, _COPYRIGHT, _EXIF_IFD, _GPS_IFD, _DATE_TAKEN = (
    270, 271, 272, 315, 33432, 34665, 34853, 36867,
)  # fmt: skip
# What containers call it, those first that say more: QuickTime's date of creation has the clock of the place, MP4's is
# UTC. Matroska's DATE_RECORDED and AVI's ICRD are when it was taken, an audio file's date when it was published.
_NAMES = {
    _DESCRIPTION: ("title", "com.apple.quicktime.title"),
    _MAKE: ("com.apple.quicktime.make", "make"),
    _MODEL: ("com.apple.quicktime.model", "model"),
    _ARTIST: ("artist", "author", "com.apple.quicktime.artist", "com.apple.quicktime.author"),
    _COPYRIGHT: ("copyright", "com.apple.quicktime.copyright"),
}
_DATES = ("com.apple.quicktime.creationdate", "date_recorded", "creation_time", "date")
_PLACES = ("com.apple.quicktime.location.iso6709", "location", "location-eng")
_FIRST_YEAR = 1971  # clocks that were never set say 1904 or 1970
_LONGEST = 2000  # characters of a text


def exif_of(tags: Mapping[str, str]) -> bytes | None:
    """EXIF that says what the tags of a clip say; None where they say nothing of that.

    Args:
        tags: by their names in lower case, as ffmpeg lists them.
    """
    exif = Image.Exif()
    for number, names in _NAMES.items():
        if text := next((tags[name] for name in names if tags.get(name)), None):
            exif[number] = text[:_LONGEST].encode()
    if date := next((date for name in _DATES if (date := _date(tags.get(name, "")))), None):
        exif.get_ifd(_EXIF_IFD)[_DATE_TAKEN] = date
    if place := next((place for name in _PLACES if (place := _place(tags.get(name, "")))), None):
        exif.get_ifd(_GPS_IFD).update(place)
    if not (exif or exif.get_ifd(_EXIF_IFD) or exif.get_ifd(_GPS_IFD)):
        return None
    return exif.tobytes().removeprefix(b"Exif\0\0")


def _date(text: str) -> str | None:
    """As EXIF writes it; None for a day without a time, and for a clock that was never set."""
    match = re.match(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d:\d\d:\d\d)", text, re.ASCII)
    return f"{match[1]}:{match[2]}:{match[3]} {match[4]}" if match and int(match[1]) >= _FIRST_YEAR else None


def _place(text: str) -> dict[int, object] | None:
    """GPS entries of a place in decimal degrees by ISO 6709: +48.7758+009.1829+245.000/."""
    match = re.match(r"([+-]\d{1,2}(?:\.\d+)?)([+-]\d{1,3}(?:\.\d+)?)([+-]\d+(?:\.\d+)?)?", text, re.ASCII)
    if match is None:
        return None
    latitude, longitude = float(match[1]), float(match[2])
    if abs(latitude) > 90 or abs(longitude) > 180:
        return None
    found: dict[int, object] = {
        1: "N" if latitude >= 0 else "S", 2: _degrees(latitude), 3: "E" if longitude >= 0 else "W",
        4: _degrees(longitude),
    }  # fmt: skip
    if match[3]:
        found |= {5: b"\1" if float(match[3]) < 0 else b"\0", 6: abs(float(match[3]))}
    return found


def _degrees(value: float) -> tuple[float, float, float]:
    """Degrees, minutes and seconds, to the thousandth of a second."""
    thousandths = round(abs(value) * 3_600_000)
    return thousandths // 3_600_000, thousandths // 60_000 % 60, thousandths % 60_000 / 1000
