"""IPTC (IIM) datasets, as JPEG and TIFF have them."""

import struct
from collections.abc import Iterator

from s2crop.files.rights import Rights

# Datasets of record 2 that are kept of rights.
BY_LINE, BY_LINE_TITLE, DATE_CREATED, CREDIT, SOURCE, COPYRIGHT_NOTICE = 80, 85, 55, 110, 115, 116
_KEPT = (BY_LINE, BY_LINE_TITLE, DATE_CREATED, CREDIT, SOURCE, COPYRIGHT_NOTICE)
_UTF8 = b"\x1b%G"  # coded character set, 1:90


def _datasets(iptc: bytes | None) -> Iterator[tuple[int, int, bytes]]:
    """Record, number and content of each dataset, as far as they can be read."""
    data, at = iptc or b"", 0
    while at + 5 <= len(data) and data[at] == 0x1C:
        record, number, length = data[at + 1], data[at + 2], int.from_bytes(data[at + 3 : at + 5], "big")
        if length & 0x8000 or at + 5 + length > len(data):
            return
        yield record, number, data[at + 5 : at + 5 + length]
        at += 5 + length


def texts_of(iptc: bytes | None) -> dict[int, list[str]]:
    datasets = list(_datasets(iptc))
    utf8 = any((record, number, value) == (1, 90, _UTF8) for record, number, value in datasets)
    texts: dict[int, list[str]] = {}
    for record, number, value in datasets:
        if record != 2:
            continue
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            text = value.decode("utf-8" if utf8 else "latin-1", "replace")
        if text := text.replace("\0", "").strip():
            texts.setdefault(number, []).append(text)
    return texts


def of_rights(iptc: bytes | None, rights: Rights) -> bytes | None:
    texts = {number: values for number, values in texts_of(iptc).items() if number in _KEPT}
    if rights.creators:
        texts.setdefault(BY_LINE, rights.creators)
    for number, value in (
        (COPYRIGHT_NOTICE, rights.copyright), (CREDIT, rights.credit), (SOURCE, rights.source),
        (DATE_CREATED, rights.date[:10].replace("-", "") if rights.date and len(rights.date) >= 10 else None),
    ):  # fmt: skip
        if value:
            texts.setdefault(number, [value])
    if not texts:
        return None
    datasets = [(1, 90, _UTF8), (2, 0, b"\0\4")]
    datasets += [(2, number, text.encode()) for number, values in sorted(texts.items()) for text in values]
    return b"".join(
        struct.pack(">BBBH", 0x1C, r, n, len(value)) + value for r, n, value in datasets if len(value) < 0x8000
    )


def from_raw_profile(text: object) -> bytes | None:
    """IPTC as ImageMagick writes it into PNG: a name, a length, lines of hexadecimal digits."""
    try:
        data = bytes.fromhex("".join(str(text).split()[2:]))
    except ValueError:
        return None
    at = data.find(b"8BIM\x04\x04")
    if at < 0:
        return data if data.startswith(b"\x1c") else None
    at += 6
    at += 1 + data[at] + (1 + data[at]) % 2 if at < len(data) else 0
    return data[at + 4 : at + 4 + int.from_bytes(data[at : at + 4], "big")] or None
