"""The edge: protobuf to plain types and back, errors to codes, nothing else."""
