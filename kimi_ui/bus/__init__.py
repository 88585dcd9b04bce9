"""Several server processes (replicas) over one log: turns in flight and commands on Valkey or Redis: README.md."""

NO_REDIS = "KIMI_UI_BUS needs the package redis; install it by pip install '.[team]'."
