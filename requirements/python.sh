#!/bin/sh
# python.sh [COMMAND]: print a Python 3.11 to 3.14 to make the virtual environment with, or say that there is none.
set -eu
supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'
for each in ${1:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if "$each" -c "$supported" 2>/dev/null; then
        echo "$each"
        exit 0
    fi
done
echo "Python 3.11, 3.12, 3.13 or 3.14 is needed, and none was found as ${1:-python3, python3.14, python3.13, python3.12 or python3.11}." >&2
echo "Install one, or name it: make PYTHON=/path/to/python3.12" >&2
exit 1
