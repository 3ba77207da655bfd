"""Write measured figures where people read them: README tables and the manifest, from one results file.

    python -m s2crop.evaluation.tables
"""

import json
import re
from pathlib import Path

from s2crop.evaluation import boxes, fcdb, integrity

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "weights" / "results.json"


def network_table(result: dict) -> str:
    """Times of the benchmark as a Markdown table."""
    lines = ["| network | batch | backbone, ms a picture | whole network / backbone | proposal head / backbone |",
             "|---|---|---|---|---|"]
    for row in result["rows"]:
        lines.append(f"| {row['network']} | {row['batch']} | {row['backbone_ms']:.1f} | {row['network_to_backbone']:.2f} "
                     f"| {row.get('proposals_to_backbone', '')} |")
    return "\n".join(lines)


def recall_table(result: dict) -> str:
    """Recall of the proposal head as a Markdown table."""
    kinds = result["recall"]
    return (f"| {' | '.join(kinds)} |\n|{'---|' * len(kinds)}\n"
            f"| {' | '.join(f'{value:.3f}' for value in kinds.values())} |")


def folds_table(result: dict) -> str:
    """What cross-validation gave, and its mean over photos, as a Markdown table."""
    rows = [{"scorer": f"fold {row['fold']}, {row['pictures']} photos"} | row for row in result["folds"]]
    rows.append({"scorer": f"all, {result['pictures']} photos"} | result["mean"])
    return fcdb.table({"rows": rows})


TABLES = {"fcdb": fcdb.table, "boxes": boxes.table, "integrity": integrity.table, "network": network_table, "proposals": recall_table,
          "folds": folds_table}


def filled(text: str, results: dict) -> str:
    """A text with each `<!-- table: NAME -->` ... `<!-- end -->` filled from the results.

    Raises:
        KeyError: a table that the results do not have.
    """
    def fill(match: re.Match) -> str:
        return f"<!-- table: {match[1]} -->\n{TABLES[match[1]](results[match[1]])}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->.*?<!-- end -->", fill, text, flags=re.DOTALL)


def main() -> None:
    results = json.loads(RESULTS.read_text())
    for path in (ROOT / "README.md", ROOT / "weights" / "README.md"):
        path.write_text(filled(path.read_text(), results))
    manifest_path = ROOT / "weights" / "manifest.json"
    manifest = json.loads(manifest_path.read_text())
    scores = next(row for row in results["fcdb"]["rows"] if row["scorer"] == "s2cnet")
    manifest["models"]["s2cnet"]["scores"] = {
        "data": f"{results['fcdb']['data']}, {results['fcdb']['split']} split, {results['fcdb']['pictures']} pictures",
        **{key: value for key, value in scores.items() if key != "scorer"}}
    manifest_path.write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
