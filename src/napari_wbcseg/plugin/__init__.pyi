# The public names of the plugin, read by ``__init__.py`` when they are first used.
from .shared.layers import ResultLayers as ResultLayers
from .shared.layers import add_segmentation as add_segmentation
