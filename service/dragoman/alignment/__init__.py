"""Which words of a translation stand for which words of its source: links and their drawings."""
