"""Everything that makes a model: data, training, evaluation, export. Never shipped with the service."""
