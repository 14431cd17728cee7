"""Evaluation of a model: BLEU, alignment error, behaviour, parity, learning curve, model card."""
