"""The job of a batch: its images, its settings and the folder of its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mobilesam.batch.segmentation import Everything, ModelChoice, Prompted
from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.formats.output import FORMATS
from mobilesam.prompts.file import PromptFile
from mobilesam.storage import Place, place

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class SegmentationJob:
    """Images to segment, and a folder for the results.

    inputs: images, folders, globs and lists, see :func:`mobilesam.batch.sources.find_images`, as paths or URLs; and
        archives, see :mod:`mobilesam.batch.archives`.
    out: folder of the results, a path or a URL; created if it does not exist.
    prompts: the objects of the images. Images that it does not name are left out. None for everything mode.
    settings: Everything without prompts, Prompted with prompts; by default an instance with default values.
    formats: names in :data:`mobilesam.formats.output.FORMATS`.
    workers: number of processes, each with a model; 1 uses this process. With more, the main script needs the usual
        ``if __name__ == "__main__":``.
    engine: "local", or "ray" for as many actors of Ray Data (extra ``ray``).
    ray_address: address of a Ray cluster; by default Ray runs on this machine.
    resume: continue a stopped run, and try its bad images again.
    force: start again, and overwrite the files of an earlier run.
    strict: stop at the first bad image.
    embeddings: folder of embeddings that ``embed_images`` wrote, a path or a URL; other images are encoded.

    Raises:
        InputError: a value is not one of the above.
    """

    inputs: Sequence[str]
    out: Place
    prompts: PromptFile | None = None
    settings: Everything | Prompted | None = None
    formats: Sequence[str] = ("coco",)
    model: ModelChoice = field(default_factory=ModelChoice)
    workers: int = 1
    engine: str = "local"
    ray_address: str | None = None
    resume: bool = False
    force: bool = False
    strict: bool = False
    embeddings: Place | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", place(self.out))
        if self.settings is None:
            object.__setattr__(self, "settings", Everything() if self.prompts is None else Prompted())
        settings = self.settings
        if isinstance(settings, Everything) != (self.prompts is None):
            actual = f"{type(settings).__name__} {'without' if self.prompts is None else 'with'} prompts"
            remedy = "use Everything without prompts, Prompted with them"
            raise InputError(sentence("settings", "fit the prompts", actual, remedy))
        for name in self.formats or [""]:
            if name not in FORMATS:
                raise InputError(unknown_name("formats", name, FORMATS))
        if self.workers < 1:
            raise InputError(sentence("workers", "be at least 1", self.workers, "omit it to use one"))
        if self.engine not in ENGINES:
            raise InputError(unknown_name("engine", self.engine, ENGINES))
