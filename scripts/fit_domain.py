"""``python -m scripts.fit_domain``: a front to the command ``coldstart fit_domain``."""

from bundle.commands import run_verb

if __name__ == "__main__":
    raise SystemExit(run_verb("fit_domain", prog="python -m scripts.fit_domain"))
