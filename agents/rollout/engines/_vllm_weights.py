"""New weights into a running vLLM, by the cheapest way that both sides can take.

    reload   an iterator over the trainer's tensors; vLLM's core and model are in this process
    folder   a model folder, given, or written for the occasion (in memory where there is room)
    ipc      vLLM's weight-transfer API over CUDA IPC: trainer and vLLM share a GPU
    nccl     the same over NCCL: vLLM has GPUs of its own

Afterwards nothing that was computed with the old weights is left: prefix, encoder and
multi-modal caches are emptied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..codec import check_model_folder
from ._vllm_core import HANDLES, environment
from ._vllm_folders import Folder
from ._vllm_transfer import open_sender, parameters, sizes

Way = Literal["reload", "folder", "ipc", "nccl"]
SHARD_BYTES = 2**31
HEAD, EMBEDDING = "lm_head.weight", "embed_tokens.weight"
OUTER = re.compile(r"^(?:(?:model|language_model)\.)+")
"""Parts of a name that differ between modules and checkpoints of one model."""


def named_weights(source: Any, tied: bool) -> Iterator[tuple[str, Tensor]]:
    """Names in checkpoint format with their tensors, of a `VLM` or of a transformers module.

    A head that is `tied` to the embedding comes under its own name, too: vLLM has both, on a CPU
    even as two copies, and would keep the old head. Raises TypeError for another source.
    """
    if hasattr(source, "weights"):
        return _with_head(source.weights(), tied)
    if isinstance(source, nn.Module):
        return _with_head(source.state_dict().items(), tied)
    raise TypeError(
        f"load_weights: got a {type(source).__name__}, expected a VLM, a module or a model folder"
    )


def _with_head(weights: Iterable[tuple[str, Tensor]], tied: bool) -> Iterator[tuple[str, Tensor]]:
    embedding, headless = None, tied
    for name, tensor in weights:
        headless = headless and name != HEAD
        if name.endswith(EMBEDDING):
            embedding = tensor
        yield name, tensor
    if headless and embedding is not None:
        yield HEAD, embedding


def choose_way(wanted: str, own_process: bool, on_cpu: bool, workers: int) -> Way:
    """The way of weights that do not come as a folder.

    `own_process`: vLLM's core is not in this process. Raises ValueError for one that is impossible.
    """
    if wanted in ("ipc", "nccl") and on_cpu:
        raise ValueError(
            f"engine.weight_sync: got {wanted!r}, which needs GPUs; expected auto, reload or folder"
        )
    if wanted in ("ipc", "nccl") and not own_process and workers == 1:
        raise ValueError(
            f"engine.weight_sync: got {wanted!r}, which goes from one process to another, but "
            "vLLM's model is in this one; expected auto or reload, or engine.own_process: true"
        )
    if wanted == "ipc" and workers > 1:
        raise ValueError(
            f"engine.weight_sync: got 'ipc', which shares one GPU's memory, but {workers} GPUs "
            "share vLLM's model; expected auto, folder or nccl"
        )
    if wanted == "reload" and (own_process or workers > 1):
        raise ValueError(
            "engine.weight_sync: got 'reload', but vLLM's model is in another process, which the "
            "trainer's tensors cannot be handed to; expected auto, folder, ipc or nccl"
        )
    if wanted != "auto":
        return wanted  # type: ignore[return-value]
    if not own_process and workers == 1:
        return "reload"
    return "folder" if on_cpu or workers > 1 else "ipc"


class WeightSync:
    """Brings weights to one vLLM.

    `workers`: processes that hold a part of its model. `model`: the folder or hub id that it was
    opened on, whose weights must all be there. `tied`: its head is its embedding.
    """

    def __init__(self, way: Way, workers: int, model: str, tied: bool) -> None:
        self.way = way
        self.workers = workers
        self.model = model
        self.tied = tied
        self._expected: set[str] = set()
        self._written: Folder | None = None
        self._sender: Any = None

    def load(self, core: Any, source: Any) -> Any:
        """Load and empty the caches; returns what `load` takes again if vLLM must be reopened.

        The tensors of a source in this process are copied: training goes on with them. Raises
        FileNotFoundError for a folder that lacks files, ValueError for weights that are missing,
        TypeError for another source.
        """
        ours = self._written is not None and source == self._written.path
        given = None
        if ours:
            given = Path(source)
        elif isinstance(source, str | Path):
            given = local_folder(source)
            self._check(given, tensors_of(given))
        if self.way == "reload":
            # Not by `weights_path`, which also becomes the place of vLLM's image processor.
            weights = folder_weights(given, self.tied) if given else self._weights(source)
            core.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        elif given:
            with complete(given, self.tied) as folder:
                _reload_folder(core, folder)
        elif self.way == "folder" or not _on_gpu(source):
            source = self._through_folder(core, source)
        else:
            self._transfer(core, source)
        if self._written is not None and source != self._written.path:
            self._written.remove()
            self._written = None
        reset_caches(core)
        return source

    def forget(self) -> None:
        """vLLM was closed or has died: what was agreed with it is void."""
        self._sender = None

    def close(self) -> None:
        self.forget()
        if self._written is not None:
            self._written.remove()
            self._written = None

    def _weights(self, source: Any) -> Iterator[tuple[str, Tensor]]:
        """As `named_weights`. Raises ValueError at the end if some were missing."""
        found = named_weights(source, self.tied)

        def counted() -> Iterator[tuple[str, Tensor]]:
            names = []
            for name, tensor in found:
                names.append(name)
                yield name, tensor
            self._check(type(source).__name__, names)

        return counted()

    def _check(self, source: Any, names: Iterable[str]) -> None:
        """Raise ValueError when not all names of the model that vLLM was opened on are there.

        vLLM itself would keep the old weights under the others.
        """
        if not self._expected:
            self._expected = {OUTER.sub("", n) for n in tensors_of(local_folder(self.model))}
        missing = sorted(self._expected - {OUTER.sub("", name) for name in names})
        if self.tied:  # the embedding stands for it
            missing = [name for name in missing if name != HEAD]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise ValueError(
                f"load_weights: {source} has no {', '.join(missing[:3])}{more}; expected all "
                f"{len(self._expected)} weights of {self.model}"
            )

    def _through_folder(self, core: Any, source: Any) -> Path:
        """The folder stays until the next one: a vLLM that dies finds its weights there.

        Room for one suffices: the one before goes first.
        """
        weights = self._weights(source)
        self.close()
        written = Folder("weights", sum(sizes(source)))
        write_shards(written.path, weights)
        _reload_folder(core, written.path)
        self._written = written
        return written.path

    def _transfer(self, core: Any, source: Any) -> None:
        # vLLM's senders take the current GPU for that of the weights.
        with environment(HANDLES), torch.cuda.device(parameters(source)[0].device):
            if self._sender is None or self._sender.source.of is not source:
                self._sender = open_sender(core, self.way, self.workers, source, self._weights)
            self._sender.send_weights()


def reset_caches(core: Any) -> None:
    """Forget what the old weights computed. Raises RuntimeError when something is still in use."""
    if not core.reset_prefix_cache():
        raise RuntimeError("vLLM: the prefix cache is in use, it cannot be emptied now")
    core.reset_encoder_cache()
    core.reset_mm_cache()


def write_shards(folder: Path, weights: Iterable[tuple[str, Tensor]], stem: str = "model") -> None:
    """Write tensors as safetensors files of about `SHARD_BYTES`, one in memory at a time."""
    from safetensors.torch import save_file

    shard: dict[str, Tensor] = {}
    size = n = 0
    for name, tensor in weights:
        # A copy each: safetensors refuses tensors that share memory, as tied weights do.
        shard[name] = tensor.detach().to("cpu", copy=True).contiguous()
        size += shard[name].nbytes
        if size >= SHARD_BYTES:
            save_file(shard, folder / f"{stem}-{n:05d}.safetensors", metadata={"format": "pt"})
            shard, size, n = {}, 0, n + 1
    if shard:
        save_file(shard, folder / f"{stem}-{n:05d}.safetensors", metadata={"format": "pt"})


def local_folder(source: str | Path) -> Path:
    """A model folder, checked, or where the hub's cache has a hub id."""
    check_model_folder(source)
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(str(source), local_files_only=True))


def tensors_of(folder: Path) -> dict[str, Path]:
    """Names of the tensors in a folder's safetensors files, with their files."""
    from safetensors import safe_open

    places: dict[str, Path] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            places |= dict.fromkeys(opened.keys(), file)
    return places


def folder_weights(folder: Path, tied: bool) -> Iterator[tuple[str, Tensor]]:
    """As `named_weights`, of the safetensors files in a folder."""
    from safetensors import safe_open

    def stored() -> Iterator[tuple[str, Tensor]]:
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118  (it is no mapping)
                    yield name, opened.get_tensor(name)

    return _with_head(stored(), tied)


@contextmanager
def complete(folder: Path, tied: bool) -> Iterator[Path]:
    """The folder, or one that links to its files and has the tied head beside them."""
    from safetensors import safe_open

    places = tensors_of(folder)
    embedding = next((name for name in places if name.endswith(EMBEDDING)), None)
    if HEAD in places or embedding is None or not tied:
        yield folder
        return
    with safe_open(places[embedding], "pt") as opened:
        head = opened.get_tensor(embedding)
    links = Folder("links", head.nbytes)
    try:
        for file in {*places.values()}:
            (links.path / file.name).symlink_to(file.resolve())
        write_shards(links.path, [(HEAD, head)], "head")
        yield links.path
    finally:
        links.remove()


def _reload_folder(core: Any, folder: Path) -> None:
    core.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})


def _on_gpu(source: Any) -> bool:
    return all(parameter.is_cuda for parameter in parameters(source))
