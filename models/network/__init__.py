"""The Transformer and how its embeddings begin."""
