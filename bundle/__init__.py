"""From a folder of unlabelled images to a segmentation model, paying an expert for as few labels as possible.

The folders follow the way of the data: ``data``, ``network``, ``pretraining``, ``embedding``, ``selection``,
``segmentation``, ``rounds``, ``report``; ``label`` is the app of MONAI Label, ``benchmark`` what measures them all.
``run`` holds what every stage does around its work, ``commands`` what a person types.
"""

__version__ = "0.1.0"
