"""Small untrained networks, their files, and checkpoints in the published layout."""

import torch

from s2crop.cropping.features import ALL_NAMES
from s2crop.models import weights as weights_module
from s2crop.models.s2cnet import S2CNet, S2CNetConfig
from s2crop.models.weights import save_weights

SCORE_TOLERANCE = 1e-4  # float32, batched or not


CONFIG = S2CNetConfig(
    short_side=64,
    align_size=3,
    node_dim=32,
    relation_dim=16,
    mlp_dim=48,
    num_proposals=4,
    antialias=True,
    padding="same",
    node_geometry=True,
    overlap_messages=True,
    proposal_head=True,
    subject_head=True,
)
SIBLINGS = {  # of their configurations
    "sfrc": dict(
        reduced_dim=4,
        align_size=3,
        region_hidden_dim=16,
        region_dim=12,
        map_size=16,
        first_dim=3,
        second_dim=4,
        spatial_dim=8,
    ),
    "asmnet": dict(map_stride=4, hidden_dim=8),
}
CHOICE = {"score": 2.0, "lost": -1.0, "head_cut": -2.0, "head_lost": -2.0, "eyes_lost": -1.0, "text_lost": -1.0}


def make_weights(folder, **choices):
    torch.manual_seed(0)
    model = S2CNet(S2CNetConfig(**{**vars(CONFIG), **choices}))
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    if model.choice is not None:
        for name, weight in CHOICE.items():
            model.choice.fixed[ALL_NAMES.index(name)] = model.choice.free[ALL_NAMES.index(name)] = weight
    save_weights(model, folder / "small.safetensors", torch.float32)
    return folder / "small.safetensors"


def published_state(head="crop", node_dim=256, proposals=10):
    """A seeded state dict with the keys and shapes of a published checkpoint."""
    generator = torch.Generator().manual_seed(0)
    state = {}

    def add(key, *shape):
        state[key] = torch.randn(*shape, generator=generator) / max(1, shape[-1]) ** 0.5

    def norm(key, channels):
        for part in ("weight", "bias", "running_mean"):
            add(f"{key}.{part}", channels)
        state[f"{key}.running_var"] = torch.rand(channels, generator=generator) + 0.5
        state[f"{key}.num_batches_tracked"] = torch.tensor(0)

    def linear(key, out, into, bias=True):
        add(f"{key}.weight", out, into)
        if bias:
            add(f"{key}.bias", out)

    reference = S2CNet(S2CNetConfig()).state_dict()
    for ours, (convolution, batch_norm) in weights_module._published_backbone_keys().items():
        add(f"{convolution}.weight", *reference[f"{ours}.weight"].shape)
        norm(batch_norm, reference[f"{ours}.weight"].shape[0])
    add("DimRed.weight", 8, 448, 1, 1)
    add("DimRed.bias", 8)
    linear("node_emb.0", node_dim, 2 * 8 * 9 * 9)
    for key in ("node_emb.1", "GraphTransformer.nl_gcn"):
        add(f"{key}.weight", node_dim)
        add(f"{key}.bias", node_dim)
    for name, out, into in (
        ("fc_rn_theta", 256, node_dim),
        ("fc_rn_phi", 256, node_dim),
        ("pos_ascension_theta", 256, 2),
        ("pos_ascension_phi", 256, 2),
        ("pos_to_head", 4, 1),
        ("app_to_head", 4, 1),
    ):
        linear(f"GraphConstructor.{name}", out, into)
    linear("GraphTransformer.fc_gcn", node_dim, node_dim, bias=False)
    for layer in range(2):
        for part in (0, 1):
            add(f"GraphTransformer.layers.{layer}.{part}.fn.norm.weight", node_dim)
            add(f"GraphTransformer.layers.{layer}.{part}.fn.norm.bias", node_dim)
        base = f"GraphTransformer.layers.{layer}"
        linear(f"{base}.0.fn.fn.to_kv", 2 * node_dim, node_dim, bias=False)
        linear(f"{base}.0.fn.fn.to_q", node_dim, node_dim, bias=False)
        linear(f"{base}.0.fn.fn.to_out.0", node_dim, node_dim)
        linear(f"{base}.1.fn.fn.net.0", 1024, node_dim)
        linear(f"{base}.1.fn.fn.net.3", node_dim, 1024)
    if head == "crop":
        linear("FC_layers", 1, node_dim)
    else:
        for number, out, into, side in ((0, 768, proposals + 1, 16), (1, 128, 768, 1)):
            add(f"FC_layers.{number}.0.weight", out, into, side, side)
            add(f"FC_layers.{number}.0.bias", out)
            norm(f"FC_layers.{number}.1", out)
        add("FC_layers.3.weight", 1, 128, 1, 1)
        add("FC_layers.3.bias", 1)
    return state
