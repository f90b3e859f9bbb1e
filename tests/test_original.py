"""Every row of the notebook that the course grew out of, as a test of its own: what was right there still holds, what
was wrong is met, and what was never run is run. Training results come from the scoreboard, whose figures another test
trains again."""
import re

import nbformat
import numpy as np
import pytest
import torch
from fastai.collab import CollabDataLoaders,Embedding,MSELossFlat,TabDataLoader
from fastai.layers import sigmoid_range
from fastai.torch_core import one_hot

from collab_nb.bias import DotProductBias
from collab_nb.data import random_split,rating_dls,read_movies
from collab_nb.dot_product import DotProduct
from collab_nb.embedding import Embedding as OwnEmbedding
from collab_nb.factors import match_score,one_hot_lookup
from collab_nb.loader import Learner
from collab_nb.scoreboard import read_scoreboard
from conftest import ROOT

@pytest.fixture(scope='module')
def board(): return {r['model']: r for r in read_scoreboard()}

@pytest.fixture(scope='module')
def titled(ratings):
    "fastai's own loaders, fixed, with titles for items"
    return CollabDataLoaders.from_df(ratings, item_name='title', seed=42, bs=64, dl_type=TabDataLoader)

@pytest.fixture(scope='module')
def dls(ratings): return rating_dls(ratings, splits=random_split(ratings, seed=42), bs=64)

def tour(start):
    "What the cell of the tour that holds the line `start` defines"
    nb = nbformat.read(ROOT/'nbs'/'tour.ipynb', as_version=4)
    cell = next(c for c in nb.cells if c.cell_type == 'code' and re.search(f'(?m)^{re.escape(start)}', c.source))
    names = {}
    imports = ('from fastcore.test import *', 'from fastai.collab import *', 'from fastai.layers import sigmoid_range',
               'import torch', 'from torch import nn')
    exec('\n'.join([*imports, cell.source]), names)
    return names

def test_cells_4_and_9_ratings_as_printed(ratings):
    assert ratings.iloc[:5, :4].to_numpy().tolist() == [
        [196, 242, 3, 881250949], [186, 302, 3, 891717742], [22, 377, 1, 878887116], [244, 51, 2, 880606923],
        [166, 346, 1, 886397596]]
    assert not any(c.startswith('Unnamed') for c in ratings.columns)

def test_cells_5_to_7_a_match_of_2_142_and_a_mismatch():
    user = torch.tensor([.9, .8, -.6])
    assert match_score(user, torch.tensor([.98, .9, -.9])).item() == pytest.approx(2.142)
    assert match_score(user, torch.tensor([-.99, -.3, .8])).item() == pytest.approx(-1.611)

def test_cell_8_titles_as_printed(path):
    assert read_movies(path).title[:5].tolist() == [
        'Toy Story (1995)', 'GoldenEye (1995)', 'Four Rooms (1995)', 'Get Shorty (1995)', 'Copycat (1995)']

def test_cell_9_the_join_keeps_the_rows_and_titles_fold_them(ratings):
    assert len(ratings) == 100_000 and ratings.title[0] == 'Kolya (1996)'
    assert (ratings.movie.nunique(), ratings.title.nunique()) == (1682, 1664)
    assert ratings.duplicated(['user', 'title']).sum() == 307

def test_cell_10_fastais_loader_mended_shows_each_rating_once(titled):
    assert sorted(titled.train.get_idxs()) == list(range(80_000))

def test_cell_11_the_classes_count_a_stranger(titled):
    assert titled.classes['user'][0] == titled.classes['title'][0] == '#na#'
    assert len(titled.classes['user']) == 944 and len(titled.classes['title']) <= 1665

def test_cells_12_and_13_one_hot_times_matrix_is_the_row():
    factors = torch.randn(944, 5)
    assert torch.equal(factors.t() @ one_hot(3, 944).float(), factors[3])
    assert torch.equal(one_hot_lookup(factors, torch.tensor([3]))[0], factors[3])

def test_cells_12_and_13_an_index_is_no_id(titled, ratings):
    assert ratings.title[ratings.movie == 3].iloc[0] == 'Four Rooms (1995)'
    assert titled.classes['title'][3] == '101 Dalmatians (1996)'

def test_cells_14_and_15_the_class_says_hello():
    assert tour('class Greeter')['Greeter']('Nikhil').say("it's been a while") == "Hello Nikhil, it's been a while."

def test_cell_16_dot_product_by_hand():
    model = DotProduct(2, 2, 2)
    model.user_factors.weight.data = torch.tensor([[1., 0.], [2., -1.]])
    model.movie_factors.weight.data = torch.tensor([[3., 1.], [.5, 4.]])
    x = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert torch.allclose(model(x), torch.tensor([3., .5, 5., -3.]))

def test_cell_17_one_batch_is_64_by_2_and_has_another_side(titled, dls):
    x,y = titled.one_batch()
    assert x.shape == (64, 2) and y.shape == (64, 1) and y.dtype == torch.int8
    x,y = dls.one_batch()
    assert x.shape == (64, 2) and y.shape == (64,) and y.dtype == torch.float32

def test_cell_18_five_epochs_end_where_they_did(board):
    "0.891 was printed there, from one unseeded split"
    assert np.mean(board['dot product, fastai as it comes']['mse']) == pytest.approx(.891, abs=.03)

def test_cell_18_no_weight_decay_yet_is_not_true(dls):
    learn = Learner(dls, DotProduct(dls.n_users, dls.n_items, 2), loss_func=MSELossFlat())
    learn.create_opt()
    assert learn.opt.hypers[0]['wd'] == .01

def test_cell_19_the_range_makes_fastais_own_loader_much_worse(board):
    plain,ranged = (board[f'dot product, {name}fastai as it comes'] for name in ('', 'range, '))
    assert np.mean(ranged['mse']) == pytest.approx(.950, abs=.03)
    assert all(b-a > .03 for a,b in zip(plain['mse'], ranged['mse'], strict=True))
    assert all(np.argmin(c) < 4 for c in ranged['curves'])

def test_cell_19_the_range_is_wider_than_the_stars():
    assert sigmoid_range(torch.tensor(2.4), 0, 5.5) > 5 > sigmoid_range(torch.tensor(12.), 0, 5)

def test_cell_20_the_bias_class_is_made_and_run(dls):
    x,y = dls.one_batch()
    assert DotProductBias(dls.n_users, dls.n_items, 50)(x).shape == y.shape == (64,)

SLIPS = {'keedim': (dict(keedim=True), lambda x: x[:,0]), 'x[:0]': (dict(keepdim=True), lambda x: x[:0]),
         'no keepdim': ({}, lambda x: x[:,0])}

@pytest.mark.parametrize('slip, error', [('keedim', TypeError), ('x[:0]', RuntimeError), ('no keepdim', None)])
def test_cell_20_its_slips(dls, slip, error):
    kwargs,users = SLIPS[slip]
    class Slip(DotProductBias):
        def forward(self, x):
            res = (self.user_factors(x[:,0])*self.movie_factors(x[:,1])).sum(dim=1, **kwargs)
            return sigmoid_range(res + self.user_bias(users(x)) + self.movie_bias(x[:,1]), *self.y_range)
    x,_ = dls.one_batch()
    model = Slip(dls.n_users, dls.n_items, 50)
    if error:
        with pytest.raises(error): model(x)
    else: assert model(x).shape == (64, 64)

def test_after_cell_20_what_the_bias_does(board):
    "Its best epoch is better than without; then it overfits, and with decay it's better than all"
    ranged,bias,decayed = (np.array(board[name]['curves']) for name in ('dot product, range', 'bias', 'bias, wd=0.2'))
    assert (bias.min(1) < ranged.min(1)).all() and (bias[:,-1] > bias.min(1)).all()
    assert (decayed[:,-1] < bias.min(1)).all()

def test_cell_21_weight_decay_on_a_fresh_learner(board):
    "0.895 was printed there, for five more epochs of an overfitted model"
    assert max(board['bias, wd=0.1, fastai as it comes']['mse']) < .895

def test_the_last_cell_an_embedding_of_our_own(board):
    theirs,own = Embedding(5, 3),OwnEmbedding(5, 3)
    own.load_state_dict(theirs.state_dict())
    codes = torch.tensor([1, 4, 1])
    for e in (theirs, own): (e(codes)**2).sum().backward()
    assert torch.equal(own(codes), theirs(codes)) and torch.equal(own.weight.grad, theirs.weight.grad)
    gap = np.array(board['bias, wd=0.1, our own embedding']['mse']) - board['bias, wd=0.1, rating_dls']['mse']
    assert abs(gap.mean()) < .005

def test_in_the_end_ten_films():
    nb = nbformat.read(ROOT/'nbs'/'tour.ipynb', as_version=4)
    cell = next(c for c in nb.cells if c.cell_type == 'code' and "'for you'" in c.source and '.head(10)' in c.source)
    page = next(o.data['text/html'] for o in cell.outputs if 'text/html' in o.get('data', {}))
    films = re.findall(r'<td>([^<]*\(\d{4}\))</td>', page)
    assert len(set(films)) == 10
