"""Waits until the plugin's sources are there: the build may have begun before them (ahead.sh).

It is imported before all else, so that a module of the plugin's is found in place of one of the standard
library as in any other build.
"""

import importlib
import os
import time

while not os.path.exists("/3/go"):
    time.sleep(0.02)
importlib.invalidate_caches()
