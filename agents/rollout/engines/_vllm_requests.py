"""From a chat to vLLM's request and back: ids, images, sampling, and what came of it."""

from __future__ import annotations

from typing import Any

from ..chat import Chat
from ..codec import Codec
from ..stopping import Stopper
from . import Completion, Failure, Reply, Sampling, StopReason

COLDEST, HOTTEST = 0.01, 2.0
"""vLLM silently raises temperatures below the first, all but 0; it refuses those above the second.
"""


def check_sampling(sampling: Sampling, stop: tuple[str, ...] = ()) -> None:
    """Raise ValueError for what vLLM would silently sample in another way, or cannot look for."""
    if not all(stop):
        raise ValueError(f"stop: got {stop!r}, expected strings that are not empty")
    temperature = sampling.temperature
    if temperature != 0 and not COLDEST <= temperature <= HOTTEST:
        raise ValueError(
            f"sampling.temperature: got {temperature}, but vLLM samples at {COLDEST} to {HOTTEST}; "
            "expected a value between them, or 0 (greedy)"
        )


def refusal(chat: Chat, context: int, max_images: int, max_image_tokens: int) -> Failure | None:
    """Why a chat cannot be answered at all, if so. `context` in tokens."""
    if len(chat.token_ids) >= context:
        reason = (
            f"prompt of {len(chat.token_ids):,} tokens does not fit the model's context of "
            f"{context:,} tokens"
        )
    elif len(chat.images) > max_images:
        reason = (
            f"conversation of {len(chat.images)} images, the engine takes {max_images} "
            "(engine.max_images)"
        )
    elif any(image.n_tokens > max_image_tokens for image in chat.images):
        largest = max(image.n_tokens for image in chat.images)
        reason = (
            f"image of {largest:,} tokens, the engine takes {max_image_tokens:,} "
            "(engine.max_image_tokens)"
        )
    else:
        return None
    return Failure(reason, again=False)


def prompt_of(chat: Chat) -> dict[str, Any]:
    """The collapsed ids and the images, which vLLM knows again by their hashes."""
    prompt: dict[str, Any] = {"prompt_token_ids": list(chat.collapsed_ids)}
    if chat.images:
        prompt["multi_modal_data"] = {"image": [image.pil() for image in chat.images]}
        prompt["multi_modal_uuids"] = {"image": [image.hash for image in chat.images]}
    return prompt


def sampling_params(chat: Chat, sampling: Sampling, codec: Codec, context: int) -> Any:
    """vLLM's `SamplingParams` for the next reply of a chat."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        max_tokens=min(sampling.max_tokens, context - len(chat.token_ids)),
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        seed=sampling.key(chat.group, chat.member, chat.replies) % 2**63,
        stop=list(chat.stop) or None,
        stop_token_ids=list(codec.eos),
        include_stop_str_in_output=True,
        # Text is made only to look for stop strings in, which may span special tokens.
        detokenize=bool(chat.stop),
        skip_special_tokens=False,
        logprobs=0,
        flat_logprobs=True,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def is_whole(output: Any) -> bool:
    """Whether a reply ended by itself; a core that is told to end sends what it has of each."""
    return output.finish_reason in ("stop", "length")


def reply_of(output: Any, stop: tuple[str, ...], stopper: Stopper) -> Reply:
    """vLLM's output as a reply that ends exactly where `stopper` says.

    vLLM looks for stop strings in text that it decodes piece by piece, and may see one late.
    """
    if not is_whole(output):
        return Failure(f"vLLM ended the request: {output.finish_reason}", again=True)
    ids = [int(token) for token in output.token_ids]
    logprobs = [min(float(value), 0.0) for value in output.logprobs.logprobs]
    if len(logprobs) != len(ids):
        logprobs = logprobs[: len(ids)]  # of tokens behind a stop string, which vLLM drops
    ended = ids[-1] in stopper.codec.eos
    cut = stopper.cut(ids[:-1] if ended else ids, stop)
    if cut is not None:
        return Completion(ids[:cut], logprobs[:cut], StopReason.STOP)
    if ended:
        return Completion(ids, logprobs, StopReason.EOS)
    stopped = output.finish_reason == "stop"
    return Completion(ids, logprobs, StopReason.STOP if stopped else StopReason.LENGTH)


def check_prompt(chat: Chat, expanded: list[int]) -> None:
    """Raise ValueError when vLLM's processor made other tokens of the prompt than the chat."""
    if expanded == chat.token_ids:
        return
    pairs = zip(expanded, chat.token_ids, strict=False)
    place = next((n for n, (a, b) in enumerate(pairs) if a != b), None)
    where = f" (first difference at token {place})" if place is not None else ""
    raise ValueError(
        f"group {chat.group!r}, member {chat.member}: vLLM's processor disagrees with the chat: "
        f"its prompt has {len(expanded):,} tokens, the chat's has {len(chat.token_ids):,}{where}; "
        "check preprocessor_config.json and vLLM's version"
    )
