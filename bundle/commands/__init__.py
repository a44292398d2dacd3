"""What a person types: ``coldstart VERB``. A verb is a module of its name; none imports anything heavy before it runs.

A verb's module has ``DESCRIPTION`` (with real examples), ``add_arguments(parser)`` and ``run(args) -> int``.
The files of ``scripts/`` are fronts to the same modules.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence

VERBS = {
    "inspect_images": "what a folder of images holds, and what of it cannot be used",
    "make_datalist": "list a folder's images with ids, patients and splits",
    "pretrain": "self-supervised pretraining on the unlabelled pool",
    "embed": "images to vectors, with the pretrained encoder",
    "select_samples": "rank what to annotate first",
    "train": "fine-tune the U-Net on the labels there are",
    "evaluate": "score the model on held-out images",
    "infer": "predict masks for a folder of images",
    "score_uncertainty": "how uncertain a model is of every image",
    "run_rounds": "rounds after the cold start: ask the expert where the model is unsure, train, and again",
    "fit_domain": "teach a model what the images of a place look like, so that it tells others apart",
    "report": "one self-contained HTML page of a whole run",
    "package_bundle": "write a self-contained bundle of one modality",
    "make_demo": "draw a demo data set with true masks",
    "wrap_radiographs": "grey pictures as CR DICOM objects, to try the DICOM path",
    "measure_main_job": "the figures of docs/results.md, made again from public data",
    "measure_rounds": "rounds against random rounds and against one selection of the same sum",
    "measure_trust": "how well confidence ranks errors, and how well images of another kind are told",
    "benchmark_selection": "how fast selection is, and how its cost grows with the pool",
    "benchmark_labels": "how many labels selection and pretraining save, with many seeds and budgets",
    "drill_kills": "kill every stage at random moments, to see that nothing is lost on this machine",
    "benchmark_speed": "how fast each stage is beside the plain way, and how its cost grows",
    "quickstart": "the whole main job on the demo data or a folder of your own",
}


def run_verb(verb: str, argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Parse ``argv`` for ``verb`` and run it; a user's mistake ends as one line on stderr and exit code 2."""
    return _printing(lambda: _run_verb(verb, argv, prog))


def _run_verb(verb: str, argv: Sequence[str] | None, prog: str | None) -> int:
    module = importlib.import_module(f"bundle.commands.{verb}")
    parser = argparse.ArgumentParser(
        prog=prog or f"coldstart {verb}",
        description=module.DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        return int(module.run(args))
    except BrokenPipeError:
        raise  # no mistake of the request
    except (ValueError, OSError, ArithmeticError) as error:
        print(f"{verb}: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, MemoryError) as error:
        from bundle.run.advice import advice

        told = advice(error)
        if told is None:  # a fault of ours: its traceback is what serves
            raise
        print(f"{verb}: {told}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{verb}: interrupted; what was finished is kept, the same command goes on from there", file=sys.stderr)
        return 130


def _printing(work: Callable[[], int]) -> int:
    """The code of ``work``, or that of SIGPIPE where who reads the output has gone, as in ``coldstart ... | head``."""
    try:
        try:
            return work()
        finally:
            sys.stdout.flush()  # at the interpreter's end it would be too late to catch anything
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of the ``coldstart`` command."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        return _printing(_list_verbs)
    verb = argv[0].replace("-", "_")
    if verb not in VERBS:
        print(f"coldstart: unknown verb {argv[0]!r}; known are {', '.join(VERBS)}", file=sys.stderr)
        return 2
    return run_verb(verb, argv[1:])


def _list_verbs() -> int:
    width = max(map(len, VERBS))
    print("usage: coldstart VERB [options]\n")
    print("\n".join(f"  {verb:<{width}}  {about}" for verb, about in VERBS.items()))
    print("\n`coldstart VERB --help` shows a verb's options with examples.")
    return 0
