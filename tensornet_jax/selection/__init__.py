"""Which structures are worth a label: where a potential is the least sure, or has seen nothing.

`choosing.select` leaves out what repeats or cannot be, and chooses among the rest by one of the
criteria of `criteria`.
"""
