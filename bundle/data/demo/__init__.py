"""A data set that is drawn, so that everything can be tried with nothing downloaded and no patient's picture."""

from bundle.data.demo.folder import MODALITIES, make_demo

__all__ = ["MODALITIES", "make_demo"]
