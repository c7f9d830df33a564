"""The whole run: read and encode the images, train, measure, and write the checkpoint and what belongs to it."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mobilesam.batch.sources import find_images
from mobilesam.errors import InputError, sentence
from mobilesam.evaluate import Dataset, Evaluation, evaluate, load_annotations
from mobilesam.evaluate.runner import Settings as Measured
from mobilesam.files import expanded, refuse_existing
from mobilesam.finetune import loop, trainable
from mobilesam.finetune.choosers import refit
from mobilesam.finetune.distillation import KeptImage, Teacher
from mobilesam.finetune.embeddings import Encode, FeatureFolder, StoredModel
from mobilesam.finetune.images import Prepared, prepare, prepare_kept
from mobilesam.finetune.report import write_report
from mobilesam.finetune.settings import Settings
from mobilesam.finetune.snapshot import Snapshots
from mobilesam.finetune.training import Trainer
from mobilesam.loading import StrPath, find_export, find_model, load
from mobilesam.masks import choosers
from mobilesam.modeling import Sam
from mobilesam.modeling.build import from_checkpoint
from mobilesam.runtimes.torch import resolve_device
from mobilesam.samples import PHOTOS, write_samples
from mobilesam.versions import installed_version
from mobilesam.weights import checkpoint

Progress = Callable[[str, int, int], object]  # stage, done, total

_ENCODER = "image_encoder."
_REPORTED = Measured(prompts=("box", "point", "clicks"))


@dataclass(frozen=True)
class Finetuned:
    """The result of :func:`finetune`.

    path: the checkpoint. folder: of the report and the embeddings.
    before, after: the evaluations of both networks on the held-back images, or None without any.
    skipped: what was left out, as sentences. stopped: why the run ended before its last step, or "".
    """

    path: Path
    folder: Path
    before: Evaluation | None
    after: Evaluation | None
    skipped: tuple[str, ...]
    stopped: str


def finetune(
    images: StrPath,
    annotations: StrPath,
    out: StrPath,
    *,
    model: StrPath | None = None,
    keep: StrPath | None = None,
    distill: bool = True,
    embeddings: StrPath | None = None,
    device: str = "auto",
    threads: int | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> Finetuned:
    """Train the mask decoder on your own annotated images, and write a checkpoint that is used like any other.

    The image encoder is not trained, so each image is encoded once. Beside ``NAME.pt``, ``NAME.choosers.npz`` gets the
    choosers of the new weights, and the folder ``NAME.finetune`` a report and the embeddings.

    Args:
        images: folder of the images.
        annotations: masks of objects in the images, as :func:`mobilesam.evaluate.load_annotations` reads them.
        out: the checkpoint to write, .pt, .pth or .safetensors.
        model: the checkpoint to start from, or the name of published weights; by default the default weights.
        keep: folder of images without annotation on which the masks are to stay as they are; by default the package's
            samples.
        distill: whether to train against forgetting, on the images of ``keep``.
        embeddings: folder of the embeddings, 2.1 MB for each image; by default in ``NAME.finetune``.
        device: see :func:`mobilesam.load`.
        threads: number of threads on the CPU; by default that of PyTorch.
        resume: continue a run that was stopped. With the same images and settings it writes the same file.
        force: overwrite files that exist, and forget a stopped run.
        progress: called with a stage, and how much of it is done, of how much.
        settings: those of :class:`mobilesam.finetune.Settings`.

    Raises:
        InputError: an argument cannot be used, there are too few objects, or a file cannot be written.
        CheckpointError: ``model`` is not a checkpoint of MobileSAM or SAM.
    """
    chosen = _settings(settings)
    target = expanded(out)
    checkpoint.check_suffix(target)
    refuse_existing(target, force=force)
    if find_export(model):
        remedy = "name the checkpoint that it was exported from"
        raise InputError(sentence("model", "be a checkpoint", f"the ONNX export {model}", remedy))
    dataset = load_annotations(expanded(annotations), expanded(images))
    if keep is not None and not expanded(keep).is_dir():
        raise InputError(sentence("keep", "be a folder of images", str(keep), "leave it out for the package's samples"))
    original = checkpoint.read(find_model(model))
    if threads is not None:
        torch.set_num_threads(threads)
    return _Run(target, dataset, original, chosen, resolve_device(device), model, progress).run(
        expanded(keep) if keep is not None else None,
        expanded(embeddings) if embeddings is not None else None,
        distill=distill,
        resume=resume,
        force=force,
    )


class _Run:
    def __init__(
        self,
        out: Path,
        dataset: Dataset,
        original: checkpoint.Checkpoint,
        settings: Settings,
        device: torch.device,
        model: StrPath | None,
        progress: Progress | None,
    ) -> None:
        self.out, self.dataset, self.original, self.settings = out, dataset, original, settings
        self.device, self.model, self.progress = device, model, progress
        self.folder = out.with_suffix(".finetune")
        self.seconds: dict[str, float] = {}

    def run(self, keep: Path | None, embeddings: Path | None, *, distill: bool, resume: bool, force: bool) -> Finetuned:
        settings = self.settings
        snapshots = Snapshots(self.folder / "state.pt", self._about(keep, distill))
        if snapshots.exists() and not resume and not force:
            remedy = "continue it with --resume, or start again with --force"
            raise InputError(sentence("output folder", "have no stopped run", self.folder, remedy))
        sam = from_checkpoint(self.original).to(self.device)
        features = self._features(embeddings or self.folder / "embeddings")
        size = sam.config.image_size
        started = time.monotonic()
        prepared = prepare(
            self.dataset,
            features,
            size,
            views=settings.views,
            held_back=settings.held_back,
            seed=settings.seed,
            progress=self._stage("encoding"),
        )
        kept, skipped = self._kept(keep, features, size) if distill else ([], [])
        features.release()
        started = self._time("encoding", started)
        teacher = Teacher(sam, kept, neck=settings.neck) if kept else None
        steps = settings.steps_for(prepared.objects)
        trainer = Trainer(copy.deepcopy(sam), prepared.training, settings, steps)
        course = loop.run(trainer, teacher, prepared.held_back, steps, snapshots, resume=resume, progress=self.progress)
        if prepared.held_back and not course.best_step:
            warnings.warn(
                "no measurement on the held-back images was better than before, so the weights are the original ones",
                stacklevel=3,
            )
        started = self._time("training", started)
        tuned = trainable.merged(trainer.sam)
        state = {key: value.float().cpu().numpy() for key, value in tuned.state_dict().items()}
        weights_id = checkpoint.state_digest(state)
        stored = StoredModel(tuned, features, neck=settings.neck)
        own_choosers, facts = refit(
            stored,
            prepared.training,
            prepared.held_back,
            weights_id=weights_id,
            seed=settings.seed,
            neck=settings.neck,
        )
        started = self._time("choosers", started)
        checkpoint.write(self.out, state, force=True)
        beside = choosers.file_of(self.out)
        if own_choosers is None:
            beside.unlink(missing_ok=True)
        else:
            choosers.write(beside, own_choosers, force=True)
        before, after = self._evaluations(sam, stored, features, prepared)
        self._time("evaluation", started)
        problems = [*prepared.skipped, *skipped]
        about = {
            "images": {
                "training": prepared.images,
                "held_back": len(prepared.held_back),
                "kept": sum(each.view == 0 for each in kept),
            },
            "objects": {"training": prepared.objects, "held_back": prepared.held_back_objects},
            "steps": {"planned": steps, "done": trainer.step, "chosen": course.best_step},
            "stopped": course.stopped,
            "settings": asdict(settings),
            "seconds": {stage: round(value, 1) for stage, value in self.seconds.items()},
            "weights": {"before": self.original.weights_id, "after": weights_id},
            "threads": torch.get_num_threads(),
            "versions": {name: installed_version(name) for name in ("mobilesam", "torch", "numpy")},
            "choosers": facts,
            "skipped": problems,
        }
        write_report(self.folder, about, course.history, before, after, self._held_back(prepared), force=True)
        snapshots.remove()
        return Finetuned(self.out, self.folder, before, after, tuple(problems), course.stopped)

    def _about(self, keep: Path | None, distill: bool) -> dict[str, str]:
        """Return what must be equal to continue a run."""
        settings = {name: value for name, value in asdict(self.settings).items() if name != "time_budget"}
        names = [each.file_name for each in self.dataset.images]
        return {
            "the weights": self.original.weights_id[:16],
            "the annotations": self.dataset.digest[:16],
            "the images": hashlib.sha256(repr(names).encode()).hexdigest()[:16],
            "the settings": json.dumps(settings),
            "the kept images": str(keep or "the samples") if distill else "none",
            "the threads": f"{torch.get_num_threads()} on {self.device}",
            "the version of PyTorch": str(torch.__version__),
        }

    def _features(self, folder: Path) -> FeatureFolder:
        state = {key: value for key, value in self.original.state.items() if key.startswith(_ENCODER)}
        encoder_id = checkpoint.state_digest(state)
        if not self.settings.neck:
            return FeatureFolder(folder, encoder_id, self._encoder)
        return FeatureFolder(
            folder,
            f"neck-{encoder_id}",
            lambda: functools.partial(trainable.neck_input, from_checkpoint(self.original).to(self.device)),
        )

    def _encoder(self) -> Encode:
        model = load(self.model, device=str(self.device))
        return lambda image: model.dump_features(model.encode(image).features)

    def _kept(self, keep: Path | None, features: FeatureFolder, size: int) -> tuple[list[KeptImage], list[str]]:
        with tempfile.TemporaryDirectory() as folder:
            if keep is None:
                write_samples(Path(folder))
                paths = [Path(folder) / name for name in PHOTOS]
            else:
                paths = [Path(source.path) for source in find_images([str(keep)], self.folder)]
            return prepare_kept(paths, features, size, self._stage("encoding images to keep"))

    def _evaluations(
        self, sam: Sam, stored: StoredModel, features: FeatureFolder, prepared: Prepared
    ) -> tuple[Evaluation | None, Evaluation | None]:
        if not prepared.held_back:
            return None, None
        dataset, total = self._held_back(prepared), 2 * len(prepared.held_back)
        results = []
        for number, model in enumerate((StoredModel(sam, features, neck=self.settings.neck), stored)):
            note = self._stage("measuring", number * len(prepared.held_back), total)
            results.append(evaluate(model, dataset, _REPORTED, progress=note))
        return results[0], results[1]

    def _held_back(self, prepared: Prepared) -> Dataset:
        names = {image.name for image in prepared.held_back}
        return replace(self.dataset, images=tuple(each for each in self.dataset.images if each.file_name in names))

    def _stage(self, name: str, before: int = 0, total: int | None = None) -> Callable[[int, int, str], object] | None:
        """Return a callback that reports a part of a stage, which comes after ``before`` of ``total``."""
        progress = self.progress
        return None if progress is None else lambda done, all_, _: progress(name, before + done, total or all_)

    def _time(self, stage: str, started: float) -> float:
        now = time.monotonic()
        self.seconds[stage] = now - started
        return now


def _settings(given: dict[str, Any]) -> Settings:
    try:
        return Settings(**given)
    except TypeError as error:
        known = ", ".join(Settings.__dataclass_fields__)
        unknown = sorted(set(given) - set(Settings.__dataclass_fields__))
        raise InputError(sentence("settings", f"be among {known}", ", ".join(unknown), "leave it out")) from error
