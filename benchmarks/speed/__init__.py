"""How fast things are, measured beside what others do."""
