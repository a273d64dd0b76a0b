"""Where the command `bokeh`, and `python -m bokehcli`, begin.

Every process that renders photos imports this module once more, as multiprocessing has it; what the commands need is imported
where they run, so that those processes start a quarter of a second sooner.
"""

import sys

from bokehcli.interrupts import INTERRUPTED


def main() -> int:
    """Run the process's command line and return the exit status; to be interrupted during the imports is no fault."""
    try:
        from bokehcli import cli

        return cli.main()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
