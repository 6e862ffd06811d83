"""`python -m flows.cli` is the same as `trrg`."""

from flows.cli import main

if __name__ == "__main__":
    main()
