"""Files that a person attaches, read in a process that can be killed."""
