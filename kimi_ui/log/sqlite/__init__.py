"""The log in one SQLite file: everything that knows SQLite. The rest of ``log`` is SQL that PostgreSQL shares."""
