"What chapter 07 reads from a trained model, on models whose tables are planted."
import copy

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.collab import CollabDataLoaders,MSELossFlat,TabDataLoader,collab_learner
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from collab_nb.bias import DotProductBias
from collab_nb.data import rating_dls,synth_ratings
from collab_nb.dot_product import DotProduct
from collab_nb.interpret import factor_map,item_bias,neighbors,place_labels,smallest_tables
from collab_nb.loader import Learner

N = 30     # movies, with ids 1 to 30; movie 30 is in validation alone

@pytest.fixture(scope='module')
def table():
    "Movie i has ratings by 40-i users; the last one has a single rating, in validation"
    rows = [(u, i, 3.) for i in range(1, N) for u in range(1, 41-i)] + [(1, N, 3.)]
    df = pd.DataFrame(rows, columns=['user', 'movie', 'rating']).assign(title=lambda d: 'movie ' + d.movie.astype(str))
    return df,(np.arange(len(df)-1), np.array([len(df)-1]))

@pytest.fixture(scope='module')
def learn(table):
    "Movie i has the bias i/10 and lies on an ellipse, twice as far in the second factor; no training needed"
    df,splits = table
    dls = rating_dls(df, splits=splits, bs=64)
    model = DotProductBias(dls.n_users, dls.n_items, 2)
    angle = 2*np.pi*torch.arange(N+1)/N
    model.movie_factors.weight.data = torch.stack([angle.cos(), 2*angle.sin()], dim=1)
    model.movie_bias.weight.data = torch.arange(N+1)[:,None]/10
    return Learner(dls, model, loss_func=MSELossFlat())

def test_biases_are_the_model_s(learn):
    b = item_bias(learn)
    assert b.columns.tolist() == ['item', 'title', 'bias', 'count']
    assert b.item.tolist() == list(range(N-1, 0, -1))     # best first; movie 30 was never trained, `#na#` is nobody
    assert np.allclose(b.bias, b.item/10) and (b['count'] == 40-b.item).all()
    assert b.title[0] == 'movie 29' and item_bias(learn, 3).equals(b.head(3))

def test_centered_biases_do_not_depend_on_where_the_model_keeps_them(learn):
    other = copy.deepcopy(learn)
    c = torch.tensor([.3, -.7])
    other.model.user_factors.weight.data[1:] -= c
    other.model.movie_bias.weight.data += (other.model.movie_factors.weight.data @ c)[:,None]
    def biases(of, **kwargs): return item_bias(of, **kwargs).set_index('item').bias.sort_index()
    assert np.allclose(biases(learn, centered=True), biases(other, centered=True), atol=1e-5)
    assert not np.allclose(biases(learn), biases(other), atol=.05)

def test_the_map_is_the_plane_of_the_largest_spread(learn):
    m = factor_map(learn, n=29, user=3)
    assert m.columns.tolist() == ['item', 'title', 'x', 'y']
    assert m.item.tolist() == list(range(1, N))     # best-known first
    want = learn.model.movie_factors.weight.detach()[1:N]
    want = (want-want.mean(0)).numpy()
    # two factors: nothing is lost
    assert np.allclose(np.linalg.norm(m[['x', 'y']], axis=1), np.linalg.norm(want, axis=1), atol=1e-5)
    assert m.x.std() > m.y.std() and m.x[0] >= 0 and m.y[0] >= 0
    assert sum(m.attrs['share']) == pytest.approx(1)
    people = learn.model.user_factors.weight.detach()
    apart = (people[3] - people[1:].mean(0)).numpy()
    assert np.allclose(m.x*m.attrs['user'][0] + m.y*m.attrs['user'][1], want @ apart, atol=1e-6)
    assert len(factor_map(learn, n=500)) == N-1
    assert pd.concat([m, m]).shape == (58, 4)                            # attrs that pandas can compare

def test_neighbors_by_angle_and_by_length(learn):
    q = learn.model.movie_factors.weight.detach()[1:N].numpy()
    for kind in ('cosine', 'dot'):
        scores = q @ q[7]
        if kind == 'cosine': scores = scores/np.linalg.norm(q, axis=1)/np.linalg.norm(q[7])
        near = neighbors(learn, 8, k=5, kind=kind)
        assert near.columns.tolist() == ['item', 'title', 'score'] and 8 not in near.item.tolist()
        assert np.allclose(near.score, np.sort(np.delete(scores, 7))[::-1][:5], atol=1e-5)
    assert len(neighbors(learn, 8, k=100)) == N-2
    assert set(neighbors(learn, 8, k=100, min_ratings=30).item) == set(range(1, 11)) - {8}
    assert neighbors(learn, np.int64(8)).equals(neighbors(learn, 8))

@pytest.mark.parametrize('call, words', [
    (lambda o: item_bias(o, 0), 'k must be a whole number, 1 or more, got 0'),
    (lambda o: item_bias(o, 2.5), 'k must be .*, got 2.5'),
    (lambda o: item_bias('x'), "must have a table 'movie_bias', such as DotProductBias, got a str"),
    (lambda o: factor_map(o, n=2), 'n must be a whole number, 3 or more, got 2'),
    (lambda o: factor_map(o, user=77), 'user 77 is not among the 39'),
    (lambda o: neighbors(o, 99), 'item 99 is not among the 30'),
    (lambda o: neighbors(o, '#na#'), "item '#na#' is not among"),
    (lambda o: neighbors(o, True), 'item True'), (lambda o: neighbors(o, [1]), r'item \[1\] is not among'),
    (lambda o: neighbors(o, 30), 'as random as it began'),
    (lambda o: neighbors(o, 1, kind='euclid'), "kind must be 'cosine' or 'dot', got 'euclid'"),
    (lambda o: neighbors(o, 1, k=True), 'k must be .*, got True')])
def test_what_is_wrong_is_named(learn, call, words):
    with pytest.raises(ValueError, match=words): call(learn)

def test_models_without_biases_and_with_one_factor(table):
    df,splits = table
    dls = rating_dls(df, splits=splits)
    plain = Learner(dls, DotProduct(dls.n_users, dls.n_items, 4), loss_func=MSELossFlat())
    with pytest.raises(ValueError, match='movie_bias'): item_bias(plain)
    one = Learner(dls, DotProduct(dls.n_users, dls.n_items, 1), loss_func=MSELossFlat())
    with pytest.raises(ValueError, match='a map needs at least 3 items and 2 factors, got 29 and 1'): factor_map(one)
    assert len(neighbors(one, 1)) == 10

def test_fastai_s_own_loaders_and_model():
    df = synth_ratings(60, 40, 1500, seed=1).assign(item=lambda d: 'i' + d.movie.astype(str))
    dls = CollabDataLoaders.from_df(df, item_name='item', rating_name='rating', seed=1, dl_type=TabDataLoader)
    learn = collab_learner(dls, n_factors=4, y_range=(0, 5.5))
    b = item_bias(learn)
    train = dls.train_ds.items['item'].map(dict(enumerate(dls.classes['item'])))
    assert b.set_index('item')['count'].to_dict() == train.value_counts().to_dict()
    assert (b.item == b.title).all()
    assert len(factor_map(learn, n=20, user=b.index[0]+1)) == 20
    assert neighbors(learn, b.item[0], k=3).item.map(type).eq(str).all()

@pytest.mark.parametrize('n_users, n_items, d', [(40, 30, 5), (3, 30, 5), (40, 2, 5), (6, 6, 1)])
def test_the_smallest_tables(n_users, n_items, d):
    "Twice the nuclear norm; no stretch, and nothing that gradient descent finds, comes below it"
    rng = np.random.default_rng(0)
    users,items = (torch.tensor(rng.normal(size=(n, d))*s) for n,s in ((n_users, 3), (n_items, .2)))
    small = smallest_tables(users, items)
    def size(a, b): return ((a**2).sum() + (b**2).sum()).item()
    assert torch.allclose(small[0] @ small[1].T, users @ items.T)
    assert size(*small) == pytest.approx(2*np.linalg.norm((users @ items.T).numpy(), 'nuc'))
    assert size(*small) < size(users, items)
    width = small[0].shape[1]
    assert width == min(n_users, n_items, d)
    for _ in range(5):
        mix = torch.eye(width) + .3*torch.tensor(rng.normal(size=(width, width)))
        assert size(small[0] @ mix, small[1] @ torch.linalg.inv(mix).T) > size(*small)
        turn = torch.linalg.qr(mix)[0]
        assert size(small[0] @ turn, small[1] @ turn) == pytest.approx(size(*small))

def test_labels_cover_nothing():
    rng = np.random.default_rng(0)
    fig = Figure(figsize=(6, 4), layout='constrained')
    FigureCanvasAgg(fig)
    ax = fig.subplots()
    x,y = rng.normal(size=(2, 60))
    ax.plot(x, y, 'o', ms=4)
    placed = place_labels(ax, x, y, [f'movie {i}' for i in range(50)])      # the last ten are only kept free
    fig.canvas.draw()
    boxes = [Text.get_window_extent(t) for t in placed]     # of the words, without the line to the point
    points = ax.transData.transform(np.c_[x, y])
    assert 30 < len(placed) <= 50
    assert not any(a.overlaps(b) for i,a in enumerate(boxes) for b in boxes[:i])
    assert not any(b.contains(*p) for b in boxes for p in points)
    assert all(ax.bbox.x0 <= b.x0 and b.x1 <= ax.bbox.x1 for b in boxes)
