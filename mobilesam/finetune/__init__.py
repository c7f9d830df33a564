"""Training of the mask decoder on a user's own images; see :func:`mobilesam.finetune.run.finetune`."""

from mobilesam.optional import import_torch

import_torch("mobilesam.finetune")
