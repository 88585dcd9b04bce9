"""The log: SQLite, written by one thread. Everything that happened is here, and nothing else is the truth of it."""
