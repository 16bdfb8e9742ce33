"""The operating system: files, locks, cores, memory, standard error."""
