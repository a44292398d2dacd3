"""``python -m scripts.measure_trust``: a front to the command ``coldstart measure_trust``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("measure_trust", prog="python -m scripts.measure_trust"))
