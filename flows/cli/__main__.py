"""`python -m flows.cli` is `trrg`."""

from flows.cli import main

if __name__ == "__main__":
    main()
