"""What the commands exit with."""

ALL_DONE, SOME_FAILED, NOTHING_TO_DO, UNUSABLE, INTERRUPTED = 0, 1, 3, 4, 130  # 2, wrong usage, is click's
