"""What reading notes in the `info` of Atoms that it hands out; files have no place for it."""

BOOKKEEPING = (
    *("source", "label_keys", "ignored_labels", "unused_keys", "remarks"),
    "tensor_labels",
)
