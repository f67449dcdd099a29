"""The file formats that structures are read from."""
