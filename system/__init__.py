"""What nybble asks of the operating system: files, locks, cores, memory, standard error."""
