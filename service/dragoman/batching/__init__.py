"""In-flight batching: which sentences share the next decoder step, in what order, and with what result."""
