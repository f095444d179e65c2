"""`python -m jaxseg` is the command `jaxseg`."""

from jaxseg.cli.main import main

if __name__ == "__main__":
    main()
