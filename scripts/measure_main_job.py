"""``python -m scripts.measure_main_job``: a front to the command ``coldstart measure_main_job``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("measure_main_job", prog="python -m scripts.measure_main_job"))
