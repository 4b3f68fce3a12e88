"""`python -m modelapp`: the command line."""

import sys

from modelapp.cli import main

if __name__ == "__main__":
    sys.exit(main())
