"""Read and write weights files: our own (safetensors) and the two published S2CNet layouts.

No pickle is trusted: `.pth` files are read with `weights_only=True`, ours hold no code at all.
"""

import dataclasses
import hashlib
import json
import mmap
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.overrides import TorchFunctionMode

from s2crop.errors import WeightsError
from s2crop.models.asmnet import ASMNet, ASMNetConfig
from s2crop.models.backbone import fold_batch_norm
from s2crop.models.header import FORMAT, MAX_SIZE, shipped_file, weights_folder
from s2crop.models.s2cnet import S2CNet, S2CNetConfig
from s2crop.models.scorer import Config, Scorer
from s2crop.models.sfrc import SFRC, SFRCConfig

SHARED = "shared.safetensors"  # beside a weights file that says so: what it has in common with its siblings
SHARED_PARTS = ("backbone.", "proposal_head.", "subject_head.", "appeal_head.", "text_head.", "animal_head.")
MODELS: dict[str, tuple[type[Scorer], type[Config]]] = {
    "s2cnet": (S2CNet, S2CNetConfig),
    "sfrc": (SFRC, SFRCConfig),
    "asmnet": (ASMNet, ASMNetConfig),
}
MAX_BYTES = 1 << 30  # no network of ours is near this size; a larger file is something else


def load_model(name: str = "s2cnet", weights: str | Path | None = None, device: str | torch.device = "cpu") -> Scorer:
    """Load a network in eval mode.

    Args:
        name: "s2cnet", "sfrc" or "asmnet".
        weights: a file of ours or a published S2CNet checkpoint; None for the shipped weights,
            whose hash is checked against the manifest.
    Raises:
        WeightsError: the file is missing, damaged, or not what it says.
        ValueError: there is no network of this name.
    """
    if name not in MODELS:
        raise ValueError(f"no model called {name!r}; there is {', '.join(MODELS)}")
    path = shipped_weights(name) if weights is None else Path(weights)
    config, state = read_weights(path, name)
    model = _without_values(name, config)
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval().to(device).to(memory_format=torch.channels_last)


def read_weights(path: Path, name: str = "s2cnet") -> tuple[Config, dict[str, Tensor]]:
    """Configuration and float32 state of a weights file. Raises WeightsError."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from None
    if size > MAX_BYTES:
        raise WeightsError(f"{path}: {size} bytes is too large for {name} weights")
    if head[8:9] == b"{":
        config, state = _read_ours(path, name)
    elif head[:2] in (b"PK", b"\x80\x02") and name == "s2cnet":
        config, state = _read_published(path)
    else:
        kinds = "neither a safetensors file nor a PyTorch checkpoint" if name == "s2cnet" else "not a safetensors file"
        raise WeightsError(f"{path}: {kinds}")
    if bad := [key for key, value in state.items() if not torch.isfinite(value).all()]:
        raise WeightsError(f"{path}: {bad[0]} holds values that are not finite")
    try:
        _check_shapes(name, config, state)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    return config, state


def _check_shapes(name: str, config: Config, state: dict[str, Tensor]) -> None:
    """WeightsError unless the state is exactly what a network of this configuration has; makes no such network."""
    for key, value in dataclasses.asdict(config).items():
        most = len(state) if key == "depth" else MAX_SIZE
        if isinstance(value, int) and not 0 <= value <= most:
            raise WeightsError(f"unusable configuration ({key} is {value}, and 0 to {most} can be)")
    try:
        expected = _without_values(name, config).state_dict()
    except Exception as error:  # the values are a stranger's: modules raise nearly anything for what makes no sense
        raise WeightsError(f"unusable configuration ({' '.join(str(error).split())[:200]})") from None
    for key, value in expected.items():
        if key not in state or state[key].shape != value.shape:
            found = list(state[key].shape) if key in state else "nothing"
            raise WeightsError(f"{key} should be {list(value.shape)}, the file gives {found}")
    if unknown := state.keys() - expected.keys():
        raise WeightsError(f"{min(unknown)} is in no network of this kind ({len(unknown)} such tensors)")


class _WithoutValues(TorchFunctionMode):
    """Parameters that are made inside have a shape, and neither memory nor values.

    `torch.device("meta")` alone would have them filled all the same, in Python: that imports torch's compiler, which
    takes as long as torch itself. Buffers are made as always.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        target = args[0] if args else kwargs.get("tensor")  # of what changes a tensor: fill_, nn.init.kaiming_uniform_
        if isinstance(target, Tensor) and target.is_meta and func.__name__.endswith("_") and func.__name__[0] != "_":
            return target
        if func is torch.empty:
            kwargs = kwargs | {"device": "meta"}
        return func(*args, **kwargs)


def _without_values(name: str, config: Config) -> Scorer:
    """A network whose parameters are still to be given it."""
    with _WithoutValues():
        return MODELS[name][0](config)


def save_weights(model: Scorer, path: Path, dtype: torch.dtype = torch.float16, shared: bool = False) -> None:
    """Write a file of ours: tensors, with the network's name and configuration in the header.

    Args:
        shared: put the SHARED_PARTS into a file of their own beside it; siblings that have the same write the same one.
    """
    state = {key: value.detach().cpu().to(dtype).contiguous() for key, value in model.state_dict().items()}
    metadata = {"format": FORMAT, "model": name_of(model.config)}
    metadata["config"] = json.dumps(dataclasses.asdict(model.config), sort_keys=True)
    if shared:
        common = {key: value for key, value in state.items() if key.startswith(SHARED_PARTS)}
        state = {key: value for key, value in state.items() if key not in common}
        data = save(common, metadata={"format": FORMAT})  # one entry: the order of several is not the same each time
        metadata["shared_sha256"] = hashlib.sha256(data).hexdigest()
        _write(path.with_name(SHARED), data)
    _write(path, save(state, metadata=metadata))


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(data)
    temporary.replace(path)


def name_of(config: Config) -> str:
    """The network that a configuration is of."""
    return next(name for name, (_, kind) in MODELS.items() if type(config) is kind)


def shipped_weights(name: str) -> Path:
    """Path of the default weights of a model, after checking their hash. Raises WeightsError."""
    path, expected = shipped_file(name, weights_folder())
    try:
        digest = _sha256(path)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read ({error})") from None
    if digest != expected:
        raise WeightsError(f"{path}: damaged (its hash is not the manifest's); install s2crop again")
    return path


def _sha256(path: Path) -> str:
    """Of a file, mapped so that its tensors are read from the same pages. Raises OSError; ValueError: it is empty."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return hashlib.sha256(data).hexdigest()


def _read_ours(path: Path, name: str) -> tuple[Config, dict[str, Tensor]]:
    metadata, state = _read_tensors(path, name)
    if "shared_sha256" in metadata:
        beside = path.with_name(SHARED)
        try:
            digest = _sha256(beside)
        except (OSError, ValueError) as error:
            raise WeightsError(f"{path} needs {beside}: {getattr(error, 'strerror', None) or error}") from None
        if digest != metadata["shared_sha256"]:
            raise WeightsError(f"{beside}: not the file that {path.name} was written with")
        state = _read_tensors(beside, "shared")[1] | state
    try:
        return MODELS[name][1](**json.loads(metadata["config"])), state
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: unusable configuration ({error})") from None


def _read_tensors(path: Path, name: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and float32 tensors of a safetensors file of ours."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # Mapped, so one copy is made: what is kept does not change with the file.
            state = {key: file.get_tensor(key).to(torch.float32, copy=True) for key in file.keys()}  # noqa: SIM118 (no dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: damaged safetensors file ({error})") from None
    if metadata.get("format") != FORMAT:
        raise WeightsError(f"{path}: a safetensors file, but not one of s2crop's")
    if metadata.get("model", "shared") != name:
        raise WeightsError(f"{path}: weights of {metadata.get('model')}, not of {name}")
    return metadata, state


def _read_published(path: Path) -> tuple[S2CNetConfig, dict[str, Tensor]]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path}: not a readable checkpoint ({' '.join(str(error).split())[:120]})") from None
    except Exception as error:  # pickle.UnpicklingError and what a hostile file may provoke in the unpickler
        raise WeightsError(f"{path}: not a plain state dict of tensors ({type(error).__name__})") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path}: not a plain state dict of tensors")
    try:
        return convert_published(state)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    except (RuntimeError, ValueError, IndexError, ArithmeticError) as error:  # of shapes that nothing can be made of
        raise WeightsError(f"{path}: not an S2CNet checkpoint ({' '.join(str(error).split())[:120]})") from None


def convert_published(state: dict[str, Tensor]) -> tuple[S2CNetConfig, dict[str, Tensor]]:
    """Map a published S2CNet `state_dict` (GAICv1 or GAICv2) to ours, strictly.

    The two are told apart by their head; sizes come from the shapes.

    Raises:
        WeightsError: a key that is missing, left over or of the wrong shape.
    """
    taken = _Taken(state)
    node = taken.shape("node_emb.0.weight", 2)
    reduced_dim, joined = taken.shape("DimRed.weight", 4)[:2]
    align_size = round((node[1] / (2 * reduced_dim)) ** 0.5)
    if joined != 448 or node[1] != 2 * reduced_dim * align_size**2:
        raise WeightsError("not an S2CNet checkpoint: node_emb and DimRed do not fit each other")
    head = "crop" if "FC_layers.weight" in state else "all"
    proposals = 10 if head == "crop" else taken.shape("FC_layers.0.0.weight", 4)[1] - 1
    depth = len({key.split(".")[2] for key in state if key.startswith("GraphTransformer.layers.")})
    config = S2CNetConfig(
        reduced_dim=reduced_dim,
        align_size=align_size,
        num_proposals=proposals,
        node_dim=node[0],
        relation_dim=taken.shape("GraphConstructor.fc_rn_theta.weight", 2)[0],
        depth=depth,
        head=head,
        heads=taken.shape("GraphConstructor.pos_to_head.weight", 2)[0],
        mlp_dim=taken.shape("GraphTransformer.layers.0.1.fn.fn.net.0.weight", 2)[0],
    )

    ours = dict(_fold_backbone(taken, _published_backbone_keys()))
    for target, source in (
        ("multi_scale.reduce", "DimRed"),
        ("nodes.pixels", "node_emb.0"),
        ("nodes.norm", "node_emb.1"),
        ("graph.semantic.theta", "GraphConstructor.fc_rn_theta"),
        ("graph.semantic.phi", "GraphConstructor.fc_rn_phi"),
        ("graph.semantic_heads", "GraphConstructor.app_to_head"),
        ("graph.spatial.theta", "GraphConstructor.pos_ascension_theta"),
        ("graph.spatial.phi", "GraphConstructor.pos_ascension_phi"),
        ("graph.spatial_heads", "GraphConstructor.pos_to_head"),
        ("graph.gate_norm", "GraphTransformer.nl_gcn"),
    ):
        ours |= taken.pair(target, source)
    ours["graph.gate.weight"] = taken("GraphTransformer.fc_gcn.weight")
    for layer in range(depth):
        attention, mlp = (f"GraphTransformer.layers.{layer}.{part}.fn" for part in (0, 1))
        target = f"graph.layers.{layer}"
        key_value = taken(f"{attention}.fn.to_kv.weight")
        ours[f"{target}.key.weight"], ours[f"{target}.value.weight"] = key_value.chunk(2)
        ours[f"{target}.query.weight"] = taken(f"{attention}.fn.to_q.weight")
        for name, source in (
            ("norm", f"{attention}.norm"),
            ("out", f"{attention}.fn.to_out.0"),
            ("mlp_norm", f"{mlp}.norm"),
            ("mlp.0", f"{mlp}.fn.net.0"),
            ("mlp.2", f"{mlp}.fn.net.3"),
        ):
            ours |= taken.pair(f"{target}.{name}", source)
    if head == "crop":
        ours |= taken.pair("head", "FC_layers")
    else:
        for number, source in ((0, "FC_layers.0"), (2, "FC_layers.1")):
            weight = taken(f"{source}.0.weight").flatten(1)
            norm = taken.norm(f"{source}.1", len(weight))
            scale = norm["weight"] / (norm["running_var"] + 1e-5).sqrt()
            weight, bias = fold_batch_norm(weight, norm)
            ours[f"head.{number}.weight"] = weight
            ours[f"head.{number}.bias"] = bias + taken.vector(f"{source}.0.bias", len(weight)) * scale
        ours["head.4.weight"] = taken("FC_layers.3.weight").flatten(1)
        ours["head.4.bias"] = taken("FC_layers.3.bias")
    taken.check_nothing_left()
    _check_shapes("s2cnet", config, ours)
    return config, ours


def fold_mobilenet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Fold a torchvision `mobilenet_v2` state dict into a state for `Backbone` (padding "one")."""
    folded = dict(_fold_backbone(_Taken(state), _torchvision_backbone_keys()))
    return {key.removeprefix("backbone."): value for key, value in folded.items()}


class _Taken:
    """A state dict that remembers what has been read from it."""

    def __init__(self, state: dict[str, Tensor]):
        self.state = state
        self.read: set[str] = set()

    def __call__(self, key: str) -> Tensor:
        if key not in self.state:
            raise WeightsError(f"not an S2CNet checkpoint: {key} is missing")
        self.read.add(key)
        value = self.state[key]
        if not value.is_floating_point() or value.layout != torch.strided or value.device.type != "cpu":
            raise WeightsError(f"not an S2CNet checkpoint: {key} is no dense tensor of floats")
        if 4 * value.numel() > MAX_BYTES:  # a few bytes can stand for any number of values
            raise WeightsError(f"not an S2CNet checkpoint: {key} has {value.numel()} values")
        return value.float()

    def shape(self, key: str, dimensions: int) -> list[int]:
        shape = list(self(key).shape)
        if len(shape) != dimensions:
            raise WeightsError(f"not an S2CNet checkpoint: {key} has shape {shape}")
        return shape

    def pair(self, target: str, source: str) -> dict[str, Tensor]:
        return {f"{target}.{part}": self(f"{source}.{part}") for part in ("weight", "bias")}

    def vector(self, key: str, length: int) -> Tensor:
        value = self(key)
        if value.shape != (length,):
            raise WeightsError(f"not an S2CNet checkpoint: {key} should be [{length}], and is {list(value.shape)}")
        return value

    def norm(self, source: str, channels: int) -> dict[str, Tensor]:
        names = ("weight", "bias", "running_mean", "running_var")
        return {part: self.vector(f"{source}.{part}", channels) for part in names}

    def check_nothing_left(self) -> None:
        left = [k for k in self.state if k not in self.read and not k.endswith("num_batches_tracked")]
        if left:
            raise WeightsError(f"not an S2CNet checkpoint as published: {left[0]} is unknown ({len(left)} such keys)")


def _fold_backbone(taken: _Taken, keys: dict[str, tuple[str, str]]) -> Iterator[tuple[str, Tensor]]:
    """Our weights and biases, by name, of convolutions with their BatchNorm folded."""
    for ours, (convolution, norm) in keys.items():
        unfolded = taken(f"{convolution}.weight")
        weight, bias = fold_batch_norm(unfolded, taken.norm(norm, len(unfolded)))
        yield f"{ours}.weight", weight
        yield f"{ours}.bias", bias


def _published_backbone_keys() -> dict[str, tuple[str, str]]:
    """Our convolution -> its (convolution, norm) in a published checkpoint."""
    keys = {"backbone.layers.0": ("Feat_ext.feature3.0.0.0", "Feat_ext.feature3.0.0.1")}
    for layer in range(1, 18):
        part = 3 if layer <= 6 else 4 if layer <= 13 else 5
        source, target = f"Feat_ext.feature{part}.0.{layer}.conv", f"backbone.layers.{layer}"
        names = ("depthwise", "project") if layer == 1 else ("expand", "depthwise", "project")
        for number, name in enumerate(names):
            keys[f"{target}.{name}"] = (f"{source}.{3 * number}", f"{source}.{3 * number + 1}")
    return keys


def _torchvision_backbone_keys() -> dict[str, tuple[str, str]]:
    keys = {"backbone.layers.0": ("features.0.0", "features.0.1")}
    for layer in range(1, 18):
        source, target = f"features.{layer}.conv", f"backbone.layers.{layer}"
        names = ("depthwise",) if layer == 1 else ("expand", "depthwise")
        for number, name in enumerate(names):
            keys[f"{target}.{name}"] = (f"{source}.{number}.0", f"{source}.{number}.1")
        keys[f"{target}.project"] = (f"{source}.{len(names)}", f"{source}.{len(names) + 1}")
    return keys
