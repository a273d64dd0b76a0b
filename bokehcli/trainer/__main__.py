"""Where `python -m bokehcli.trainer` begins. The imports take seconds; an interrupt meanwhile is no fault.

Processes that make samples may import this module once more, as multiprocessing has it.
"""

import sys

from bokehcli.interrupts import INTERRUPTED


def main() -> int:
    """Run the process's command line and return the exit status."""
    try:
        from bokehcli.trainer import training

        return training.main()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
