"""Shared by all tests."""

import os
import signal

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: spinning threads starve each other
if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # as shells start jobs in the background: tests interrupt what they start
    signal.signal(signal.SIGINT, signal.default_int_handler)
