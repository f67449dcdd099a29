"""An equivariant spherical channel network (arXiv:2302.03655)."""
