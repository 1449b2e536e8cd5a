"""Servers that are killed while they write, and what is left of what they acknowledged."""
