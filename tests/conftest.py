"What several tests share: the repository's root, MovieLens, a reader's home of their own."
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]

@pytest.fixture(scope='session', autouse=True)
def own_home(tmp_path_factory):
    "No test reads or writes the ratings of whoever runs it"
    with pytest.MonkeyPatch.context() as mp:
        mp.setenv('COLLAB_NB_HOME', str(tmp_path_factory.mktemp('home')))
        yield

@pytest.fixture(scope='session', autouse=True)
def one_thread():
    "Small batches gain nothing from a second core"
    torch.set_num_threads(1)

@pytest.fixture(scope='session')
def path():
    from collab_nb.data import get_ml100k
    return get_ml100k()

@pytest.fixture(scope='session')
def ratings(path):
    from collab_nb.data import read_ratings
    return read_ratings(path)
