"""Records to section table to animal table: every choice that needs no pixel."""
