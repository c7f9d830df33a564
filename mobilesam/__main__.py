"""``python -m mobilesam``: the command line."""

from mobilesam.cli import main

main()
