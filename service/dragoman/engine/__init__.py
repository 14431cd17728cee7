"""Token ids in, token ids out: onnxruntime sessions and the arrays they work on."""
