"""The old path of names in :mod:`mobilesam.prompts.file` and :mod:`mobilesam.prompts.object_prompt`."""

from mobilesam._moved import moved

__getattr__ = moved(
    __name__,
    {
        "ObjectPrompt": "mobilesam.prompts.object_prompt.ObjectPrompt",
        "PromptFile": "mobilesam.prompts.file.PromptFile",
        "read_prompts": "mobilesam.prompts.file.read_prompts",
    },
)
