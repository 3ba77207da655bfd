"""The sheet: one page, whole in itself, with every input and its crops, to look through, sort, filter and correct."""

import base64
import hashlib
import io
import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from s2crop import report
from s2crop.errors import OutputError
from s2crop.files import pixels
from s2crop.files.picture import Picture
from s2crop.preview.overlay import COLOURS, faults
from s2crop.report import ERROR, PLANNED, SKIPPED, WRITTEN, Record, Summary

THUMBNAIL_WH = 320, 160  # pixels that a thumbnail takes on the page, at most
PICTURE_WH = 640, 320  # pixels of the thumbnail of a whole picture, at most: frames are set on it
THUMBNAIL_QUALITY = 62  # of WebP: some 4 kB each, and 11 kB for the whole picture
_MARK = '<meta name="generator" content="s2crop">'  # what tells a sheet from pages that are not ours to replace
_HERE = Path(__file__).parent
_SCRIPTS = "sheet_boxes.js", "sheet_changes.js", "sheet.js", "sheet_editor.js", "sheet_start.js"


@dataclass(frozen=True)
class Thumbnail:
    data: bytes  # WebP
    width: int  # on the page
    height: int


@dataclass(frozen=True)
class Thumbnails:
    """Of one input: None for what cannot be shown."""

    picture: Thumbnail | None
    crops: Sequence[Thumbnail | None]  # one for each record


def thumbnail(picture: Picture, box: tuple[int, int, int, int] | None = None) -> Thumbnail:
    """A picture, or a box of it, made small; never enlarged.

    Raises:
        InputError: the picture cannot be decoded.
    """
    whole = 0, 0, picture.width, picture.height
    x1, y1, x2, y2 = box or whole
    width, height = _fitted(x2 - x1, y2 - y1, THUMBNAIL_WH if box else PICTURE_WH)
    image = pixels.for_screens(picture.crop(box or whole, (width, height)))
    file = io.BytesIO()
    image.save(file, "WEBP", quality=THUMBNAIL_QUALITY, method=3)
    return Thumbnail(file.getvalue(), *_fitted(width, height, THUMBNAIL_WH))


def _fitted(width: int, height: int, most_wh: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of something made small enough."""
    scale = min(1, most_wh[0] / width, most_wh[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def may_replace(path: Path) -> bool:
    """Whether nothing, or a sheet of ours, is at this path."""
    try:
        with open(path, "rb") as file:
            return _MARK.encode() in file.read(1000)
    except (FileNotFoundError, NotADirectoryError):
        return not os.path.lexists(path)
    except OSError:
        return False


class Sheet:
    """Writes the page picture by picture; the memory it takes does not grow with their number.

    As a context manager: the page gets its name when the block ends, however it ends.

    Args:
        path: where the page goes; what is there is replaced. Its folder is made.
        ratios: labels of those asked for.
        total: how many inputs there are.
        top: crops for each ratio.
        circle: crops are shown round.
    Raises:
        OutputError: the page cannot be written.
    """

    def __init__(self, path: Path, ratios: Sequence[str], total: int, top: int = 1, circle: bool = False):
        self._path, self._ratios, self._top, self._circle = path, list(ratios), top, circle
        self._summary = Summary(total=total)
        self._temporary = path.parent / f".s2crop-{uuid.uuid4().hex}.tmp"
        self._file: TextIO | None = None
        # Of the page's place and of its crops: the same run makes the same sheet, which keeps what was changed on it.
        self._identity = hashlib.sha256(os.fsencode(os.path.abspath(path)))

    def __enter__(self) -> "Sheet":
        try:
            if not self._path.parent.exists():
                self._path.parent.mkdir(parents=True)
            self._file = open(self._temporary, "x", encoding="utf-8", newline="\n")
        except OSError as error:
            raise self._failure(error) from error
        self._write(_head(self._ratios, self._top))
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is None:  # given up
            return
        try:
            self._write(_tail(self._summary, self._identity.hexdigest()[:20]))
            self._file.close()
            os.replace(self._temporary, self._path)
        except OSError as error:
            raise self._failure(error) from error
        finally:
            self._give_up()

    def add(self, records: Sequence[Record], thumbnails: Sequence[Thumbnails] = ()) -> None:
        """Add an input: what became of each of its crops; of a clip, one entry for each cover.

        Args:
            thumbnails: those of a picture, or of each cover of a clip, as far as there are any.
        Raises:
            OutputError: the page cannot be written; there will be none, and nothing more can be added.
        """
        self._summary.add(records, 0.0)
        entries = [list(group) for _, group in groupby(records, lambda record: record.cover_rank)]
        for i, entry in enumerate(entries):
            shown = thumbnails[i] if i < len(thumbnails) else Thumbnails(None, [None] * len(entry))
            self._write(self._entry(entry, shown))

    def _write(self, text: str) -> None:
        assert self._file is not None
        try:
            self._file.write(text)
        except OSError as error:
            self._give_up()
            raise self._failure(error) from error

    def _give_up(self) -> None:
        """Leave nothing of a page that has not got its name."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None
        self._temporary.unlink(missing_ok=True)

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(f"cannot write {self._path}: {(error.strerror or str(error)).lower()}")

    def _entry(self, records: Sequence[Record], thumbnails: Thumbnails) -> str:
        first = records[0]
        shown: dict[tuple, list[Record]] = {}  # the outputs of each crop, which differ in size
        images: dict[tuple, Thumbnail | None] = {}
        for record, image in zip(records, thumbnails.crops, strict=True):
            if record.status != ERROR:
                crop = record.ratio, record.rank, record.box, record.time_s
                shown.setdefault(crop, []).append(record)
                images.setdefault(crop, image)
            what = record.input, record.time_s, record.width, record.height, record.ratio, record.rank, record.box
            self._identity.update(repr((*what, record.output)).encode())
        boxes = "".join(self._box(i, made[0]) for i, made in enumerate(shown.values()) if made[0].box)
        size = f'<span class="size">{first.width} × {first.height}</span>' if first.width else ""
        can_change = thumbnails.picture is not None
        crops = [self._crop(made, images[crop], can_change) for crop, made in shown.items()]
        errors = [f'<p class="error">{_text(record.error)}</p>' for record in records if record.status == ERROR]
        picture = ""
        if thumbnails.picture:
            lines = (
                f'<svg viewBox="0 0 {first.width} {first.height}" preserveAspectRatio="none">{boxes}</svg>'
                if boxes
                else ""
            )
            picture = f'<div class="picture">{_image(thumbnails.picture, "")}{lines}</div>'
        statuses = " ".join(dict.fromkeys(record.status for record in records))
        return (
            f'<article data-name="{_text(first.input)}" data-status="{statuses}">'
            f"<h2>{self._link(None if first.input == '-' else first.input, _name(first.input))}{size}</h2>"
            f'<div class="row">{picture}{"".join(crops)}{"".join(errors)}</div></article>\n'
        )

    def _crop(self, records: Sequence[Record], image: Thumbnail | None, can_change: bool) -> str:
        """A crop with what is told of it; its frame can be set where its box is known and there is a picture to see."""
        record = records[0]
        ratio = self._ratios.index(record.ratio or "")
        words = [f'<i class="c{ratio % len(COLOURS)}"></i>{_text(record.ratio)}']
        name = [record.ratio or ""]
        if self._top > 1:
            words.append(f"#{record.rank}")
            name.append(f"#{record.rank}")
        if record.worth is not None:
            words.append(f'<b title="worth, by which crops are ranked">{record.worth:.2f}</b>')
        if record.score is not None:
            words.append(f'<span class="score" title="score of the network, 1 to 5">{record.score:.2f}</span>')
        if record.time_s is not None:
            words.append(_clock(record.time_s))
            name.append(_clock(record.time_s))
        words += [f'<span class="made">{self._output(one)}</span>' for one in records if self._output(one)]
        padded = getattr(record, "padded", None)
        if padded:
            words.append('<span class="pads">padded</span>')
        words += [f'<span class="fault">{fault}</span>' for fault in faults(record.cut, record.lost)]
        kinds = " ".join(["cut"] * bool(record.cut) + ["lost"] * bool(record.lost))
        data = f'data-ratio="{ratio}" data-faults="{kinds}"'
        data += "" if record.score is None else f' data-score="{record.score:.4f}"'
        data += "" if record.worth is None else f' data-worth="{record.worth:.4f}"'
        sizes = [f"{one.output_width}x{one.output_height}" for one in records if one.output_width]
        data += f' data-sizes="{" ".join(sizes)}"' if sizes else ""
        data += " data-padded" * bool(padded) + " data-enlarged" * any(one.is_enlarged for one in records)
        shown = _image(image, f"{record.input}, {record.ratio}") if image else '<span class="none"></span>'
        if can_change and record.box:
            data += f" data-line='{_quoted(record.to_json())}'"
            label = _text(f"Correct {record.input}, {', '.join(name)}")
            what = _text(", ".join(name))
            shown = f'<button type="button" class="open" data-crop="{what}" aria-label="{label}">{shown}</button>'
        round_ = " round" if self._circle else ""
        return f'<figure class="crop{round_}" {data}>{shown}<figcaption>{" ".join(words)}</figcaption></figure>'

    def _output(self, record: Record) -> str:
        """ "640 × 360", "skipped": what became of a crop, linked to its file if there is one."""
        words = [f"{record.output_width} × {record.output_height}"] if record.output_width else []
        words += [record.status] if record.status != WRITTEN else []
        target = record.output if record.status in (WRITTEN, SKIPPED) else None
        return self._link(target, " ".join(words))

    def _box(self, i: int, record: Record) -> str:
        assert record.box is not None
        x1, y1, x2, y2 = record.box
        shape = f'x="{x1}" y="{y1}" width="{x2 - x1}" height="{y2 - y1}"'
        colour = self._ratios.index(record.ratio or "") % len(COLOURS)
        return f'<rect class="under" {shape}/><rect class="c{colour}" data-crop="{i}" {shape}/>'

    def _link(self, target: str | None, inside: str) -> str:
        """What stands inside, linked to a file by its place relative to the page."""
        if target is None or target == "-":
            return inside
        file, page = os.path.abspath(target), os.path.abspath(self._path.parent)
        try:
            place = quote(os.fsencode(os.path.relpath(file, page)))
        except ValueError:  # on Windows, another drive
            place = Path(file).as_uri()
        return f'<a href="{place}" target="_blank" rel="noreferrer">{inside}</a>'


def _head(ratios: Sequence[str], top: int) -> str:
    style, script = _style(), _script()
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none';"
        " form-action 'none'"
    )
    choices = "".join(f'<option value="{i}">{_text(ratio)}</option>' for i, ratio in enumerate(ratios))
    statuses = "".join(f"<option>{status}</option>" for status in (WRITTEN, SKIPPED, PLANNED, ERROR))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{_MARK}
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Crops</title>
<style>{style}</style>
</head>
<body>
<form id="controls" hidden>
<label>Name <input id="name" type="search" autocomplete="off" spellcheck="false"></label>
<label>Ratio <select id="ratio"><option value="">all</option>{choices}</select></label>
<label>Status <select id="status"><option value="">all</option>{statuses}</select></label>
<label>Faults <select id="faults"><option value="">all</option><option value="any">cut or lost</option>
<option value="cut">cut</option><option value="lost">lost</option><option value="none">none</option></select></label>
<label>Padding <select id="padded"><option value="">all</option><option value="yes">padded</option>
<option value="no">not padded</option></select></label>
<label>Changes <select id="changed"><option value="">all</option><option value="any">changed</option>
<option value="moved">moved</option><option value="refused">refused</option>
<option value="none">unchanged</option></select></label>
<label>Size <select id="size"><option value="">all</option><option value="enlarged">enlarged</option></select></label>
<label>Score from <input id="least" type="range" min="1" max="5" step="0.05"
 value="1"><output id="least-shown">1.00</output></label>
<label>Worth up to <input id="worth" type="range" step="0.01"><output id="worth-shown">any</output></label>
<label title="between the best and the second best of a ratio">Margin up to <input id="margin" type="range"
 step="0.01"><output id="margin-shown">any</output></label>
<label>Sort <select id="order"><option value="">as listed</option><option value="best">best first</option>
<option value="worst">worst first</option><option value="margin">smallest margin first</option>
<option value="name">by name</option></select></label>
<span id="count" role="status"></span>
<span class="correcting" hidden><span id="changes" role="status"></span>
<button type="button" id="take-back" title="Ctrl+Z">Undo</button><button type="button" id="forget">Reset all</button>
<button type="button" id="save" title="for s2crop --boxes">Save fixes.jsonl</button></span>
</form>
<main class="crops{len(ratios) * top}">
"""


def _tail(summary: Summary, identity: str) -> str:
    whole = summary.pictures == summary.total
    return f"""</main>
<p id="nothing" hidden>Nothing matches.</p>
{(_HERE / "sheet_editor.html").read_text("utf-8")}<header data-sheet="{identity}"><h1>Crops</h1>
<div class="correcting help" hidden>Click a crop, or press Enter on it, to correct it. Changes stay in this browser
until they are saved: <code>s2crop --boxes fixes.jsonl --overwrite -o FOLDER</code> writes them.</div>
<p>{summary.text() if whole else summary.interrupted_text()}</p></header>
<script>{_script()}</script>
</body>
</html>
"""


def _style() -> str:
    colours = "".join(f".c{i}{{--c:{colour}}}" for i, colour in enumerate(COLOURS))
    return colours + (_HERE / "sheet.css").read_text("utf-8")


def _script() -> str:
    return '"use strict";\n' + "\n".join((_HERE / name).read_text("utf-8") for name in _SCRIPTS)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _image(image: Thumbnail, alt: str) -> str:
    data = base64.b64encode(image.data).decode()
    return (
        f'<img loading="lazy" decoding="async" width="{image.width}" height="{image.height}" alt="{_text(alt)}"'
        f' src="data:image/webp;base64,{data}">'
    )


def _text(text: str | None) -> str:
    return escape(report.one_line(text or ""))


def _quoted(text: str) -> str:
    """ASCII as the value of an attribute in single quotes."""
    return text.replace("&", "&amp;").replace("'", "&#39;").replace("<", "&lt;")


def _name(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f'<span class="folder">{_text(folder)}/</span>{_text(name)}' if folder else _text(name)


def _clock(time_s: float) -> str:
    """ "1:02:03.5" """
    minutes, seconds = divmod(round(time_s, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{seconds:04.1f}" if hours else f"{minutes}:{seconds:04.1f}"
