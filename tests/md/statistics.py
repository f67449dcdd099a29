"""Standard errors from independent replicas."""

import numpy as np


def error_of_mean(values: np.ndarray) -> float:
    """Return the standard error of the mean of independent values."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def drift_in_errors(series: np.ndarray) -> float:
    """Return the mean slope of (T, R) series over its standard error among the replicas."""
    times = np.arange(len(series)) - (len(series) - 1) / 2
    slopes = times @ (series - series.mean(axis=0)) / (times @ times)
    return float(slopes.mean() / error_of_mean(slopes))
