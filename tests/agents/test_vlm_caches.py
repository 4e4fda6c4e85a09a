"""What a `VLM` remembers is of its present weights, and bounded."""

import torch

from agents.vlm import VLM

from .conftest import noise_image
from .test_vlm import count_patches


def test_features_do_not_outlive_the_towers_weights(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    image = vlm.codec.encode_image(noise_image(48, 32))
    before = vlm.encode_images([image])[image.hash].embeds
    tower = {name: 1.3 * value for name, value in vlm.body.visual.state_dict().items()}
    vlm.body.visual.load_state_dict(tower)
    after = vlm.encode_images([image])[image.hash].embeds
    assert (after - before).abs().max() > 0.1
    for parameter in vlm.body.visual.parameters():
        parameter.data.mul_(1.1)  # no look from outside sees it
    assert vlm.encode_images([image])[image.hash].embeds is after
    vlm.forget_stale_images()
    assert vlm.encode_images([image])[image.hash].embeds is not after
    runs = count_patches(vlm)
    vlm.forget_stale_images()
    vlm.encode_images([image])
    assert runs == []


def test_layouts_are_bounded(qwen3_folder: str) -> None:
    vlm = VLM.load(qwen3_folder)
    text, image = vlm.codec.im_end, vlm.codec.image
    whole = vlm.positions([text] * 9 + [image] * 6 + [text] * 3, [(1, 4, 6)])
    vlm._layouts.limit = 4096
    for n in range(1, 60):
        got = vlm.positions([text] * n + [image] * 6 + [text] * 3, [(1, 4, 6)])
        assert torch.equal(got[:, n:] - n, whole[:, 9:] - 9)
    assert 1 <= len(vlm._layouts) < 4 and vlm._layouts.n_bytes <= 4096
    again = vlm.positions([text] * 59 + [image] * 6 + [text] * 9, [(1, 4, 6)])
    assert torch.equal(again[:, :68], got) and len(vlm._layouts) < 4
