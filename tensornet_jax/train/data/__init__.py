"""From the files of a configuration to batches."""
