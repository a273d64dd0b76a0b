"""`python -m bokehcli`, the same as `bokeh`."""

import sys

from bokehcli.cli import main

if __name__ == "__main__":
    sys.exit(main())
