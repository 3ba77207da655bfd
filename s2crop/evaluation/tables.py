"""Write measured figures where people read them: README tables and the manifest, from one results file.

python -m s2crop.evaluation.tables
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from s2crop.evaluation import boxes, editor, fcdb, integrity, markdown
from s2crop.evaluation.markdown import Column

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "weights" / "results.json"


KINDS = ("face", "text", "lettering")  # of what crops cut or lose, in tables of networks and tools
OTHERS = {  # scorer of the integrity evaluation -> title, and tool of the throughput benchmark
    "s2cnet": ("s2crop", "s2crop"),
    "centre crop": ("centre crop", None),
    "smartcrop.py": ("smartcrop.py", "smartcrop"),
    "libvips attention": ("libvips, attention", "pyvips"),
}
TOOLS = {  # of the throughput benchmark
    "s2crop": "s2crop",
    "default": "s2crop without options: one crop each, at its own size",
    "boxes": "s2crop, boxes given",
    "floor": "the same crops, none chosen: Pillow",
    "own floor": "the same crops, none chosen: s2crop's own resize",
    "pyvips": "pyvips, attention",
    "smartcrop": "smartcrop.py",
}
PROCESSES = {  # of the benchmark of starts
    "import torch": "`import torch` alone",
    "help": "`s2crop --help`",
    "one picture": "one picture to three ratios",
    "again": "the same, which is there already",
    "boxes": "the same from `--boxes`",
    "60 pictures": "60 pictures",
}
PUBLISHED = {  # what their papers report, on the test parts of sets that other networks were trained on
    "s2cnet": "GAICD (2020) SRCC 0.861, GAICD (2019) 0.793, UGCrop5K 0.502",
    "sfrc": "GAICD (2020) SRCC 0.872 (transductive), 0.865; FCDB IoU 0.695, Disp 0.075",
    "asmnet": "FCDB IoU 0.749, Disp 0.068; GAICD (2019) SRCC 0.766; FLMS IoU 0.849",
}

NETWORK = (
    Column("network", "network"),
    Column("batch", "batch"),
    Column("backbone, ms a picture", "backbone_ms", ".1f"),
    Column("whole network / backbone", "network_to_backbone", ".2f"),
    Column("proposal head / backbone", "proposals_to_backbone"),
)
MODEL = (
    Column("model", "model"),
    Column("parameters", lambda row: f"{row['parameters'] / 1e6:.2f} M"),
    Column("ms a picture", "picture_ms", ".0f"),
    *fcdb.COLUMNS,
    Column(f"{', '.join(KINDS)} cut or lost", lambda row: ", ".join(f"{row[kind]:.3f}" for kind in KINDS)),
    Column("SRCC, boxes alone", "alone", ".3f"),
    Column("published", lambda row: PUBLISHED[row["model"]]),
)
THROUGHPUT = (
    Column("tool", lambda row: TOOLS[row["tool"]]),
    Column("pictures a second", "pictures_per_second", ".1f"),
    Column("s2crop's time as a multiple of its", "s2crop_time_to_its", ".2f"),
)
SUBJECTS = (
    Column("mask, IoU at 0.5", "mask_iou", ".3f"),
    Column("mask, mean absolute error", "mask_error", ".3f"),
    Column("main things, IoU", "main_iou", ".3f"),
    Column("their cores", "core_iou", ".3f"),
    Column("fixations, AUC", "look_auc", ".3f"),
    Column("fixations, NSS", "look_nss", ".3f"),
    Column("heads found", "head_recall", ".3f"),
    Column("persons found, IoU 0.8", "person_recall", ".3f"),
)
LINES = (
    Column("lines found", "text", ".3f"),
    Column("large lines", "large text", ".3f"),
    Column("lettering", "lettering", ".3f"),
    Column("average precision of lines", "precision", ".3f"),
    Column("told apart", "told apart", ".3f"),
)
ANIMALS = (
    Column("heads of animals found", "animal_recall", ".3f"),
    Column("average precision", "animal_precision", ".3f"),
)
BLIND = (
    Column("round", "round"),
    Column("sheets", "sheets"),
    Column("crops", "crops"),
    Column("best", "best", ".3f"),
    Column("refused", "refused", ".3f"),
    Column(
        "preferred to the centre crop, the other way",
        lambda row: f"{row['better']}, {row['worse']}" if "better" in row else "",
    ),
)
TOOL = (
    Column("tool", "title"),
    *(Column(f"{kind} cut or lost", kind, ".3f") for kind in KINDS),
    Column("pictures a second", "pictures_per_second", ".1f"),
)
MEMORY = (
    Column("pictures", "pictures"),
    Column("ms a picture", "ms_per_picture", ".0f"),
    Column("peak memory, MB", "peak_mb"),
)
WHOLE = (
    Column("pictures", "pictures"),
    Column("s2crop, seconds", "s2crop_s", ".1f"),
    Column("pyvips, seconds", "pyvips_s", ".1f"),
    Column("s2crop's rate as a multiple of pyvips'", "rate_to_pyvips", ".2f"),
)
START = (
    Column("process", lambda row: PROCESSES[row["what"]]),
    Column("seconds", "seconds", ".2f"),
    Column("times `import torch`", "to_import_torch", ".2f"),
)
GPU = (
    Column("batch", "batch"),
    Column("network, pictures a second", "network_per_s", ".0f"),
    Column("all of it in half precision", "all_in_half_per_s", ".0f"),
    Column("with proposals and subjects", "with_subjects_per_s", ".0f"),
)
PADDING = (
    Column("kind", "kind"),
    Column("boxes", "boxes"),
    Column("cut or lost", lambda row: row["plain"]["cut"] + row["plain"]["lost"], ".3f"),
    Column("with `--pad auto`", lambda row: row["cut"] + row["lost"], ".3f"),
    Column("missed of what fits together", lambda row: row["plain"]["missed"], ".3f"),
    Column("with `--pad auto`", "missed", ".3f"),
)
VIDEO = (
    Column("minutes", "minutes"),
    Column("part", "part"),
    Column("seconds", "wall_s", ".2f"),
    Column("time / bare decoding", "wall_to_floor", ".2f"),
    Column("processor time / bare decoding", "processor_to_floor", ".2f"),
)


def key_of(evaluation: str, model: str) -> str:
    """The key under which `s2crop-eval --results` keeps the figures of a model."""
    return evaluation if model == "s2cnet" else f"{evaluation}_{model}"


def recall_table(result: dict) -> str:
    """Recall of the proposal head, a column for each kind of proposal."""
    kinds = result["recall"]
    return markdown.table([Column(kind, kind, ".3f") for kind in kinds], [kinds])


def folds_table(result: dict) -> str:
    """Figures of each fold of a cross-validation, and their mean over photos."""
    rows = [{"scorer": f"fold {row['fold']}, {row['pictures']} photos"} | row for row in result["folds"]]
    rows.append({"scorer": f"all, {result['pictures']} photos"} | result["mean"])
    return fcdb.table({"rows": rows})


def models_table(results: dict) -> str:
    """The networks side by side, on the same photos."""
    rows = []
    for model in results["models"]["rows"]:
        name = model["model"]
        scores = next(row for row in results[key_of("fcdb", name)]["rows"] if row["scorer"] == name)
        alone = results["boxes"]["rows"][0]["srcc"] if name == "s2cnet" else "sees pixels only"
        missed = _cut_or_lost(results[key_of("integrity", name)], name)
        rows.append({**model, **scores, **missed, "alone": alone})
    return markdown.table(MODEL, rows)


def tools_table(results: dict) -> str:
    """s2crop beside other tools: what they cut or lose, and how fast they are."""
    speeds = {row["tool"]: row for row in results["throughput"]["speed"]["rows"]}
    rows = [
        {"title": title, **speeds.get(tool, {}), **_cut_or_lost(results["integrity"], scorer)}
        for scorer, (title, tool) in OTHERS.items()
    ]
    return markdown.table(TOOL, rows)


def _cut_or_lost(result: dict, scorer: str) -> dict[str, float]:
    """Of each kind, the share that the crops of a scorer cut or lose."""
    return {row["kind"]: row["cut"] + row["lost"] for row in result["rows"] if row["scorer"] == scorer}


def padding_table(result: dict) -> str:
    """What is cut or lost with and without pads, and how often there are any: two tables."""
    plain = {row["kind"]: row for row in result["rows"] if "," not in row["scorer"]}
    rows = [row | {"plain": plain[row["kind"]]} for row in result["rows"] if row["scorer"].endswith("--pad auto")]
    filled = [{"of": name} | shares for name, shares in result["padded"].items()]
    ratios = [Column(ratio, ratio, ".3f") for ratio in integrity.RATIOS]
    return markdown.table(PADDING, rows) + "\n\n" + markdown.table([Column("filled up", "of"), *ratios], filled)


def blind_table(rounds: Sequence[dict]) -> str:
    """What a judge who did not know whose crops were whose said."""
    rows = [
        {"round": number, "sheets": result["sheets"], **row}
        for number, result in enumerate(rounds, start=1)
        for row in result["rows"]
    ]
    return markdown.table(BLIND, rows)


def start_table(result: dict) -> str:
    """Seconds of whole processes, their start included."""
    return markdown.table(START, [row for row in result["rows"] if row["what"] in PROCESSES])


def video_table(results: Sequence[dict]) -> str:
    """What reading and looking through clips takes."""
    return markdown.table(
        VIDEO, [{"minutes": result["minutes"], **row} for result in results for row in result["rows"]]
    )


TABLES: dict[str, Callable[[dict], str]] = {
    "tools": tools_table,
    "fcdb": lambda results: fcdb.table(results["fcdb"]),
    "models": models_table,
    "boxes": lambda results: boxes.table(results["boxes"]),
    "editor": lambda results: editor.table(results["editor"]),
    "integrity": lambda results: integrity.table(results["integrity"]),
    "groups": lambda results: integrity.table(results["groups"]),
    "figures": lambda results: integrity.table(results["figures"]),
    "main": lambda results: integrity.table(results["main"]),
    "padding": lambda results: padding_table(results["padding"]),
    "subjects": lambda results: markdown.table(SUBJECTS, [results["subjects"]]),
    "blind": lambda results: blind_table(results["blind"]),
    "network": lambda results: markdown.table(NETWORK, results["network"]["rows"]),
    "proposals": lambda results: recall_table(results["proposals"]),
    "lines": lambda results: markdown.table(LINES, [results["lines"]]),
    "animals": lambda results: markdown.table(ANIMALS, [results["animals"]]),
    "folds": lambda results: folds_table(results["folds"]),
    "throughput": lambda results: markdown.table(THROUGHPUT, results["throughput"]["speed"]["rows"]),
    "whole": lambda results: markdown.table(WHOLE, results["throughput"]["whole"]),
    "memory": lambda results: markdown.table(MEMORY, results["throughput"]["memory"]),
    "start": lambda results: start_table(results["start"]),
    "video": lambda results: video_table(results["video"]),
    "gpu": lambda results: markdown.table(GPU, results["cuda"]["network"]),
}


def filled(text: str, results: dict) -> str:
    """A text with each `<!-- table: NAME -->` ... `<!-- end -->` filled from the results.

    Raises:
        KeyError: a table that the results do not have.
    """

    def fill(match: re.Match) -> str:
        return f"<!-- table: {match[1]} -->\n{TABLES[match[1]](results)}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->.*?<!-- end -->", fill, text, flags=re.DOTALL)


def main() -> None:
    """Fill the tables of both pages, and the scores in the manifest."""
    results = json.loads(RESULTS.read_text())
    for path in (ROOT / "README.md", ROOT / "weights" / "README.md"):
        path.write_text(filled(path.read_text(), results))
    manifest_path = ROOT / "weights" / "manifest.json"
    manifest = json.loads(manifest_path.read_text())
    for name, entry in manifest["models"].items():
        measured = results[key_of("fcdb", name)]
        scores = next(row for row in measured["rows"] if row["scorer"] == name)
        entry["scores"] = {
            "data": f"{measured['data']}, {measured['split']} split, {measured['pictures']} pictures",
            **{key: value for key, value in scores.items() if key != "scorer"},
        }
    manifest_path.write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
