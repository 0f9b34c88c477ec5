"""python -m qwenvl: the command line."""

from qwenvl.cli import main

main()
