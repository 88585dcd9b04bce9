"""The benchmark: a suite of cases, graders, a sandbox for code that models write, and statistics. See README.md."""
