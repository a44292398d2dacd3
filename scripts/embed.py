"""``python -m scripts.embed``: a front to the command ``coldstart embed``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("embed", prog="python -m scripts.embed"))
