"""MONAI Label: images served in the order of a ranking, pre-drawn by the model, and trained on as labels come in.

The modules that subclass MONAI Label's classes (``app``, ``datastore``, ``inference``, ``strategies``, ``scoring``,
``training``) import it and run in its own environment, see ``scripts/label_server.sh``. The others know nothing of it.
"""
