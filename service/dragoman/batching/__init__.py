"""Which sentences share the next decoder step."""
