"""From plain weights to a bundle: ONNX graphs, calibration, int8. Needs the extra `convert`, and no torch."""
