"""Signals of a dataset's life: apps above keep things that name it by its slug."""

from django.dispatch import Signal

# Receivers return [(number, "saved search", "saved searches"), …] of what names `slug`.
counting_dependents = Signal()
# A dataset has the slug `new` instead of `old`, within a transaction.
slug_changed = Signal()
# A `dataset` is about to be dropped: its tables are there, for the last time.
purging = Signal()
# The tables of a deleted `dataset` are dropped; its row goes in this transaction.
purged = Signal()
