"""Export to ONNX, verification and quantization; installed as ``mobilesam.export``."""
