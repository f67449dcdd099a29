"""What the package needs of the machine and the process: files, locks, caches, precision."""
