"""The browser page, built with Gradio, and the same functions as endpoints for ``gradio_client``.

Only :mod:`mobilesam.webui.page`, :mod:`mobilesam.webui.endpoints` and :mod:`mobilesam.webui.serve` import Gradio; the
work is done in :mod:`mobilesam.webui.session` and :mod:`mobilesam.webui.service`.

Importing this package sets the environment variable ``GRADIO_ANALYTICS_ENABLED`` to False for the whole process unless
it is set, so that Gradio sends no analytics.
"""

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when Gradio is imported
