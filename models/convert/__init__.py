"""Checkpoints written as bundles and as CTranslate2 models."""
