"""The log in a PostgreSQL database, for several processes on several machines. Needs psycopg (the extra ``team``)."""
