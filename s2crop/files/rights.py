"""Who made a picture, whose it is, and when: what EXIF, XMP and IPTC each say in their own way."""

import re
from dataclasses import dataclass, field


@dataclass
class Rights:
    """What the three kinds say of who made a picture; each goes to where it is missing."""

    creators: list[str] = field(default_factory=list)
    copyright: str | None = None
    credit: str | None = None
    source: str | None = None
    date: str | None = None  # YYYY-MM-DD, and THH:MM:SS if known


def date_of_exif(text: str) -> str | None:
    match = re.fullmatch(r"(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d)", text.strip(), re.ASCII)
    return f"{match[1]}-{match[2]}-{match[3]}T{match[4]}" if match else None


def date_of_iso(text: str | None) -> str | None:
    """Without the zone, which tells where."""
    match = re.match(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d)?)?)?)?", (text or "").strip(), re.ASCII)
    return match[0] if match else None


def date_of_iptc(text: str) -> str | None:
    match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", text, re.ASCII)
    return f"{match[1]}-{match[2]}-{match[3]}" if match else None
