"""One device computes as without any of this; devices that are not there are refused.

What several devices compute is tested in `tests/train/devices`, in processes that have several.
"""

from typing import Any

import jax
import numpy as np
import pytest

from tensornet_jax.runtime.devices import ONE_DEVICE, Devices, DevicesError


def test_one_device_is_plain_jit():
    def function(x, y):
        return ONE_DEVICE.total(x * y)

    compiled: Any = ONE_DEVICE.compiled(function, (False, True))
    arguments = np.arange(3.0), np.ones(3)
    assert compiled.lower(*arguments).as_text() == jax.jit(function).lower(*arguments).as_text()
    tree = {"x": np.ones(2)}
    assert ONE_DEVICE.everywhere(tree) is tree
    assert ONE_DEVICE.shards([tree]) is tree
    assert ONE_DEVICE.separate(tree) == [tree]


def test_all_is_what_is_there():
    devices = Devices.of("all")
    assert devices.count == len(jax.devices())
    assert devices.own == tuple(range(devices.count))
    assert Devices.of(1) == ONE_DEVICE


def test_more_devices_than_there_are_is_an_error():
    with pytest.raises(DevicesError, match=r"999 devices are asked for, and there are \d+.*fewer"):
        Devices.of(999)
