"""Run stages as one of several processes: ``torchrun ... -m tests.commands.ranks REQUESTS OUT [DYING_STEP]``.

REQUESTS is a JSON file with a list of pairs, a stage and its overrides. OUT gets ``rank_N.json``: for every training
the SHA-256 of its weights and of its queue as process N has them at the end. With DYING_STEP the last process is killed
after that step of the pretraining, unless torchrun has started it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow

from bundle.run import ranks
from bundle.run.stages import CONFIGS, bundle_root


def digest(*tensors: torch.Tensor) -> str:
    return hashlib.sha256(b"".join(t.detach().contiguous().numpy().tobytes() for t in tensors)).hexdigest()


def die_after(step: int, engine: Engine) -> None:
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=step), lambda: os.kill(os.getpid(), signal.SIGKILL))


def main(requests: Path, out: Path, dying_step: int | None) -> None:
    configs = bundle_root() / "configs"
    seen = []
    for stage, overrides in json.loads(requests.read_text()):
        files = [str(configs / name) for name in (*CONFIGS[stage], "multi_gpu_train.yaml")]
        workflow = ConfigWorkflow(files, str(configs / "metadata.json"), logging_file=False, **overrides)
        workflow.initialize()
        last = ranks.rank() == ranks.world_size() - 1
        if stage == "pretrain" and dying_step and last and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            die_after(dying_step, workflow.parser.get_parsed_content("train#trainer"))
        workflow.run()
        if stage in ("pretrain", "train"):
            found = {"network": digest(*workflow.parser.get_parsed_content("network").state_dict().values())}
            if stage == "pretrain":
                contrast = workflow.parser.get_parsed_content("train#step").contrast
                found["queue"] = digest(contrast.queue, contrast.queue_ids)
                assert (contrast.queue_ids >= 0).all()
            seen.append(found)
    (out / f"rank_{ranks.rank()}.json").write_text(json.dumps(seen))
    workflow.finalize()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
