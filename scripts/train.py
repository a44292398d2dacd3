"""``python -m scripts.train``: a front to the command ``coldstart train``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("train", prog="python -m scripts.train"))
