"""`python -m s2crop`."""

from s2crop.cli import main

if __name__ == "__main__":
    main(prog_name="s2crop")
