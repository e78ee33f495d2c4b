"""`python -m onward` is `onward`."""

import sys

from onward.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
