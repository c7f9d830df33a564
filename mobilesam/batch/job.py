"""A job of a batch: which images, what to do with them, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mobilesam.batch.segmentation import Everything, ModelChoice, Prompted
from mobilesam.errors import InputError, sentence, unknown_name
from mobilesam.formats.output import WORDS
from mobilesam.masks.selection import RULES
from mobilesam.prompts.file import PromptFile

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class SegmentationJob:
    """Images to segment, and a folder for the results.

    inputs: images, folders, globs and lists, see :func:`mobilesam.batch.sources.find_images`.
    out: folder of the results; made if absent.
    prompts: the objects of the images; those that it does not name are left out. None for everything mode.
    settings: Everything without prompts, Prompted with them; by default with its own defaults.
    formats: of :data:`mobilesam.formats.output.WORDS`.
    workers: processes, each with a model; 1 is this process. With more, the module that is run as a script needs the
        usual ``if __name__ == "__main__":``.
    engine: "local", or "ray" for Ray Data with as many actors; the extra ``ray`` brings it.
    ray_address: of a Ray cluster; by default Ray on this machine.
    resume: go on with a stopped run, and try its bad images again.
    force: start again, over the files of an earlier run.
    strict: stop at the first bad image.

    Raises:
        InputError: a value is not one of the above.
    """

    inputs: Sequence[str]
    out: Path
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        if self.settings is None:
            object.__setattr__(self, "settings", Everything() if self.prompts is None else Prompted())
        settings = self.settings
        if isinstance(settings, Everything) != (self.prompts is None):
            actual = f"{type(settings).__name__} {'without' if self.prompts is None else 'with'} prompts"
            remedy = "use Everything without prompts, Prompted with them"
            raise InputError(sentence("settings", "fit the prompts", actual, remedy))
        if isinstance(settings, Prompted) and settings.select is not None and settings.select not in RULES:
            raise InputError(unknown_name("select", settings.select, RULES))
        for word in self.formats or [""]:
            if word not in WORDS:
                raise InputError(unknown_name("formats", word, WORDS))
        if self.workers < 1:
            raise InputError(sentence("workers", "be at least 1", self.workers, "leave it out for one"))
        if self.engine not in ENGINES:
            raise InputError(unknown_name("engine", self.engine, ENGINES))
