"""Turns as shown on the page, in exports and in the terminal. Uses only ``core`` and ``tokenizers``."""
