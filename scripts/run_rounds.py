"""``python -m scripts.run_rounds``: a front to the command ``coldstart run_rounds``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("run_rounds", prog="python -m scripts.run_rounds"))
