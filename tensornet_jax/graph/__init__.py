"""From a structure to the padded graph a jitted model sees."""
