"""What the app does around its tasks."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from fastapi import HTTPException
from monailabel.interfaces.app import MONAILabelApp

from bundle.label.app import ColdStartApp
from bundle.label.server import ADDRESS


@pytest.fixture
def app(monkeypatch) -> ColdStartApp:
    """An app as in the process of a training, whose only trainer is done at once."""
    made = ColdStartApp.__new__(ColdStartApp)
    made._trainers = {"model": lambda request, datastore: {"training": request["labels"]}}  # noqa: ARG005
    made._datastore, made._auto_update_scoring, made._server_mode = None, True, False
    made._scoring_methods = {"coldstart": None}
    monkeypatch.setattr(ColdStartApp, "_stale", lambda _: iter(["coldstart"]))
    return made


def test_a_training_has_succeeded_where_its_server_cannot_be_told_to_score_anew(app, monkeypatch, caplog):
    monkeypatch.setenv(ADDRESS, "http://127.0.0.1:1")
    with caplog.at_level(logging.WARNING):
        assert app.train({"model": "model", "labels": 3}) == {"training": 3}
    assert "not scored anew" in caplog.text


def test_a_training_asks_its_server_for_scores_at_the_address_it_listens_on(app, monkeypatch):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.2", 0), Handler) as server:  # MONAI Label itself asks at 127.0.0.1
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(ADDRESS, f"http://127.0.0.2:{server.server_port}")
        app.train({"model": "model", "labels": 3})
        server.shutdown()
    assert asked == [("/scoring/coldstart", {})]


def test_a_value_that_cannot_be_is_a_refusal_and_nothing_is_scored(app, monkeypatch):
    def refuse(*_: object) -> None:
        raise ValueError("max_epochs must be more")

    app._trainers = {"model": refuse}
    monkeypatch.setattr(ColdStartApp, "async_scoring", lambda *_: pytest.fail("scored"))
    with pytest.raises(HTTPException, match="max_epochs must be more"):
        app.train({"model": "model"})


@pytest.mark.parametrize("in_server", [True, False])
def test_who_has_an_image_drawn_keeps_it_and_a_batch_beside_the_server_touches_no_lease(app, monkeypatch, in_server):
    renewed: list[str] = []
    app._server_mode, app._infers = in_server, {"model": None}
    app.pool = SimpleNamespace(leases=SimpleNamespace(renew=renewed.append))
    monkeypatch.setattr(ColdStartApp, "_may_read", lambda *_: True)
    monkeypatch.setattr(MONAILabelApp, "infer", lambda *_: {"file": "mask.png"})
    assert app.infer({"model": "model", "image": "a/1"}, datastore=object()) == {"file": "mask.png"}
    assert renewed == (["a/1"] if in_server else [])


@pytest.mark.parametrize(("served", "asked"), [({"id": "a"}, 0), ({}, 1)])
def test_images_that_cannot_be_served_are_looked_at_although_none_is(app, monkeypatch, served, asked):
    asks: list[None] = []
    app._strategies = {"first": None}
    monkeypatch.setattr(MONAILabelApp, "next_sample", lambda *_: served)
    monkeypatch.setattr(ColdStartApp, "datastore", lambda _: None)
    monkeypatch.setattr(ColdStartApp, "async_scoring", lambda *_: asks.append(None))
    assert app.next_sample({"strategy": "first"}) == served
    assert len(asks) == asked
