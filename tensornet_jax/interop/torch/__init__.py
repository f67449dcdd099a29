"""Files of torch and their state dicts, without torch."""
