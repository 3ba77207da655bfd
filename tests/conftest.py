"""Shared by all tests."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")  # before torch is imported: tests run beside each other
