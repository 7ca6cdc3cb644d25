from .trainer import Trainer
from .data import download

download('mnist', to='/nowhere/at/all')
