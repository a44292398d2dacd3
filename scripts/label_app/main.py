"""What ``monailabel start_server --app`` looks for: the class of the app. The logic is in ``bundle/label``."""

from bundle.label.app import ColdStartApp

__all__ = ["ColdStartApp"]
