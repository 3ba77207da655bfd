"""Put a finished run's weights into the project, with their manifest entry and what the runs measured.

python -m s2crop.training.publish runs/s2cnet
"""

import argparse
import hashlib
import json
from pathlib import Path

from safetensors import safe_open

from s2crop.models.weights import MODELS, SHARED, load_model, save_weights, weights_folder

DATA = {
    "fcdb": "Flickr Cropping Dataset, official training part "
    "(photos: Flickr Creative Commons, for research; labels: MIT)",
    "osie": "eye fixations on OSIE photos (MIT)",
    "subjects": "masks of U2NetP (converted; U-2-Net is Apache-2.0) on all photos here; "
    "human masks of Clothing Co-Parsing (Apache-2.0)",
    "crowd": "human head boxes and eye fixations of EyeCrowd (MIT; photos from the web, research)",
    "people": "human person and head boxes of Clothing Co-Parsing (Apache-2.0; photos from the web, research)",
    "rankings": "14,808 rankings of crops of one ratio of these photos, by a vision-language model in an editor's "
    "place",
    "gaicd": "GAICD boxes and mean opinion scores, without pictures (no licence stated)",
    "teachers": "object, face and text boxes of PicoDet, Mobile Object Localizer, YuNet and PP-OCRv3 (Apache-2.0) "
    "on FCDB, OSIE (MIT), BSDS500 and ImageNet sample photos (research)",
    "lines": "lines of text found and read by PP-OCRv6 (Apache-2.0, by RapidOCR) on the photos here",
    "marks": "what 3,525 of these photos are about, marked by a vision-language model, twice",
    "animals": "1,027 heads of animals on 797 of these photos, marked by a vision-language model",
    "fonts": "lettering of training views in DejaVu, Liberation, GNU FreeFont, Lato, Open Sans, "
    "Roboto and other free fonts",
    "text": "word boxes of street and shop photos (no licence stated; research)",
    "backbone": "MobileNetV2 trained on ImageNet (Apache-2.0)",
}


RECIPES = {
    "s2cnet": ("proposals", "s2cnet", "subjects", "appeal", "text", "animals", "choice"),
    "sfrc": (
        "proposals",
        "s2cnet",
        "sfrc",
        "subjects",
        "appeal",
        "text",
        "animals",
        "choice --set training.model=sfrc",
    ),
    "asmnet": (
        "proposals",
        "s2cnet",
        "asmnet",
        "subjects",
        "appeal",
        "text",
        "animals",
        "choice --set training.model=asmnet",
    ),
}


def publish(run: Path) -> dict:
    """Copy weights and write the manifest entry; its measured scores come from `evaluation.tables`.

    What the runs beside it measured goes into the results file: recall of the proposals, lines and animals found, folds
    if there are any.
    """
    with safe_open(run / "weights.safetensors", framework="pt") as file:
        name = file.metadata()["model"]
    assert MODELS.keys() == RECIPES.keys()
    folder = weights_folder()
    target = folder / f"{name}.safetensors"
    net = load_model(name, run / "weights.safetensors")
    config = net.config
    save_weights(net, target, shared=True)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) if path.exists() else {"models": {}}
    resize = "bilinear with antialiasing" if config.antialias else "bilinear without antialiasing"
    manifest["models"][name] = {
        "file": target.name,
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "bytes": target.stat().st_size,
        "shared": SHARED,
        "precision": "float16, computed in float32",
        "config": vars(config),
        "preprocessing": f"RGB, short side {config.short_side}, sides rounded to multiples of 32, {resize}, divided by "
        f"{config.pixel_scale:g}, ImageNet mean and deviation",
        "recipe": [f"s2crop-train {recipe}" for recipe in RECIPES[name]],
        "data": DATA,
        "licence": "Apache-2.0 for this file; the terms of the data above are those of their owners",
        "scores": manifest["models"].get(name, {}).get("scores", {}),
    }
    path.write_text(json.dumps(manifest, indent=1) + "\n")
    results_path = folder / "results.json"
    results = json.loads(results_path.read_text()) if results_path.exists() else {}
    beside = (
        ("proposals", run.with_name("proposals")),
        ("lines", run.with_name("text")),
        ("animals", run.with_name("animals")),
        ("folds", run.with_name(f"{name}-folds")),
    )
    for key, other in beside if name == "s2cnet" else ():
        if (other / "results.json").exists():
            results[key] = json.loads((other / "results.json").read_text())
    results_path.write_text(json.dumps(results, indent=1) + "\n")
    return manifest["models"][name]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    print(json.dumps(publish(parser.parse_args().run), indent=1))
