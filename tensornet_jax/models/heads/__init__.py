"""From features of the atoms to the properties a model predicts."""
