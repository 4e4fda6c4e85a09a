"""`VLM`: one Qwen-VL model of transformers together with its codec.

The only file that knows how these models want to be called. Everything above it speaks of token
ids, positions, masks and features. Shapes: N rows, L tokens, D hidden size, n image tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText

from .activations import attending, checkpoint_layers
from .adapters import Gather, add_lora, checkpoint_weights, merged, whole
from .bounded import Bounded
from .devices import device_of, dtype_of
from .families import family_of
from .features import PATCH_BYTES, ImageFeatures, Patches, chunks
from .head import SpreadHead
from .positions import Grid, Positions
from .rollout.codec import Codec, EncodedImage, reading
from .weight_watch import WeightWatch

FEATURE_CACHE_MB = 256
"""Of a `VLM` that nobody says more about, such as an engine's own."""


class VLM:
    """A vision-language model that is run by explicit positions, masks and image features.

    `freeze_vision` takes the vision tower out of training; its features are then kept by image
    hash (up to `feature_cache_mb` megabytes) while no change of its weights is seen.
    Raises ValueError for a model of no known family (see `families`) or whose image processor
    disagrees with its vision tower.
    """

    def __init__(
        self,
        model: nn.Module,
        codec: Codec,
        *,
        freeze_vision: bool = True,
        feature_cache_mb: int = FEATURE_CACHE_MB,
        max_patches: int = 16384,
    ) -> None:
        self.model: Any = model
        self.codec = codec
        self.freeze_vision = freeze_vision
        self.max_patches = max_patches
        self._features: Bounded[ImageFeatures] = Bounded(feature_cache_mb * 2**20)
        self._layouts = Positions(codec.image)
        self._patches: Bounded[Patches] = Bounded(PATCH_BYTES)
        self.checkpointing = False
        """Whether layers are computed again in the backward pass; see `checkpoint_activations`."""
        self._tower = WeightWatch()
        self._gather: Gather | None = None
        self._head: SpreadHead | None = None
        self._check()
        if freeze_vision:
            self.body.visual.requires_grad_(False)

    def _check(self) -> None:
        name = self.model.config.name_or_path or type(self.model).__name__
        got, wanted = type(self.model).__name__, family_of(self.model.config).model_class
        if got != wanted:
            raise ValueError(f"{name}: got a {got}, expected a {wanted}")
        vision, text = self.model.config.vision_config, self.model.config.text_config
        expected = (vision.patch_size * vision.spatial_merge_size, vision.spatial_merge_size)
        if (self.codec.factor, self.codec.merge) != expected:
            raise ValueError(
                f"{name}: preprocessor_config.json says factor {self.codec.factor} with merge size "
                f"{self.codec.merge}, config.json says {expected[0]} with {expected[1]}"
            )
        if len(self.codec.tokenizer) > text.vocab_size:
            raise ValueError(
                f"{name}: the tokenizer has {len(self.codec.tokenizer)} tokens, "
                f"the model only {text.vocab_size} embeddings"
            )
        if "sliding_attention" in (getattr(text, "layer_types", None) or ()):
            raise ValueError(f"{name}: sliding-window attention cannot share a prefix cache")

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        dtype: str = "auto",
        device: str = "cpu",
        lora: dict[str, Any] | None = None,
        freeze_vision: bool = True,
        feature_cache_mb: int = FEATURE_CACHE_MB,
    ) -> VLM:
        """Load a model folder or a cached hub id.

        `dtype` is "float32", "bfloat16" or "auto" (bfloat16 on a GPU, float32 on a CPU), `device`
        "cpu", "cuda" or "auto". `lora` holds fields of peft's `LoraConfig`
        (`adapters.LORA_OPTIONS`); with it everything but the adapters is frozen. Raises
        FileNotFoundError or ValueError that names what the folder lacks.
        """
        dtype, device = dtype_of(dtype, device), device_of(device)
        codec = Codec.from_pretrained(folder)
        loader: Any = AutoModelForImageTextToText
        with reading(folder):
            model, report = loader.from_pretrained(
                folder, dtype=getattr(torch, dtype), output_loading_info=True
            )
        missing = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
        if missing:
            raise ValueError(f"model folder {folder}: no fitting weights for {', '.join(missing)}")
        vlm = cls(
            model.to(device).eval(),
            codec,
            freeze_vision=freeze_vision,
            feature_cache_mb=feature_cache_mb,
        )
        if lora is not None:
            vlm.add_lora(lora)
        return vlm

    def add_lora(self, options: dict[str, Any]) -> None:
        """Freeze the model and train low-rank adapters inside it; see `adapters.add_lora`."""
        self.model = add_lora(self.model, options, freeze_vision=self.freeze_vision)
        self.freeze_vision = not any(p.requires_grad for p in self.body.visual.parameters())

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors as `save` writes them, for another engine to load, one at a time.

        Adapters are added to the weights they adapt. Where the head is tied to the embedding only
        the embedding comes, as in the checkpoint. Tensors may be the model's own: copy to keep.
        """
        return checkpoint_weights(self.model, self._gather)

    def state(self) -> Iterator[tuple[str, Tensor]]:
        """As `weights`, under the names of the model's own modules."""
        return merged(self.model, self._gather)

    def trained(self) -> Iterator[tuple[str, Tensor]]:
        """Name and whole tensor of every parameter that training changes; as `weights`, copy."""
        return whole(self.trainable(), self._gather)

    @property
    def is_partitioned(self) -> bool:
        """Whether the weights are spread over processes."""
        return self._gather is not None

    def partitioned(self, gather: Gather) -> None:
        """From now on the weights are spread over processes; see `adapters.Gather`.

        `weights`, `state`, `trained` and `save` are then called by all of them, and every forward
        pass, too. Raises ValueError for a head with adapters.
        """
        self._gather, self._head = gather, SpreadHead(self.model.lm_head)
        if not self.freeze_vision:
            self.max_patches = 2**62  # one pass of the tower for each batch, on every process

    def save(self, folder: str | Path) -> None:
        """Write the Hugging Face layout, tokenizer and preprocessor included.

        The weights are those of `weights`: the folder loads like any other model.
        """
        spread = self._gather is not None
        state = {n: t.to("cpu", copy=True) if spread else t for n, t in self.state()}
        self.model.save_pretrained(folder, state_dict=state)
        self.codec.tokenizer.save_pretrained(folder)
        self.codec.image_processor.save_pretrained(folder)

    @property
    def context(self) -> int:
        """Tokens of the longest conversation that the model was made for."""
        return int(self.model.config.text_config.max_position_embeddings)

    @property
    def body(self) -> Any:
        """The model without its head: vision tower and decoder."""
        return self.model.model

    @property
    def lm_head(self) -> Any:
        """Hidden states [..., D] -> logits [..., V]."""
        return self._head or self.model.lm_head

    @property
    def device(self) -> torch.device:
        return self.body.get_input_embeddings().weight.device

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Name and tensor of every parameter that training changes."""
        return ((n, p) for n, p in self.model.named_parameters() if p.requires_grad)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """No gradients and no dropout inside; the mode that was set before comes back."""
        was_training = self.model.training
        self.model.eval()
        try:
            # What is gathered inside stays whole for a while, and must not be inference tensors.
            with torch.no_grad() if self._gather else torch.inference_mode():
                yield
        finally:
            self.model.train(was_training)

    def encode_images(self, images: Iterable[EncodedImage]) -> dict[str, ImageFeatures]:
        """Features by hash; the vision tower sees every distinct image once.

        With a frozen tower they are remembered between calls and carry no gradient. Weights that
        the tower was given by `load_state_dict` are noticed; see `forget_stale_images`.
        """
        distinct = {image.hash: image for image in images}
        if not self.freeze_vision:
            return self._run_vision(list(distinct.values()))
        self.forget_stale_images(inside=False)
        found = {key: self._features.get(key) for key in distinct}
        known = {key: value for key, value in found.items() if value is not None}
        new = [image for key, image in distinct.items() if key not in known]
        if new:
            # Not inference tensors, even when called from an engine: training uses them again.
            with torch.inference_mode(False), torch.no_grad():
                known |= {key: value.copy() for key, value in self._run_vision(new).items()}
        for key, value in known.items():
            self._features.put(key, value)
        return known

    def _run_vision(self, images: list[EncodedImage]) -> dict[str, ImageFeatures]:
        features: dict[str, ImageFeatures] = {}
        for chunk in chunks(images, self.max_patches):
            pixels = torch.cat([self._patches_of(image) for image in chunk])
            grids = torch.tensor([image.grid for image in chunk])
            out = self.body.get_image_features(
                pixels.to(self.device), grids.to(self.device), return_dict=True
            )
            layers = [out.pooler_output, *(getattr(out, "deepstack_features", None) or ())]
            for image, (embeds, *deepstack) in zip(chunk, zip(*layers, strict=True), strict=True):
                features[image.hash] = ImageFeatures(embeds, tuple(deepstack))
        return features

    def _patches_of(self, image: EncodedImage) -> Tensor:
        kept = self._patches.get(image.hash)
        if kept is None:
            kept = Patches(torch.from_numpy(self.codec.pixel_values(image)))
            if not self.freeze_vision:
                self._patches.put(image.hash, kept)
        return kept.values

    def forget_images(self) -> None:
        """Drop all remembered features: the vision tower has other weights now."""
        self._features.clear()

    def forget_stale_images(self, inside: bool = True) -> None:
        """Drop them if the tower's weights have changed, as far as `WeightWatch` sees that."""
        if self._tower.changed(self.body.visual, inside):
            self.forget_images()

    def positions(self, token_ids: Sequence[int] | np.ndarray, grids: Sequence[Grid]) -> Tensor:
        """M-RoPE positions [3, L] (CPU) of a whole conversation, by the model's own rule.

        `grids` are those of the images whose placeholders lie in `token_ids`, in order.
        """
        return self._layouts.of(self.body, token_ids, grids)

    def checkpoint_activations(self) -> None:
        """Keep one activation per layer in training mode and compute the others again.

        Without a cache: rows then share a prefix as `TreeRow` only.
        """
        checkpoint_layers(self.model)
        self.checkpointing = True

    @contextmanager
    def attending(self, name: str) -> Iterator[None]:
        """Inside, and when a layer is computed again, the decoder attends by attention `name`."""
        if self.model.training and self._checkpoints() and not self.checkpointing:
            raise ValueError(
                "gradient checkpointing: was switched on past VLM.checkpoint_activations, so that "
                f"layers would be computed again without the attention {name!r}"
            )
        with attending(self.body.language_model.config, name):
            yield

    def _checkpoints(self) -> bool:
        layers = self.body.language_model.modules()
        return any(getattr(layer, "gradient_checkpointing", False) for layer in layers)

    def hidden(
        self,
        token_ids: Tensor,
        positions: Tensor,
        mask: Tensor,
        features: Sequence[ImageFeatures] = (),
        cache: Any = None,
        **attention: Any,
    ) -> Tensor:
        """The decoder's last hidden states [N, L, D]; `lm_head` is left to the caller.

        `token_ids` [N, L]; `positions` [3, N, L]; `mask` [N, past + L], False on padding;
        `features` of the images in `token_ids`, row by row; `cache` (transformers' `Cache`) holds
        the past and grows by L. `attention` reaches the attention function of every layer.
        """
        if cache is not None and self.model.training and self._checkpoints():
            raise ValueError(
                "gradient checkpointing drops the KV cache that this forward needs: train with "
                "optim.prefix tree or rows, and generate in evaluation mode"
            )
        images = None
        if features:
            layers = zip(*(f.deepstack for f in features), strict=True)
            images = {
                "image": SimpleNamespace(
                    pooler_output=[f.embeds for f in features],
                    deepstack_features=[list(layer) for layer in layers],
                )
            }
        out = self.body(
            input_ids=token_ids,
            position_ids=positions,
            attention_mask=mask,
            mm_token_type_ids=(token_ids == self.codec.image).long(),
            mm_encoder_outputs=images,
            past_key_values=cache,
            use_cache=cache is not None,
            **attention,
        )
        return out.last_hidden_state
