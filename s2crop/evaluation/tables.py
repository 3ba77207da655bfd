"""Write measured figures where people read them: README tables and the manifest, from one results file.

python -m s2crop.evaluation.tables
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from s2crop.evaluation import boxes, editor, fcdb, integrity

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "weights" / "results.json"


def network_table(result: dict) -> str:
    """Times of the benchmark as a Markdown table."""
    lines = [
        "| network | batch | backbone, ms a picture | whole network / backbone | proposal head / backbone |",
        "|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['network']} | {row['batch']} | {row['backbone_ms']:.1f} | {row['network_to_backbone']:.2f} "
            f"| {row.get('proposals_to_backbone', '')} |"
        )
    return "\n".join(lines)


def recall_table(result: dict) -> str:
    """Recall of the proposal head as a Markdown table."""
    kinds = result["recall"]
    return (
        f"| {' | '.join(kinds)} |\n|{'---|' * len(kinds)}\n| {' | '.join(f'{value:.3f}' for value in kinds.values())} |"
    )


def folds_table(result: dict) -> str:
    """Figures of each fold of a cross-validation, and their mean over photos, as a Markdown table."""
    rows = [{"scorer": f"fold {row['fold']}, {row['pictures']} photos"} | row for row in result["folds"]]
    rows.append({"scorer": f"all, {result['pictures']} photos"} | result["mean"])
    return fcdb.table({"rows": rows})


# What their papers report, on the test parts of sets that other networks were trained on.
PUBLISHED = {
    "s2cnet": "GAICD (2020) SRCC 0.861, GAICD (2019) 0.793, UGCrop5K 0.502",
    "sfrc": "GAICD (2020) SRCC 0.872 (transductive), 0.865; FCDB IoU 0.695, Disp 0.075",
    "asmnet": "FCDB IoU 0.749, Disp 0.068; GAICD (2019) SRCC 0.766; FLMS IoU 0.849",
}


def models_table(results: dict) -> str:
    """The networks side by side, on the same photos, as a Markdown table."""
    kinds = ("face", "text", "lettering")
    titles = [title for _, title, _ in fcdb.COLUMNS]
    lines = [
        f"| model | parameters | ms a picture | {' | '.join(titles)} | {', '.join(kinds)} cut or lost "
        "| SRCC, boxes alone | published |",
        "|---|---|---|" + "---|" * len(titles) + "---|---|---|",
    ]
    for model in results["models"]["rows"]:
        name = model["model"]
        row = next(row for row in results[key_of("fcdb", name)]["rows"] if row["scorer"] == name)
        lost = {
            row["kind"]: row["cut"] + row["lost"]
            for row in results[key_of("integrity", name)]["rows"]
            if row["scorer"] == name
        }
        alone = f"{results['boxes']['rows'][0]['srcc']:.3f}" if name == "s2cnet" else "sees pixels only"
        cells = [f"{row[key]:.{digits}f}" for key, _, digits in fcdb.COLUMNS]
        lines.append(
            f"| {name} | {model['parameters'] / 1e6:.2f} M | {model['picture_ms']:.0f} | {' | '.join(cells)} "
            f"| {', '.join(f'{lost[kind]:.3f}' for kind in kinds)} | {alone} | {PUBLISHED[name]} |"
        )
    return "\n".join(lines)


def key_of(evaluation: str, model: str) -> str:
    """The key under which `s2crop-eval --results` keeps the figures of a model."""
    return evaluation if model == "s2cnet" else f"{evaluation}_{model}"


def throughput_table(result: dict) -> str:
    """Pictures a second, s2crop's and others', as a Markdown table."""
    lines = ["| tool | pictures a second | s2crop's time as a multiple of its |", "|---|---|---|"]
    lines += [
        f"| {TOOLS[row['tool']]} | {row['pictures_per_second']:.1f} | {row['s2crop_time_to_its']:.2f} |"
        for row in result["speed"]["rows"]
    ]
    return "\n".join(lines)


def padding_table(result: dict) -> str:
    """What is cut or lost with and without pads, and how often there are any, as two Markdown tables."""
    rows = {(row["kind"], row["scorer"]): row for row in result["rows"]}
    lines = ["| kind | boxes | cut or lost | with `--pad auto` | missed of what fits together | with `--pad auto` |"]
    lines.append("|---|---|---|---|---|---|")
    for (kind, scorer), auto in rows.items():
        if scorer.endswith(pad := ", --pad auto"):
            plain = rows[kind, scorer.removesuffix(pad)]
            shares = [f"{row['cut'] + row['lost']:.3f}" for row in (plain, auto)]
            shares += [f"{row['missed']:.3f}" for row in (plain, auto)]
            lines.append(f"| {kind} | {auto['boxes']} | {' | '.join(shares)} |")
    ratios = integrity.RATIOS
    lines += ["", f"| filled up | {' | '.join(ratios)} |", "|---|" + "---|" * len(ratios)]
    for name, padded in result["padded"].items():
        lines.append(f"| {name} | {' | '.join(f'{padded[ratio]:.3f}' for ratio in ratios)} |")
    return "\n".join(lines)


def subjects_table(result: dict) -> str:
    """How well the subject head finds what pictures are about, as a Markdown table."""
    titles = {
        "mask_iou": "mask, IoU at 0.5",
        "mask_error": "mask, mean absolute error",
        "look_auc": "fixations, AUC",
        "look_nss": "fixations, NSS",
        "head_recall": "heads found",
        "person_recall": "persons found, IoU 0.8",
    }
    cells = [f"{result[key]:.3f}" for key in titles]
    return f"| {' | '.join(titles.values())} |\n|{'---|' * len(titles)}\n| {' | '.join(cells)} |"


def blind_table(rounds: Sequence[dict]) -> str:
    """What a judge who did not know whose crops were whose said, as a Markdown table."""
    titles = ("round", "sheets", "crops", "best", "refused", "preferred to the centre crop, the other way")
    lines = [f"| {' | '.join(titles)} |", "|---|---|---|---|---|---|"]
    for number, result in enumerate(rounds, start=1):
        for row in result["rows"]:
            duel = f"{row['better']}, {row['worse']}" if "better" in row else ""
            lines.append(
                f"| {number} | {result['sheets']} | {row['crops']} | {row['best']:.3f} "
                f"| {row['refused']:.3f} | {duel} |"
            )
    return "\n".join(lines)


def tools_table(results: dict) -> str:
    """s2crop beside other tools, what they cut or lose and how fast they are, as a Markdown table."""
    kinds = ("face", "text", "lettering")
    speeds = {row["tool"]: f"{row['pictures_per_second']:.1f}" for row in results["throughput"]["speed"]["rows"]}
    lines = [
        f"| tool | {' | '.join(f'{kind} cut or lost' for kind in kinds)} | pictures a second |",
        "|---|---|---|---|---|",
    ]
    for scorer, (title, tool) in OTHERS.items():
        rows = {row["kind"]: row for row in results["integrity"]["rows"] if row["scorer"] == scorer}
        shares = [f"{rows[kind]['cut'] + rows[kind]['lost']:.3f}" for kind in kinds]
        lines.append(f"| {title} | {' | '.join(shares)} | {speeds.get(tool, '')} |")
    return "\n".join(lines)


# scorer of the integrity evaluation -> title, and tool of the throughput benchmark
OTHERS = {
    "s2cnet": ("s2crop", "s2crop"),
    "centre crop": ("centre crop", None),
    "smartcrop.py": ("smartcrop.py", "smartcrop"),
    "libvips attention": ("libvips, attention", "pyvips"),
}
TOOLS = {
    "s2crop": "s2crop",
    "default": "s2crop without options: one crop each, at its own size",
    "boxes": "s2crop, boxes given",
    "floor": "the same crops, none chosen: Pillow",
    "own floor": "the same crops, none chosen: s2crop's own resize",
    "pyvips": "pyvips, attention",
    "smartcrop": "smartcrop.py",
}


def memory_table(result: dict) -> str:
    """Cost and memory over the number of pictures as a Markdown table."""
    lines = ["| pictures | ms a picture | peak memory, MB |", "|---|---|---|"]
    lines += [f"| {row['pictures']} | {row['ms_per_picture']:.0f} | {row['peak_mb']} |" for row in result["memory"]]
    return "\n".join(lines)


def start_table(result: dict) -> str:
    """Seconds of whole processes, their start included, as a Markdown table."""
    titles = {
        "import torch": "`import torch` alone",
        "help": "`s2crop --help`",
        "one picture": "one picture to three ratios",
        "again": "the same, which is there already",
        "boxes": "the same from `--boxes`",
        "60 pictures": "60 pictures",
    }
    lines = ["| process | seconds | times `import torch` |", "|---|---|---|"]
    lines += [
        f"| {titles[row['what']]} | {row['seconds']:.2f} | {row['to_import_torch']:.2f} |"
        for row in result["rows"]
        if row["what"] in titles
    ]
    return "\n".join(lines)


def video_table(results: Sequence[dict]) -> str:
    """What reading and looking through clips takes as a Markdown table."""
    lines = [
        "| minutes | part | seconds | time / bare decoding | processor time / bare decoding |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {result['minutes']} | {row['part']} | {row['wall_s']:.2f} | {row['wall_to_floor']:.2f}"
        f" | {row['processor_to_floor']:.2f} |"
        for result in results
        for row in result["rows"]
    ]
    return "\n".join(lines)


TABLES: dict[str, Callable[[dict], str]] = {
    "tools": tools_table,
    "fcdb": lambda results: fcdb.table(results["fcdb"]),
    "models": models_table,
    "boxes": lambda results: boxes.table(results["boxes"]),
    "editor": lambda results: editor.table(results["editor"]),
    "integrity": lambda results: integrity.table(results["integrity"]),
    "groups": lambda results: integrity.table(results["groups"]),
    "figures": lambda results: integrity.table(results["figures"]),
    "padding": lambda results: padding_table(results["padding"]),
    "subjects": lambda results: subjects_table(results["subjects"]),
    "blind": lambda results: blind_table(results["blind"]),
    "network": lambda results: network_table(results["network"]),
    "proposals": lambda results: recall_table(results["proposals"]),
    "folds": lambda results: folds_table(results["folds"]),
    "throughput": lambda results: throughput_table(results["throughput"]),
    "memory": lambda results: memory_table(results["throughput"]),
    "start": lambda results: start_table(results["start"]),
    "video": lambda results: video_table(results["video"]),
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
