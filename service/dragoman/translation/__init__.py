"""The path of a text: sentences in, translated text with its words, links and flags out."""
