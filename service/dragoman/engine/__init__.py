"""The engine: ONNX Runtime sessions, and the caches and batches that they work on."""
