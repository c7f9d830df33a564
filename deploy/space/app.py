"""The page of mobilesam as a Hugging Face Space."""

import os
import sys

from mobilesam.__main__ import main

# The Space is reached by its own name.
sys.argv = ["mobilesam", "webui", "--host", "0.0.0.0", "--port", "7860"]
sys.argv += ["--allow-host", os.environ.get("SPACE_HOST", "localhost")]
main()
