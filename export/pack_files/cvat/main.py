"""A function of CVAT that returns the embedding of an image; CVAT's client decodes the prompts."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

SIDE = 1024  # of the longer side of the encoder's input


def init_context(context):
    """Open the encoder, once for each worker."""
    path = Path(__file__).with_name("encoder.onnx")
    context.user_data.encoder = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def handler(context, event):
    """Return the embedding, (1, 256, 64, 64) float32, as base64."""
    image = Image.open(io.BytesIO(base64.b64decode(event.body["image"]))).convert("RGB")
    scale = SIDE / max(image.size)
    resized = image.resize([int(side * scale + 0.5) for side in image.size], Image.Resampling.BILINEAR)
    (embedding,) = context.user_data.encoder.run(None, {"input_image": np.asarray(resized)})
    body = json.dumps({"blob": base64.b64encode(embedding.tobytes()).decode()})
    return context.Response(body=body, headers={}, content_type="application/json", status_code=200)
