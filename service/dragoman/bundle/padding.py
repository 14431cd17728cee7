"""The padding of encoder inputs: the same for everyone who runs the graphs of a bundle, because it decides last bits."""

MULTIPLE = 8  # the encoder's attention in float32 is bit-stable only against padding to a multiple of this


def padded(length: int) -> int:
    """Return the length to which a source is padded.

    >>> [padded(length) for length in (1, 8, 9)]
    [8, 8, 16]
    """
    return -(-length // MULTIPLE) * MULTIPLE


def max_unpadded(num_positions: int) -> int:
    """Return the longest source that fits a number of positions once it is padded.

    >>> max_unpadded(255)
    248
    """
    return num_positions // MULTIPLE * MULTIPLE
