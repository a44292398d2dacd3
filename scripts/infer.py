"""``python -m scripts.infer``: a front to the command ``coldstart infer``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("infer", prog="python -m scripts.infer"))
