"""Text in and out of the model: sentences, words, normalisation, pieces. Shared with training."""
