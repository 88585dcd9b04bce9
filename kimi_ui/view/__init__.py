"""What a page, an export and a terminal show of a turn. Rests on core alone."""
