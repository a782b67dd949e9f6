"""``python -m augment_gen`` is the command ``augment-gen``."""

from augment_gen.cli import main

if __name__ == "__main__":
    main()
