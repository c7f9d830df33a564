"""The model protocol on ONNX Runtime."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import warnings
from collections.abc import Callable, Container, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilesam.arrays import FloatArray, IntArray, UInt8Array
from mobilesam.config import FLOAT32, SINGLE_MASK, VARIANTS
from mobilesam.cores import usable_cores
from mobilesam.errors import InputError, SingleMaskWarning, sentence
from mobilesam.files import exists, expanded
from mobilesam.model import Capabilities, Decoded, Embedding, MaskModel, Scored, encode_groups
from mobilesam.onnx import contract, metadata, providers, recognition, sam_decoder, saved, templates
from mobilesam.onnx.encoder import ImageEncoder
from mobilesam.onnx.sam_decoder import SamDecoder
from mobilesam.onnx.sessions import move_to_first_core, one_thread_per_core, open_session
from mobilesam.onnx.split_decoder import SplitDecoder
from mobilesam.prompts.arrays import Prompts
from mobilesam.weights import checkpoint as checkpoints

if TYPE_CHECKING:
    import onnx

    from mobilesam.weights.checkpoint import Checkpoint

_ROLES = tuple(graph.role for graph in contract.GRAPHS)
_CUDA_IMAGES = 8  # in one call of the encoder; on a CPU each image of a larger batch takes longer than a single one

StrPath = str | os.PathLike[str]
Opener = Callable[..., Any]  # of a file, path or bytes, with the keyword threads; returns a session


class OnnxSam(MaskModel):
    """MobileSAM, or any SAM exported as encoder and decoder, on ONNX Runtime.

    Create it with :meth:`from_files` or :meth:`from_checkpoint`.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        decoder: SplitDecoder | SamDecoder,
        weights_id: str,
        open_worker: Callable[[], SplitDecoder] | None = None,
        workers: int = 1,
        pin_caller: bool = False,
        source_weights_id: str | None = None,
    ) -> None:
        self.image_size = encoder.image_size
        self._encoder = encoder
        self._decoder = decoder
        self._weights_id = weights_id
        self._source_weights_id = source_weights_id or weights_id
        self._open_worker, self._workers = open_worker, workers
        self._pin_caller = pin_caller

    @classmethod
    def from_files(
        cls,
        files: StrPath | Sequence[StrPath],
        provider: str = providers.AUTO,
        threads: int | None = None,
        *,
        pin_threads: bool = False,
        open_file: Opener | None = None,
    ) -> OnnxSam:
        """Open exported files.

        Args:
            files: the files or their folder: the files of ``mobilesam export``, or an encoder and a decoder from
                another exporter. If there are both kinds of decoder, the split decoder is used.
            provider: a name of :data:`mobilesam.onnx.providers.PROVIDERS`, or "auto" for CUDA if it is available,
                else the CPU.
            threads: the number of threads of a computation on the CPU; by default one per core.
            pin_threads: whether to move the thread that calls the model, see :func:`mobilesam.load`.
            open_file: opens a file with another runtime than ONNX Runtime.

        Raises:
            InputError: the files are not those of one SAM model, or the provider is not available.
        """
        paths = [files] if isinstance(files, (str, os.PathLike)) else list(files)
        named = [expanded(path) for path in paths]
        if len(named) == 1 and exists(named[0]) and named[0].is_dir():
            named = recognition.files_of(named[0])
        parts = recognition.whole_model(named)
        known = {about["weights_sha256"] for _, model in parts.values() if (about := metadata.of(model))}
        if len(known) > 1:
            both = " and ".join(sorted(name[:12] for name in known))
            remedy = "use files of one export"
            raise InputError(sentence("encoder and decoder", "come from the same weights", both, remedy))
        open_file = open_file or functools.partial(open_session, provider=provider)
        if parts.keys() >= set(_ROLES):
            return cls._open([parts[role][0] for role in _ROLES], open_file, threads, pin_threads)
        path, model = parts[contract.ENCODER.role]
        session = open_file(path, threads=threads)
        decoder = open_file(sam_decoder.cut(parts["decoder"][1]).SerializeToString(), threads=threads)
        encoder = ImageEncoder(session, VARIANTS["vit_t"].image_size)
        pin_caller = pin_threads and one_thread_per_core(threads)
        source = metadata.of(model).get("weights_sha256")
        weights_id = _weights_id(model, path)
        return cls(encoder, SamDecoder(decoder), weights_id, pin_caller=pin_caller, source_weights_id=source)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: StrPath,
        provider: str = providers.AUTO,
        threads: int | None = None,
        *,
        pin_threads: bool = False,
        open_file: Opener | None = None,
        read: Callable[[Path], Checkpoint] = checkpoints.read,
    ) -> OnnxSam:
        """Open a checkpoint; on first use its weights are bound to the graph templates of the package.

        Args:
            checkpoint: a checkpoint for :func:`mobilesam.weights.checkpoint.read`.
            provider, threads, pin_threads, open_file: see :meth:`from_files`.
            read: returns the content of the checkpoint; called on first use.

        Raises:
            CheckpointError: the file is not a MobileSAM checkpoint.
            InputError: the provider is not available.
        """
        path = expanded(checkpoint)
        if open_file is None and providers.resolve(provider)[0] == providers.PROVIDERS["cpu"]:
            graphs = templates.cpu_files(path, read)
            open_graph = functools.partial(open_session, provider=provider, is_optimized=graphs.are_optimized)
            # Another process may have removed the files. Any other error is raised again below.
            with contextlib.suppress(InputError):
                return cls._open(graphs.files, open_graph, threads, pin_threads)
        open_file = open_file or functools.partial(open_session, provider=provider)
        return cls._open(templates.bound_files(path, read), open_file, threads, pin_threads)

    @classmethod
    def _open(cls, files: Sequence[Path | bytes], open_file: Opener, threads: int | None, pin_threads: bool) -> OnnxSam:
        """Open files in the order of :data:`mobilesam.onnx.contract.GRAPHS`."""
        by_role = dict(zip(_ROLES, files, strict=True))
        return cls.from_roles(lambda role, threads: open_file(by_role[role], threads=threads), threads, pin_threads)

    @classmethod
    def from_roles(
        cls,
        open_role: Callable[[str, int | None], Any],
        threads: int | None = None,
        pin_threads: bool = False,
        roles: Container[str] = _ROLES,
    ) -> OnnxSam:
        """Open graphs of any runtime whose sessions have our metadata.

        Args:
            open_role: opens the graph of a role with a number of threads, and returns a session.
            threads, pin_threads: see :meth:`from_files`.
            roles: those that can be opened: an encoder, and the split decoder or else SAM's.
        """
        encoder = open_role(contract.ENCODER.role, threads)
        about = metadata.read(encoder)
        weights_id = source_weights_id = about["weights_sha256"]
        if about["precision"] != FLOAT32:
            weights_id = hashlib.sha256(f"{weights_id} {about['precision']}".encode()).hexdigest()
        image_encoder = ImageEncoder(encoder, VARIANTS["vit_t"].image_size)
        pin_caller = pin_threads and one_thread_per_core(threads)
        if not all(role in roles for role in _ROLES):
            one_prompt = SamDecoder(open_role("decoder", threads))
            return cls(
                image_encoder, one_prompt, weights_id, pin_caller=pin_caller, source_weights_id=source_weights_id
            )
        decoder = SplitDecoder(*(open_role(role, threads) for role in _ROLES[1:]))

        def open_worker() -> SplitDecoder:
            return decoder.worker(*(open_role(role, 1) for role in _ROLES[2:]))

        # Many prompts are decoded fastest by threads that decode one prompt each.
        workers = (threads or usable_cores()) if encoder.get_providers()[0].startswith("CPU") else 1
        return cls(image_encoder, decoder, weights_id, open_worker, workers, pin_caller, source_weights_id)

    @property
    def capabilities(self) -> Capabilities:
        provider = self._encoder.session.get_providers()[0]
        return Capabilities(
            masks_per_prompt=self._decoder.masks_per_prompt,
            prompt_batch=self._decoder.prompt_batch,
            encode_batch=_CUDA_IMAGES if provider == providers.PROVIDERS["cuda"] else 1,
            workers=self._workers,
            mask_input=self._decoder.takes_masks,
            device=provider,
        )

    @property
    def weights_id(self) -> str:
        return self._weights_id

    @property
    def source_weights_id(self) -> str:
        return self._source_weights_id

    @cached_property
    def worker(self) -> OnnxSam:
        if not self._open_worker:
            return self
        source = self._source_weights_id
        worker = OnnxSam(self._encoder, self._open_worker(), self._weights_id, source_weights_id=source)
        worker.choosers = self.choosers
        return worker

    def encode(self, image: UInt8Array, *, fast_padding: bool = False) -> Embedding:
        return self.encode_batch([image], fast_padding=fast_padding)[0]

    def encode_batch(self, images: Sequence[UInt8Array], *, fast_padding: bool = False) -> list[Embedding]:
        self._move_caller()
        most = self.capabilities.encode_batch
        return encode_groups(images, most, lambda group: self._encoder.encode(group, fast_padding, most))

    def score_prompts(self, embedding: Embedding, prompts: Prompts) -> Scored:
        return self._decoder.score(embedding, prompts)

    def upscale(self, scored: Scored, keep: IntArray, input_hw: tuple[int, int] | None = None) -> FloatArray:
        return self._decoder.upscale(scored, keep, input_hw)

    def decode(self, embedding: Embedding, prompts: Prompts, mask_indices: Sequence[int]) -> Decoded:
        available = [index for index in mask_indices if index < self.capabilities.masks_per_prompt]
        if not available:
            available = [*SINGLE_MASK]
            message = (
                "this ONNX decoder returns one mask per prompt, not three; mobilesam export writes one for all masks"
            )
            warnings.warn(message, SingleMaskWarning, stacklevel=3)
        self._move_caller()
        return super().decode(embedding, prompts, available)

    def _move_caller(self) -> None:
        if self._pin_caller:
            move_to_first_core()

    def load_features(self, features: Any) -> FloatArray:
        if hasattr(features, "detach"):  # a tensor
            features = features.detach().cpu()
        return np.ascontiguousarray(features, dtype=np.float32)

    def dump_features(self, features: Any) -> FloatArray:
        return np.asarray(features, dtype=np.float32)


def _weights_id(encoder: onnx.ModelProto, path: Path) -> str:
    """Return the digest of the weights in the metadata, or the digest of the file if another exporter wrote it."""
    about = metadata.of(encoder)
    if about.get("precision") == FLOAT32:
        return about["weights_sha256"]
    return saved.file_digest(path)
