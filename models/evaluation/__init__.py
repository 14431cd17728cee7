"""What a model is worth: BLEU, alignment error, behaviour, parity, learning curve, model card."""
