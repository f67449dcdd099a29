"""What models of spherical features share: settings, geometry of the edges, linear maps."""
