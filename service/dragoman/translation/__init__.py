"""Translation of texts: sentences in, translated text with its words, links and quality flags out."""
