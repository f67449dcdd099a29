"""Who labels structures: an ASE calculator, a command, or a person with a cluster."""
