#!/bin/bash
# Plugins in Python: componentize-py.
# shellcheck source=deploy/dev/tools.sh
source "$(dirname "$0")/tools.sh"

version=0.25.1
from_pypi componentize-py "$version" ||
    skip "Python plugins need componentize-py $version, which pip cannot install here"
