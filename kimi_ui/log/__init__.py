"""The log: an SQLite database, written by one thread. It is the only record of past turns."""
