"""Training data: fetched, packed, derived, selected, drawn in batches."""
