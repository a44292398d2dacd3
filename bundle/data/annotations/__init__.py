"""What annotation tools write, as masks of the images it was drawn on.

A reader a format gives :class:`~bundle.data.annotations.annotation.Annotation`: which image, and how to draw it.
:mod:`~bundle.data.annotations.folder` finds the image of each and gives it its label; where several people drew one
image, :mod:`~bundle.data.annotations.annotators` tells how far they agree and makes one mask of theirs.
"""
