"""Reading and writing what other packages use."""
