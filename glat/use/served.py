"""What MLflow runs to load a logged model, by this file's path (so no import is relative): a model is code and a
checkpoint, and nothing in it is unpickled."""

from mlflow.models import set_model

from glat.use.pyfunc import Tags

set_model(Tags())
