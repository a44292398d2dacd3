"""``python -m scripts.evaluate``: a front to the command ``coldstart evaluate``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("evaluate", prog="python -m scripts.evaluate"))
