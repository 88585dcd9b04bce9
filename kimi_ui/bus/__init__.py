"""Several server processes (replicas) over one log: turns in flight and commands on Valkey or Redis: README.md."""
