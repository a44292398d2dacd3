"""``python -m scripts.measure_rounds``: a front to the command ``coldstart measure_rounds``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("measure_rounds", prog="python -m scripts.measure_rounds"))
