"""The browser demo: one page over Gradio, and the same functions as endpoints for ``gradio_client``.

Only :mod:`mobilesam.webui.page`, :mod:`mobilesam.webui.endpoints` and :mod:`mobilesam.webui.serve` know Gradio; what
happens to a visitor's clicks is in :mod:`mobilesam.webui.session` and :mod:`mobilesam.webui.service`.
"""

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when Gradio is imported
