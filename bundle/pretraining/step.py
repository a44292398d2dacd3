"""One step of self-supervision, and the trainer that repeats it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines import Trainer
from torch.nn.functional import mse_loss

from bundle.data.modality import Modality
from bundle.data.sampling import as_unit_range
from bundle.network import PretrainingNetwork
from bundle.numerics import keep_full_precision
from bundle.pretraining.contrast import MOMENTUM, TEMPERATURE, MomentumContrast
from bundle.pretraining.distortions import distort
from bundle.pretraining.local_contrast import content_extent, local_contrast
from bundle.pretraining.views import candidate_policies
from bundle.run import ranks
from bundle.run.collectives import gather, own_rows, total_figures, total_gradients, whole_batch_draws
from bundle.run.seeds import derive_seed

OBJECTIVES = ("contrastive", "restoration", "joint")
# The squared error of an image in [0, 1] starts near .08 and ends near .005, InfoNCE runs from about 7 to 1: this
# brings both to the same order.
RESTORATION_WEIGHT = 20.0
LARGEST_BATCH = 64  # images of a pass that nothing is learned from, or those of a step where these are fewer: memory


class PretrainingStep:
    """What MONAI's ``Trainer`` calls for every batch (``iteration_update``).

    Args:
        network: the network to train, on its device.
        optimizer: over its parameters.
        schedule: learning-rate schedule, advanced every step.
        modality: limits the views and the flips.
        images: number of images in the pool; bounds the queue.
        objective: ``contrastive``, ``restoration`` or ``joint``.
        precision: ``bf16`` or ``fp32``.
        seed: seed of the run.
        queue_length: keys in the queue; shortened to what the pool allows.
        momentum: of the key network.
        temperature: of InfoNCE.
        local_weight: of the contrast of places beside that of images; 0 for CA's own objective.
        policy: name of the views' policy, or ``hardest`` to choose by eq. 7 after the warm-up.
    """

    def __init__(
        self,
        network: PretrainingNetwork,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        *,
        modality: Modality,
        images: int,
        objective: str = "contrastive",
        precision: str = "fp32",
        seed: int = 0,
        queue_length: int = 4096,  # MoCo's 65 536 serves 1.3 M images; small pools shorten it further
        momentum: float = MOMENTUM,
        temperature: float = TEMPERATURE,
        local_weight: float = 1.0,  # both are InfoNCE and of a size
        policy: str = "hardest",
    ) -> None:
        if objective not in OBJECTIVES:
            raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
        self.network, self.optimizer, self.schedule = network, optimizer, schedule
        self.modality, self.objective, self.precision, self.seed = modality, objective, precision, seed
        keep_full_precision(next(network.parameters()).device, precision)
        self.policies = {candidate.name: candidate for candidate in candidate_policies(modality)}
        if policy != "hardest" and policy not in self.policies:
            raise ValueError(f"policy must be 'hardest' or one of {', '.join(self.policies)}, got {policy!r}")
        if local_weight < 0:
            raise ValueError(f"local_weight must be 0 or more, got {local_weight}")
        self.chosen, self.local_weight = policy, local_weight
        self.contrast = MomentumContrast(
            network, max(1, min(queue_length, images)), momentum=momentum, temperature=temperature
        ).to(next(network.parameters()).device)

    @property
    def views(self) -> str:
        """Name of the policy in use: until the hardest is known, the modality's own mild one."""
        return self.chosen if self.chosen in self.policies else "mild"

    @property
    def contrastive(self) -> bool:
        """Whether views are contrasted."""
        return self.objective in ("contrastive", "joint")

    @property
    def local(self) -> bool:
        """Whether places are contrasted as well."""
        return self.contrastive and self.local_weight > 0

    @property
    def trained_parts(self) -> tuple[str, ...]:
        """Names of the U-Net's parts that the objective trains."""
        if self.restorative:
            return ("encoder", "decoder")
        return ("encoder", *(self.network.unet.coarse_decoder if self.local else ()))

    @property
    def restorative(self) -> bool:
        """Whether distorted images are restored."""
        return self.objective in ("restoration", "joint")

    def autocast(self, device: torch.device) -> torch.autocast:
        """The precision of the networks' passes, as a context; what is made of their output is in float32."""
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def __call__(self, engine: Engine, batch: dict[str, Any]) -> dict[str, Any]:
        """Train on one batch: ``image`` uint8 (B, C, W, H), ``index`` (B,) telling images apart.

        Where a job has several processes, B is this one's part of the batch; loss and gradients are of the whole.

        Returns:
            Of the whole batch ``loss`` and its parts ``contrastive`` with ``retrieval`` (share of queries that find
            their positive first), ``local`` with ``matched`` (the same for places) and ``restoration`` (mean squared
            error).

        Raises:
            FloatingPointError: the loss is not finite.
        """
        device = next(self.network.parameters()).device
        torch.manual_seed(derive_seed(self.seed, "step", engine.state.iteration))
        images = as_unit_range(batch["image"].to(device)).contiguous(memory_format=torch.channels_last)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        output: dict[str, Any] = {}
        loss = images.new_zeros(())
        share = own_rows(len(images)).share
        if self.contrastive:
            policy = self.policies[self.views]
            ids = batch["index"].to(device)
            # Geometry and similarities in full precision: coarse ones would move places by half a pixel of 128.
            with whole_batch_draws(len(images)):
                (first, first_affine), (second, second_affine) = (policy.view_with_geometry(images) for _ in range(2))
                with self.autocast(device):
                    if self.local:
                        query, places = self.network.project_places(first)
                        key, key_places = self.contrast.keys_and_places(second)
                    else:
                        query, key = self.network.project(first), self.contrast.keys(second)
                if self.local:
                    local, matched = local_contrast(
                        places,
                        key_places,
                        first_affine,
                        second_affine,
                        temperature=self.contrast.temperature,
                        extent=content_extent(images),
                    )
                    loss = loss + self.local_weight * local
                    output |= {"local": local.item(), "matched": matched.item()}
            (key, ids), rows = gather(key, ids)
            contrastive, found = self.contrast.loss(query, key, ids, first=rows.start)
            contrastive = share * contrastive
            loss = loss + contrastive
            output |= {"contrastive": contrastive.item(), "retrieval": share * found.float().mean().item()}
        if self.restorative:
            # What is drawn depends on which images are distorted, so it cannot be drawn for the whole batch.
            torch.manual_seed(derive_seed(self.seed, "distortion", engine.state.iteration, ranks.rank()))
            distorted, target = distort(images, self.modality.augmentation)
            with self.autocast(device):
                restored = self.network.restore(distorted)
            restoration = share * mse_loss(restored, target)
            loss = loss + RESTORATION_WEIGHT * restoration
            output["restoration"] = restoration.item()
        output = total_figures({"loss": loss.item(), **output})
        if not math.isfinite(output["loss"]):
            raise FloatingPointError(
                f"the pretraining loss is {output['loss']} at step {engine.state.iteration}: begin anew with a lower "
                f"learning_rate, or with precision fp32; the last finished epoch is kept"
            )
        loss.backward()
        total_gradients(self.network.parameters())
        self.optimizer.step()
        self.schedule.step()
        if self.contrastive:
            self.contrast.follow(self.network)
            self.contrast.push(key, ids)
        return output

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed training needs."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "contrast": self.contrast.state_dict(),
            "chosen": self.chosen,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave."""
        for name in ("network", "optimizer", "schedule", "contrast"):
            getattr(self, name).load_state_dict(state[name])
        self.chosen = state["chosen"]


class Pretrainer(Trainer):
    """MONAI's ``Trainer`` over :class:`PretrainingStep`; batches and outputs stay batches.

    Args:
        device: where to train.
        max_epochs: epochs in all, the warm-up included.
        data_loader: endless batches with ``image`` and ``index``.
        epoch_length: steps an epoch.
        step: the step.
        handlers: attached in the order given.
    """

    def __init__(
        self,
        device: torch.device,
        max_epochs: int,
        data_loader: Iterable[Any],
        epoch_length: int,
        step: PretrainingStep,
        handlers: list[Any] | None = None,
    ) -> None:
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            data_loader=data_loader,
            epoch_length=epoch_length,
            iteration_update=step,
            handlers=handlers,
            decollate=False,
        )
