"""Training, fine-tuning and distillation, and their checkpoints."""
