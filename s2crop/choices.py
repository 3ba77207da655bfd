"""Limits, and the names that users choose by: shared by command and library. Nothing is imported here."""

VERSION = "0.2.0"

MODELS = ("s2cnet", "sfrc", "asmnet")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
PROPOSALS = ("auto", "builtin", "torchvision")
PROTECT = ("none", "face", "text", "subject", "all")
METADATA = ("none", "rights", "all")
COLOURS = ("auto", "keep", "srgb")
SHAPES = ("rect", "circle")
PADS = ("never", "auto", "always")
SPLITS = ("validation", "training", "all")  # of labelled photos
GAICD_SPLITS = ("test", "val", "train")  # folders of GAICD

MAX_TOP = 90  # as many as there are grid anchors
DEFAULT_COVERS, MAX_COVERS = 3, 99
SCANS = ("auto", "full", "keyframes")  # how clips are looked through
DEFAULT_QUALITY = 90  # of 1 to 100, for lossy formats
DEFAULT_TEMPLATE = "{stem}{cover}_{ratio}{rank}"
MAX_PIXELS = 200_000_000  # 800 MB, as Pillow takes 4 bytes for RGB; larger pictures are refused before they are decoded
MAX_SIDE = 65535  # pixels of an output; what a JPEG header can hold
FOLDER = "/"  # what folders count under among the suffixes of files that are passed over
OWN_OUTPUT = "//"  # what pictures that this tool made count under there
