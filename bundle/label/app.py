"""The MONAI Label app: packaged bundles, the ranking they are annotated by, and answers that say what is wrong."""

from __future__ import annotations

import copy
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.async_tasks.utils import tasks

from bundle import __version__
from bundle.label.archive import Archive
from bundle.label.datastore import StudyFolder
from bundle.label.dicomweb import ArchiveClient
from bundle.label.inference import PredrawTask
from bundle.label.models import PackagedModel
from bundle.label.plan import Plan
from bundle.label.pool import RankedPool
from bundle.label.scoring import RankPool, ScoreUncertainty, pool_images
from bundle.label.server import ADDRESS
from bundle.label.strategies import all_strategies
from bundle.label.training import FineTuneTask
from bundle.label.uploads import Refused, gone_if_refused

logger = logging.getLogger(__name__)

RANKING = "coldstart"
UNCERTAINTY = "uncertainty"
ANSWER_SECONDS = 600.0  # the server may be at an image's first drawing, which loads the model


class ColdStartApp(MONAILabelApp):
    """Serves images in cold-start order, pre-draws them, and trains as labels come in.

    Args:
        app_dir: holds ``model/NAME`` for every model, and gets ``ranking``.
        studies: folder of the images, or the address of a DICOMweb server.
        conf: ``models`` names the packaged bundles, the first of which ranks; and what :class:`Plan` reads.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        names = [name.strip() for name in conf.get("models", "").split(",") if name.strip()]
        if not names:
            raise ValueError("conf models must name a bundle in the app's model folder: add --conf models NAME")
        self.models = {name: PackagedModel.load(Path(app_dir) / "model" / name) for name in names}
        self.main_model = next(iter(self.models.values()))
        self.pool = RankedPool(Path(app_dir) / "ranking", self.main_model, Plan.from_conf(conf))
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name=f"coldstart_segmentation: {self.main_model.modality.description}",
            description="Images in cold-start order, pre-drawn by a U-Net that is trained as labels come in. Research "
            "software, not a medical device.",
            version=__version__,
        )

    def init_datastore(self) -> Datastore:
        """The folder of images, or the archive at an address."""
        if self.studies.startswith(("http://", "https://")):
            client = ArchiveClient.connect(self.studies.rstrip("/"))
            search = settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER
            return Archive(client, Path(self.app_dir) / "archive", self.main_model.modality, search)
        return StudyFolder(self.studies, self.main_model.modality, read_only=settings.MONAI_LABEL_DATASTORE_READ_ONLY)

    def init_infers(self) -> dict[str, InferTask]:
        """A pre-drawing task a model."""
        return {name: PredrawTask(model, self.conf) for name, model in self.models.items()}

    def init_trainers(self) -> dict[str, TrainTask]:
        """A training task a model."""
        return {name: FineTuneTask(model) for name, model in self.models.items()}

    def init_strategies(self) -> dict[str, Strategy]:
        """``coldstart``, ``uncertainty``, ``random`` and ``first``."""
        return all_strategies(self.pool)

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        """The ranking, and the scores under the trained model."""
        return {RANKING: RankPool(self.pool), UNCERTAINTY: ScoreUncertainty(self.pool)}

    def server_mode(self, mode: bool) -> None:
        """Told by the server's process, before it takes requests."""
        super().server_mode(mode)
        # Background tasks are processes that inherit this: one process alone keeps the list of images.
        os.environ["MONAI_LABEL_DATASTORE_READ_ONLY"] = "true"

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """The image to annotate next, empty where none is waiting.

        Raises:
            Refused: there is no such strategy.
        """
        strategy = request.get("strategy")
        if strategy not in self._strategies:
            raise Refused(404, f"there is no strategy {strategy!r}; there are {', '.join(self._strategies)}")
        self._refresh()
        found = dict(super().next_sample(request))
        if not found:  # MONAI Label asks only where it serves an image, and what cannot be served is to be named
            self._score_anew()
        return found

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Pre-draw an image of the datastore, or an uploaded one.

        Raises:
            Refused: there is no such model or image, or it cannot be segmented.
        """
        if request.get("model") not in self._infers:
            raise Refused(404, f"there is no model {request.get('model')!r}; there are {', '.join(self._infers)}")
        store = datastore or self.datastore()
        image = str(request.get("image") or "")
        if not self._may_read(image, store):
            raise Refused(404, f"there is no image {request.get('image')!r}")
        if self._server_mode:  # a batch inference runs beside the server, and would write leases as they were
            self.pool.leases.renew(image)
        with gone_if_refused(Path(image)):
            return dict(super().infer(request, store))

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """Train a model; afterwards the images without label are scored under it.

        Raises:
            Refused: there is no such model, or a value of the request cannot be.
        """
        model = request.get("model")
        self._known_trainer(model)
        try:
            trained = dict(self._trainers[model](copy.deepcopy(request), self.datastore()))
        except ValueError as error:
            raise Refused(400, str(error)) from None
        self._score_anew()
        return trained

    def scoring(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Run a scoring method."""
        if request.get("method") not in self._scoring_methods:
            raise Refused(404, f"there is no scoring method {request.get('method')!r}")
        return dict(super().scoring(request, datastore))

    def bundle_path(self, model: str | None) -> str | None:
        """None: all models run on the package in memory. MONAI Label asks before it starts a background task."""
        if model is not None:
            self._known_trainer(model)
        return None

    def async_scoring(self, method: str | None, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Start background scoring; without a method only what is out of date, which MONAI Label asks for often."""
        if method:
            return dict(super().async_scoring(method, params))
        # One that runs may have listed the images before the last of them came; one that waits has not.
        waiting = {task["request"]["method"] for task in tasks("scoring") if task["status"] == "SUBMITTED"}
        stale = [name for name in self._stale() if name not in waiting]
        return {name: super(ColdStartApp, self).async_scoring(name, params) for name in stale}

    def on_save_label(self, image_id: str, label_id: str) -> None:
        """A label is in: nobody needs to keep the image any longer."""
        self.pool.leases.give_back(image_id)
        super().on_save_label(image_id, label_id)

    def _score_anew(self) -> None:
        """Ask for what is out of date, such as scores under a new model, which stands without them."""
        if not self._auto_update_scoring:
            return
        try:
            self.async_scoring(None)
        except Exception as error:  # such as a server that this background task does not reach
            logger.warning("the images are not scored anew until the next one is served: %s", type(error).__name__)

    def _local_request(self, url: str, params: dict[str, Any] | None, action: str) -> Any:
        """What a background task asks of its server, at the server's address; the parent knows the loopback alone."""
        address = os.environ.get(ADDRESS, f"http://127.0.0.1:{settings.MONAI_LABEL_SERVER_PORT}")
        answer = requests.post(f"{address}{url}", json=params or {}, timeout=ANSWER_SECONDS)
        if answer.status_code != 200:
            logger.error("%s is not started: the server answers %d", action, answer.status_code)
            return None
        return answer.json()

    def _known_trainer(self, model: str | None) -> None:
        if model not in self._trainers:
            raise Refused(404, f"there is no model {model!r} to train; there are {', '.join(self._trainers)}")

    def _stale(self) -> Iterator[str]:
        """The scoring methods that have something new to look at."""
        store = self.datastore()
        listed, unreadable = store.list_images(), self.pool.unreadable
        mended = self.pool.may_read_again(pool_images(store, sorted(unreadable & set(listed))))
        if mended or not self.pool.is_current(listed, labelled=store.get_labeled_images()):
            yield RANKING
        waiting = set(store.get_unlabeled_images()) - unreadable
        if self.main_model.is_trained and not self.pool.uncertainty.is_current(waiting, self.main_model):
            yield UNCERTAINTY

    def _refresh(self) -> None:
        """Find images that have arrived since."""
        store = self.datastore()
        if isinstance(store, StudyFolder):
            store.refresh()

    def _may_read(self, image: str, store: Datastore) -> bool:
        """Whether ``image`` is of the datastore, or lies where this server puts uploads."""
        if image in store.list_images():
            return True
        places = [tempfile.gettempdir(), settings.MONAI_LABEL_SESSION_PATH]
        path = Path(image)
        return path.is_absolute() and any(p and path.resolve().is_relative_to(Path(p).resolve()) for p in places)
