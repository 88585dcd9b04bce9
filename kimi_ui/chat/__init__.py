"""User actions without HTTP: prompts, settings, spending, estimates, uploads."""
