"""What many seeds of one test come to: how far each metric spreads, and which seeds are worst."""
