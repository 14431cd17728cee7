"""Markup: documents cut into text with inline tags, and the tags carried to the translation."""
