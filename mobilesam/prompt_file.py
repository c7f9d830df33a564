"""The old path of names in :mod:`mobilesam.prompts.file`."""

from mobilesam._moved import moved

_NAMES = ("ObjectPrompt", "PromptFile", "read_prompts")
__getattr__ = moved(__name__, {name: f"mobilesam.prompts.file.{name}" for name in _NAMES})
