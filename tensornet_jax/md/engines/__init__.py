"""What makes the steps: a compiled loop on the device, or ASE's dynamics on the host."""
