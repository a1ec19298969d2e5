import dataclasses
import json
import sys

import pytest
import torch

from helmsight.policies.base import load_policy
from helmsight.policies.modules.film import LowRankFilm
from helmsight.policies.modules.film_vision import VisionConfig
from helmsight.policies.modules.pretrained_vision import PretrainedVision, load_backbone
from tests.policies.manipulation_batches import tiny_batch, tiny_observation, tiny_policy

transformers = pytest.importorskip(
    "transformers", reason="needs transformers (pip install 'helmsight[pretrained]')"
)
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 24,
    "patch_size": 4,
}
VISION = VisionConfig(width=16, film_rank=4, aggregation_tokens=3, backbone_patches=4)


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    """Folders of a small DINOv2 and a small SigLIP with random weights."""
    folder = tmp_path_factory.mktemp("backbones")
    torch.manual_seed(0)
    dino = transformers.Dinov2Config(**{k: v for k, v in SIZES.items() if k != "intermediate_size"})
    transformers.Dinov2Model(dino).save_pretrained(folder / "dinov2")
    siglip = transformers.SiglipVisionConfig(**SIZES)
    transformers.SiglipVisionModel(siglip).save_pretrained(folder / "siglip")
    return str(folder / "dinov2"), str(folder / "siglip")


def images(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, 2, 32, 32, 3), dtype=torch.uint8, generator=generator)


def vision(*names, **changes):
    torch.manual_seed(0)
    config = dataclasses.replace(VISION, backbones=names, **changes)
    return PretrainedVision(config, cameras=2, condition_width=8).eval()


@pytest.mark.parametrize("which", [0, 1], ids=["dinov2", "siglip"])
def test_modulated_blocks_begin_as_the_models_own(backbones, which):
    seen = vision(backbones[which], aggregation_tokens=0)
    stream = seen.streams[0]
    pixels = images().flatten(0, 1).permute(0, 3, 1, 2).float() / 255.0
    pixels = torch.nn.functional.interpolate(pixels, (16, 16), mode="bilinear", antialias=True)
    pixels = (pixels - stream.mean) / stream.deviation
    options = {} if which == 0 else {"interpolate_pos_encoding": True}
    with torch.no_grad():
        own = stream.backbone(pixels, **options).last_hidden_state[:, -16:]
        expected = stream.projector(own).unflatten(0, (2, 2))
        assert torch.allclose(seen(images(), torch.randn(2, 8)).tokens, expected, atol=1e-5)


def test_two_streams_are_mixed_by_the_instruction(backbones):
    seen = vision(*backbones)
    for module in seen.modules():
        if isinstance(module, LowRankFilm):
            torch.nn.init.normal_(module.up.weight, std=0.3)
    with torch.no_grad():
        first = seen(images(), torch.full((2, 8), 1.0)).tokens
        second = seen(images(), torch.full((2, 8), -1.0)).tokens
    assert first.shape == (2, 2, 3, 16)
    assert not torch.allclose(first, second)


def test_a_frozen_backbone_does_not_learn_but_what_steers_it_does(backbones):
    seen = vision(*backbones).train()
    seen(images(), torch.randn(2, 8)).tokens.sum().backward()
    learnt = {name for name, p in seen.named_parameters() if p.grad is not None}
    assert not any(".backbone." in name for name in learnt)
    assert any(".films." in name for name in learnt)
    assert any(".token_embedding" in name for name in learnt)


def test_a_saved_policy_with_backbones_is_loaded_without_them(backbones, tmp_path):
    vision_config = dataclasses.replace(VISION, backbones=backbones)
    policy = tiny_policy(vision=vision_config)
    loss, _ = policy.train()(tiny_batch())
    assert torch.isfinite(loss)
    policy.eval().save(tmp_path / "policy")
    config = json.loads((tmp_path / "policy" / "config.json").read_text())
    config["config"]["vision"]["backbones"] = ["gone/first", "gone/second"]
    (tmp_path / "policy" / "config.json").write_text(json.dumps(config))
    loaded = load_policy(tmp_path / "policy")
    observation = tiny_observation()
    chunks = [p.predict_action_chunk(p.to_batch(observation)) for p in (policy, loaded)]
    assert torch.equal(*chunks)
    assert loaded.diagnostics() == {}


def test_a_model_of_another_kind_is_refused(tmp_path):
    config = transformers.ViTConfig(**SIZES)
    transformers.ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="of kind 'vit'; expected one of dinov2"):
        load_backbone(str(tmp_path), None)


def test_a_name_that_nothing_is_found_for_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"vision backbone .*nowhere.* could not be loaded"):
        load_backbone(str(tmp_path / "nowhere"), None)


def test_without_transformers_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"pip install 'helmsight\[pretrained\]'"):
        load_backbone("facebook/dinov2-small", None)
