"""What is run inside the box or starts it: files that import nothing of this package, so each can be run alone."""
