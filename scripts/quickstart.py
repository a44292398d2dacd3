"""``python -m scripts.quickstart``: a front to the command ``coldstart quickstart``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("quickstart", prog="python -m scripts.quickstart"))
