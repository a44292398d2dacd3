"""``python -m scripts.pretrain``: a front to the command ``coldstart pretrain``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("pretrain", prog="python -m scripts.pretrain"))
