"""What reading notes in `Atoms.info` for messages; it has no place in files written for others."""

BOOKKEEPING = (
    *("source", "label_keys", "ignored_labels", "unused_keys", "remarks"),
    "tensor_labels",
)
