"""Names of choices that configurations, models and the code that runs them share."""

from typing import Literal

DType = Literal["float32", "float64"]
"""Precision of a potential."""

MatmulPrecision = Literal["highest", "tensorfloat32", "bfloat16"]
"""To how many bits accelerators round the factors of float32 matrix products: 23, 10 or 7."""
