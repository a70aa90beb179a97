"""Start ductor: `python ductor.py`, the same as the `ductor` command."""

import sys

from ductor_lib.main import main

if __name__ == "__main__":
    sys.exit(main())
