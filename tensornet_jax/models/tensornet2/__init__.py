"""TensorNet2: TensorNet with charges of the atoms that it predicts."""
