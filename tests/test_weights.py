"""Weights files: ours, the published layouts, and what is neither."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save, save_file

import pictures
from networks import published_state
from s2crop import choices
from s2crop.cropping.cropper import Cropper
from s2crop.errors import InputError, WeightsError
from s2crop.models import weights as weights_module
from s2crop.models.s2cnet import S2CNet, S2CNetConfig
from s2crop.models.weights import load_model, save_weights, shipped_weights
from s2crop.training.mean import write_mean

SMALL = dict(align_size=3, node_dim=16, relation_dim=8, mlp_dim=24, num_proposals=4)


def save_checkpoint(state, folder):
    torch.save(state, folder / "checkpoint.pth")
    return folder / "checkpoint.pth"


def test_our_file_round_trips_with_its_configuration(tmp_path):
    torch.manual_seed(0)
    model = S2CNet(S2CNetConfig(padding="same", node_geometry=True, overlap_messages=True, proposal_head=True, **SMALL))
    save_weights(model, tmp_path / "a.safetensors", torch.float32)
    loaded = load_model(weights=tmp_path / "a.safetensors")
    assert loaded.config == model.config and not loaded.training
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("name", ["sfrc", "asmnet"])
def test_siblings_round_trip_and_are_not_taken_for_one_another(name, tmp_path):
    torch.manual_seed(0)
    network, config = weights_module.MODELS[name]
    model = network(config(short_side=64, proposal_head=True))
    save_weights(model, tmp_path / "a.safetensors", torch.float32)
    loaded = load_model(name, tmp_path / "a.safetensors")
    assert loaded.config == model.config and type(loaded) is network
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in model.state_dict().items())
    with pytest.raises(WeightsError, match=f"weights of {name}, not of s2cnet"):
        load_model("s2cnet", tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_model(name, save_checkpoint(published_state(), tmp_path))


def test_the_command_line_names_every_model():
    assert choices.MODELS == tuple(weights_module.MODELS)


def test_half_precision_file_is_half_the_size_and_loads_as_float32(tmp_path):
    model = S2CNet(S2CNetConfig(**SMALL))
    save_weights(model, tmp_path / "full.safetensors", torch.float32)
    save_weights(model, tmp_path / "half.safetensors")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.55 * (tmp_path / "full.safetensors").stat().st_size
    assert load_model(weights=tmp_path / "half.safetensors").head.weight.dtype == torch.float32


@pytest.mark.parametrize(("head", "proposals"), [("crop", 10), ("all", 5)])
def test_published_layouts_are_told_apart_by_their_head(head, proposals, tmp_path):
    model = load_model(weights=save_checkpoint(published_state(head, proposals=proposals), tmp_path))
    config = model.config
    assert (config.head, config.num_proposals, config.align_size, config.padding) == (head, proposals, 9, "one")
    crops = torch.tensor([[0.0, 0, 0, 60, 60], [0, 10, 10, 90, 60]])
    boxes = torch.rand(proposals, 5).mul(30) + torch.tensor([0.0, 0, 0, 30, 30])
    boxes[:, 0] = 0
    with torch.inference_mode():
        scores = model(torch.randn(1, 3, 64, 96), crops, boxes)
    assert scores.shape == (2,) and scores.isfinite().all()


def test_checkpoint_in_the_old_pickle_format_is_read_too(tmp_path):
    torch.save(published_state(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert load_model(weights=tmp_path / "old.pth").config.head == "crop"


def test_missing_left_over_and_misshapen_keys_are_named(tmp_path):
    for change, reason in (
        (lambda s: s.pop("GraphConstructor.fc_rn_phi.bias"), "fc_rn_phi.bias is missing"),
        (lambda s: s.update({"extra.weight": torch.zeros(1)}), "extra.weight is unknown"),
        (lambda s: s.update({"FC_layers.weight": torch.zeros(1, 99)}), r"head.weight should be \[1, 256\]"),
        (lambda s: s.update({"node_emb.0.weight": torch.zeros(256, 1300)}), "node_emb and DimRed"),
        (lambda s: s["FC_layers.bias"].fill_(float("nan")), "not finite"),
    ):
        state = published_state()
        change(state)
        with pytest.raises(WeightsError, match=reason):
            load_model(weights=save_checkpoint(state, tmp_path))


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("Feat_ext.feature4.0.10.conv.1.weight", lambda x: x[:1]),  # would be spread over all channels
        ("Feat_ext.feature4.0.10.conv.1.running_var", lambda x: x[0]),
        ("Feat_ext.feature4.0.10.conv.1.bias", lambda x: x[:5]),
        ("node_emb.0.weight", lambda x: x.to_sparse()),
        ("node_emb.0.weight", lambda x: x.to(torch.complex64)),
        ("node_emb.0.weight", lambda x: x.to("meta")),
        ("node_emb.0.bias", lambda x: x.to(torch.int64)),
        ("DimRed.weight", lambda x: x[:1, :1, :1, :1].expand(8, 448, 40000, 40000)),
        ("GraphConstructor.pos_to_head.weight", lambda x: x[:0]),
        ("GraphTransformer.layers.0.0.fn.fn.to_kv.weight", lambda x: x[0, 0]),
    ],
)
def test_tensors_that_are_something_else_are_refused(tmp_path, key, change):
    state = published_state()
    state[key] = change(state[key])
    with pytest.raises(WeightsError, match="bad.pth") as error:
        torch.save(state, tmp_path / "bad.pth")
        load_model(weights=tmp_path / "bad.pth")
    assert "\n" not in str(error.value)


def test_a_configuration_of_brackets_is_refused(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors", {
        "format": weights_module.FORMAT, "model": "s2cnet", "config": "[" * 100_000
    })  # fmt: skip
    with pytest.raises(WeightsError, match="unusable configuration"):
        load_model(weights=tmp_path / "a.safetensors")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_what_a_program_makes_tensors_of_changes_nothing(small_weights, dtype):
    picture = np.asarray(pictures.photo(120, 90))
    expected = Cropper(weights=small_weights, device="cpu").crop(picture, ["1:1", "free"])
    torch.set_default_dtype(dtype)
    try:
        assert Cropper(weights=small_weights, device="cpu").crop(picture, ["1:1", "free"]) == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_pickled_code_is_not_run(tmp_path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return open, (str(marker), "w")

    for name, dump in (
        ("a.pth", lambda p: torch.save({"x": Evil()}, p)),
        ("b.pth", lambda p: p.write_bytes(pickle.dumps(Evil()))),
    ):
        dump(tmp_path / name)
        with pytest.raises(WeightsError):
            load_model(weights=tmp_path / name)
    assert not marker.exists()


def test_files_that_are_not_weights_give_the_reason(tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "cut.pth").write_bytes(save_checkpoint(published_state(), tmp_path).read_bytes()[:5000])
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    save_weights(S2CNet(S2CNetConfig(**SMALL)), tmp_path / "ours.safetensors")
    whole = (tmp_path / "ours.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "config.safetensors").write_bytes(whole.replace(b'\\"heads\\": 4', b'\\"heads\\": 5'))
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    for name, reason in (
        ("text.pth", "neither"),
        ("cut.pth", "not a"),
        ("other.safetensors", "not one of s2crop's"),
        ("half.safetensors", "damaged"),
        ("list.pth", "not a plain state dict"),
        ("none.pth", "No such file"),
        ("config.safetensors", "not a multiple of heads"),
    ):
        with pytest.raises(WeightsError, match=reason):
            load_model(weights=tmp_path / name)


def test_unknown_model_is_the_callers_mistake():
    with pytest.raises(ValueError, match="no model called"):
        load_model("nonesuch")


def test_damaged_shipped_weights_are_refused(tmp_path, monkeypatch):
    save_weights(S2CNet(S2CNetConfig(**SMALL)), tmp_path / "s2cnet.safetensors")
    (tmp_path / "manifest.json").write_text(
        json.dumps({"models": {"s2cnet": {"file": "s2cnet.safetensors", "sha256": "0" * 64}}})
    )
    monkeypatch.setattr(weights_module, "weights_folder", lambda: tmp_path)
    with pytest.raises(WeightsError, match="damaged"):
        load_model()
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(WeightsError, match="no usable entry"):
        load_model()


def test_shipped_weights_are_what_the_manifest_says():
    """Hash, size limit and half precision of what travels in the wheel."""
    folder = weights_module.weights_folder()
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, entry in manifest["models"].items():
        path = shipped_weights(name)
        assert path.stat().st_size <= 16 * 2**20
        config, state = weights_module.read_weights(path, name)
        assert entry["config"] == json.loads(json.dumps(vars(config)))
        assert {"recipe", "data", "licence", "scores", "preprocessing"} <= entry.keys()


@pytest.mark.parametrize(
    "change",
    [
        {"node_dim": 10**7},
        {"node_dim": 8192},
        {"node_dim": -1},
        {"node_dim": "16"},
        {"depth": 10**9},
        {"align_size": 0},
    ],
)
def test_a_configuration_that_does_not_fit_its_tensors(tmp_path, change):
    path = tmp_path / "a.safetensors"
    save_weights(S2CNet(S2CNetConfig(**SMALL)), path)
    with safe_open(path, framework="pt") as file:
        metadata, state = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    metadata["config"] = json.dumps(json.loads(metadata["config"]) | change)
    path.write_bytes(save(state, metadata=metadata))
    with pytest.raises(WeightsError, match="a.safetensors"):
        load_model("s2cnet", path)


def test_the_mean_of_runs_counts_each_as_often_as_it_is_named(tmp_path):
    runs, states = [tmp_path / "one", tmp_path / "other"], []
    for seed, run in enumerate(runs):
        torch.manual_seed(seed)
        run.mkdir()
        save_weights(S2CNet(S2CNetConfig(**SMALL)), run / "weights.safetensors")
        states.append(load_model(weights=run / "weights.safetensors").state_dict())
    mean = load_model(weights=write_mean([runs[0], runs[1], runs[1]], tmp_path / "mean"))
    for key, value in mean.state_dict().items():
        torch.testing.assert_close(value, (states[0][key] + 2 * states[1][key]) / 3, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(states[0]["head.weight"], states[1]["head.weight"], atol=1e-2)
    save_weights(S2CNet(S2CNetConfig(**{**SMALL, "node_dim": 24})), runs[1] / "weights.safetensors")
    with pytest.raises(InputError, match="other: another configuration"):
        write_mean(runs, tmp_path / "none")
    assert not (tmp_path / "none").exists()
