"Averages, the dot product and the scoreboard."
import json
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from fastai.collab import MSELossFlat,set_seed

from collab_nb.baselines import DAMPING,Means,fit_offsets,mse,tune_damping
from collab_nb.bias import DotProductBias
from collab_nb.data import random_split,rating_dls,synth_ratings
from collab_nb.dot_product import DotProduct,plain_fit
from collab_nb.factors import match_score,one_hot_lookup
from collab_nb.figures import editable_table,factor_grid,gain_dots,score_dots
from collab_nb.loader import Learner
from collab_nb.scoreboard import FLOOR,floor,format_scoreboard,read_scoreboard,write_scoreboard

@pytest.fixture(scope='module')
def table(): return synth_ratings(60, 40, 900, seed=1)

def test_means_by_hand():
    df = pd.DataFrame({'user': ['a', 'a', 'b'], 'movie': [1, 2, 1], 'rating': [5., 3., 4.]})
    assert Means(df, by=()).predict(['z'], [9]).tolist() == [4.]
    assert Means(df, by=()).predict('z', 9).tolist() == [4.]
    # mean 4; movie 1: (1+0)/(2+1); movie 2: -1/(1+1); user a: (1-1/3 + -1+1/2)/(2+1); user b: (0-1/3)/(1+1)
    m = Means(df, damping=1, passes=1)
    assert np.allclose(m.predict(['a', 'b', 'z', 'b'], [1, 2, 1, 9]), [4+1/3+1/18, 4-1/2-1/6, 4+1/3, 4-1/6])

def ridge(table, damping, columns=('movie', 'user')):
    "The offsets by the normal equations of one-hot columns"
    left = (table.rating-table.rating.mean()).to_numpy()
    codes = [np.unique(table[c], return_inverse=True)[1] for c in columns]
    X = np.hstack([np.eye(c.max()+1)[c] for c in codes])
    penalty = np.repeat(np.array(damping, dtype='float64'), [c.max()+1 for c in codes])
    return np.linalg.solve(X.T @ X + np.diag(penalty), X.T @ left)

@pytest.mark.parametrize('damping', [(3, 5), (.1, 8), (20, 1), (0, 4), (4, 0)])
def test_means_are_a_ridge_regression(table, damping):
    "On a dense table and on a sparse one, where some movies have a single rating"
    for df in (table, table.sample(120, random_state=0)):
        m = Means(df, damping=damping)
        assert np.allclose([*m.offsets['item'], *m.offsets['user']], ridge(df, damping), atol=1e-3)

def test_undamped_means_are_least_squares(table):
    "Without damping the offsets are free up to a constant, but the predictions are not"
    X = np.hstack([pd.get_dummies(table[c]).to_numpy(float) for c in ('movie', 'user')])
    left = table.rating-table.rating.mean()
    best = X @ np.linalg.lstsq(X, left, rcond=None)[0] + table.rating.mean()
    assert np.allclose(Means(table, damping=0).predict(table.user, table.movie), best, atol=1e-3)

def test_the_order_matters_in_one_pass_only(table):
    a,b = (Means(table, by=by) for by in (('item', 'user'), ('user', 'item')))
    assert list(a.offsets) == ['item', 'user'] and list(b.offsets) == ['user', 'item']
    for what in a.offsets: assert np.allclose(a.offsets[what], b.offsets[what], atol=1e-4)
    a,b = (Means(table, by=by, passes=1).offsets['item'] for by in (('item', 'user'), ('user', 'item')))
    assert not np.allclose(a, b, atol=.01)

def test_a_damping_for_each_column(table):
    "A pair is for items and users, whatever the order of `by`; one number is for both"
    for by in ('item', 'user'):
        pair = Means(table, by=by, damping=(2, 7)).offsets[by]
        assert np.allclose(pair, Means(table, by=by, damping={'item': 2, 'user': 7}[by]).offsets[by])
    a,b = (Means(table, by, (2, 7)).offsets['user'] for by in (('item', 'user'), ('user', 'item')))
    assert np.allclose(a, b, atol=1e-4)
    assert np.array_equal(Means(table, damping=4).offsets['item'], Means(table, damping=(4, 4)).offsets['item'])

def test_every_pass_lowers_the_objective(table):
    left = (table.rating-table.rating.mean()).to_numpy()
    columns = [np.unique(table[c], return_inverse=True)[1] for c in ('movie', 'user')]
    def objective(passes):
        b,c = fit_offsets(left, columns, (3, 5), passes=passes, tol=0)
        return ((left-b[columns[0]]-c[columns[1]])**2).sum() + 3*(b**2).sum() + 5*(c**2).sum()
    losses = [objective(n) for n in (1, 2, 3, 4)]
    assert losses == sorted(losses, reverse=True) and losses[0] > losses[-1]+.1

def test_offsets_keep_the_ids(table):
    m = Means(table.assign(user='u'+table.user.astype(str)))
    assert m.offsets['item'].index.tolist() == sorted(table.movie.unique().tolist())
    assert m.offsets['user'].index.tolist() == sorted('u'+table.user.astype(str).unique())
    assert m.offsets['item'].index.name == 'movie'

def test_damping_is_chosen_for_each_column():
    "Offsets of movies are ten times as large as those of users, so users need the larger damping"
    table = synth_ratings(300, 100, 6000, n_factors=1, noise=.7, seed=2)
    rng = np.random.default_rng(0)
    b = rng.normal(0, .8, table.movie.max()+1)[table.movie] + rng.normal(0, .08, table.user.max()+1)[table.user]
    table = table.assign(rating=3+b+rng.normal(0, .8, len(table)))
    d_item,d_user = tune_damping(table)
    assert d_item < 10 < d_user
    assert tune_damping(table, by='item')[0] < 10 and len(tune_damping(table, by=(), dampings=(1, 2))) == 2

def test_undamped_item_means_are_the_means(table):
    m = Means(table, by='item', damping=0)
    assert np.allclose(m.predict(table.user, table.movie), table.groupby('movie').rating.transform('mean'))

def test_damping_without_end_is_the_global_mean(table):
    assert np.allclose(Means(table, damping=1e12).predict(table.user, table.movie), table.rating.mean(), atol=1e-5)

def test_any_index_and_column_names(table):
    df = table.rename(columns={'user': 'who', 'movie': 'what', 'rating': 'stars'}).set_index(pd.Index([0]*len(table)))
    m = Means(df, user='who', item='what', rating='stars')
    assert np.allclose(m.predict(table.user, table.movie), Means(table).predict(table.user, table.movie))

@pytest.mark.parametrize('kwargs, change, why', [
    (dict(by='genre'), {}, "any of 'item' and 'user'"), (dict(by=('item', 'item')), {}, 'each at most once'),
    (dict(damping=-1), {}, '0 or more'), (dict(damping=np.nan), {}, '0 or more'),
    (dict(damping=(3, -1)), {}, 'damping must be 0 or more, .* got .3, -1.'),
    (dict(damping=(1, 2, 3)), {}, 'a pair .* got .1, 2, 3.'), (dict(damping='much'), {}, "a pair .* got 'much'"),
    (dict(damping=np.inf), {}, 'got inf'), (dict(passes=0), {}, 'passes must be a whole number, 1 or more, got 0'),
    (dict(item='user'), {}, 'three columns'),
    (dict(item='show'), {}, "no column 'show'"), ({}, dict(rating=np.nan), 'NaN'),
    ({}, dict(rating='good'), "ratings must be numbers, got 'good'"), ({}, dict(user=1.5), 'of type float')])
def test_means_refuse(table, kwargs, change, why):
    with pytest.raises(ValueError, match=why): Means(table.assign(**change), **kwargs)

def test_means_refuse_nothing(table):
    with pytest.raises(ValueError, match='empty'): Means(table.head(0))
    with pytest.raises(ValueError, match='must be pairs, got 2 and 1'): Means(table).predict([1, 2], [1])
    with pytest.raises(ValueError, match="type str, the model's users are"): Means(table).predict(['1'], ['2'])

def test_mse_refuses_other_shapes():
    with pytest.raises(ValueError, match=r'same shape, got \(3,\) and \(3, 1\)'): mse(np.zeros(3), np.zeros((3, 1)))

def test_dot_product_by_loop():
    set_seed(0)
    model = DotProduct(5, 7, 3)
    x = torch.tensor([[u, i] for u in range(5) for i in range(7)])
    slow = [sum(model.user_factors.weight[u, k]*model.movie_factors.weight[i, k] for k in range(3)) for u,i in x]
    assert model(x).shape == (35,)
    assert torch.allclose(model(x), torch.stack(slow), atol=1e-7)
    ranged = DotProduct(5, 7, 3, y_range=(1, 5))(x)
    assert ((1 < ranged) & (ranged < 5)).all()

def test_match_score_by_hand():
    movies = torch.tensor([[.98, .9, -.9], [-.99, -.3, .8]])
    assert torch.allclose(match_score(torch.tensor([.9, .8, -.6]), movies), torch.tensor([2.142, -1.611]))
    users = torch.randn(4, 3)
    assert torch.allclose(match_score(users[:,None], movies), users @ movies.T)
    with pytest.raises(ValueError, match='last axis'): match_score(users, movies[:,:1])

def test_one_hot_lookup():
    table = torch.randn(7, 3, dtype=torch.float64)
    ids = torch.tensor([6, 0, 6])
    assert torch.equal(one_hot_lookup(table, ids), table[ids])
    assert one_hot_lookup(table, ids[:0]).shape == (0, 3)
    for bad in (-1, 7):
        with pytest.raises(ValueError, match='rows 0 to 6'): one_hot_lookup(table, torch.tensor([bad]))

@pytest.mark.parametrize('y_range', [None, (0, 5.5), (1, 5)])
def test_bias_by_loop(y_range):
    set_seed(0)
    model = DotProductBias(5, 7, 3, y_range=y_range)
    for p in model.parameters(): p.data *= 50
    x = torch.tensor([[u, i] for u in range(5) for i in range(7)])
    def by_hand(u, i):
        product = sum(model.user_factors.weight[u, k]*model.movie_factors.weight[i, k] for k in range(3))
        return product + model.user_bias.weight[u, 0] + model.movie_bias.weight[i, 0]
    res = torch.stack([by_hand(u, i) for u,i in x])
    if y_range: res = y_range[0] + (y_range[1]-y_range[0])*torch.sigmoid(res)
    assert model(x).shape == (35,) and torch.allclose(model(x), res, atol=1e-5)
    assert model(x[:1]).shape == (1,)

def test_bias_takes_another_table():
    model = DotProductBias(5, 7, 3, embedding=torch.nn.Embedding)
    assert [type(m) for m in model.children()] == 4*[torch.nn.Embedding]
    assert {n: tuple(p.shape) for n,p in model.named_parameters()} == {
        'user_factors.weight': (5, 3), 'user_bias.weight': (5, 1),
        'movie_factors.weight': (7, 3), 'movie_bias.weight': (7, 1)}

def test_bias_gradient_reaches_the_rows_of_the_batch_alone():
    model = DotProductBias(5, 7, 3)
    model(torch.tensor([[1, 2], [1, 3]])).sum().backward()
    assert model.user_bias.weight.grad.nonzero()[:,0].tolist() == [1]
    assert model.movie_bias.weight.grad.nonzero()[:,0].tolist() == [2, 3]

def test_plain_fit_is_torchs_sgd(table):
    "The loop by hand and torch's optimizer move the weights alike"
    dls = rating_dls(table, bs=1000)
    set_seed(0)
    ours = DotProduct(dls.n_users, dls.n_items, 2)
    theirs = DotProduct(dls.n_users, dls.n_items, 2)
    theirs.load_state_dict(ours.state_dict())
    losses = plain_fit(ours, dls.valid, 5, lr=3.)
    opt = torch.optim.SGD(theirs.parameters(), lr=3.)
    for epoch in range(5):
        (x, y), = dls.valid
        loss = torch.nn.functional.mse_loss(theirs(x), y)
        assert losses[epoch] == pytest.approx(loss.item(), rel=1e-4)
        loss.backward()
        opt.step()
        opt.zero_grad()
    for a,b in zip(ours.parameters(), theirs.parameters(), strict=True): assert torch.allclose(a, b, atol=1e-6)

def test_plain_fit_refuses(table):
    dls = rating_dls(table, bs=100)
    model = DotProduct(dls.n_users, dls.n_items, 2)
    columns = [(x, y[:,None]) for x,y in dls.train]
    with pytest.raises(ValueError, match='must have the same shape, got'): plain_fit(model, columns, 1, lr=1.)
    with pytest.raises(ValueError, match='must stay finite, got'): plain_fit(model, dls.train, 20, lr=1e9)

def test_dot_product_learns_what_was_planted():
    "With little noise and small biases, the factors explain most of the variance of held-out ratings"
    df = synth_ratings(100, 80, 6000, n_factors=2, noise=0.05, seed=0, stars=None)
    dls = rating_dls(df, bs=256)
    set_seed(0)
    learn = Learner(dls, DotProduct(dls.n_users, dls.n_items, 5), loss_func=MSELossFlat())
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(10, .2)
    valid = df.iloc[random_split(df)[1]]
    assert learn.validate()[0] < 0.1*valid.rating.var()

def test_dot_product_trains_on_movielens(ratings):
    dls = rating_dls(ratings, bs=1024, val_bs=20_000)
    set_seed(0)
    learn = Learner(dls, DotProduct(dls.n_users, dls.n_items, 20), loss_func=MSELossFlat())
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(2, 5e-2)
    valid = ratings.rating.iloc[random_split(ratings)[1]]
    assert learn.recorder.values[-1][1] < .8*mse(np.full(20_000, ratings.rating.mean()), valid)

def test_the_packages_scoreboard():
    rows = read_scoreboard()
    assert [r['model'] for r in rows[:2]] == ['global mean', FLOOR]
    chapters = [r['chapter'] or 'original' for r in rows]     # the rows with the original's recipe come last
    assert chapters == sorted(chapters) and 'original' in chapters
    assert all((r['chapter'] == '') == r['model'].startswith('original') for r in rows)
    assert {r['model'] for r in read_scoreboard(before='03')} == {'global mean', FLOOR}
    assert floor() == np.mean(rows[1]['mse']) < np.mean(rows[0]['mse'])
    assert FLOOR in format_scoreboard(rows)

def test_the_floor_is_what_the_means_give(ratings):
    stored = next(r['mse'] for r in read_scoreboard() if r['model'] == FLOOR)
    assert floor() == np.mean(stored) and len(stored) == 5
    for seed in (0, 4):
        train,valid = (ratings.iloc[s] for s in random_split(ratings, seed=seed))
        means = Means(train, damping=tune_damping(train))
        assert mse(means.predict(valid.user, valid.movie), valid.rating) == pytest.approx(stored[seed], abs=1e-4)

def test_together_beats_one_after_the_other(ratings):
    "The floor is the best of the averages: on each of two splits, with dampings chosen for both"
    def error(train, valid, by=('item', 'user'), **kwargs):
        means = Means(train, by, tune_damping(train, by=by, **kwargs), **kwargs)
        return mse(means.predict(valid.user, valid.movie), valid.rating)
    for seed in (0, 4):
        parts = [ratings.iloc[s] for s in random_split(ratings, seed=seed)]
        rivals = [error(*parts, passes=1), error(*parts, ('user', 'item'), passes=1), error(*parts, 'item')]
        assert error(*parts) < min(rivals)-.003

def test_default_damping(ratings):
    assert tune_damping(ratings.iloc[random_split(ratings, seed=42)[0]]) == DAMPING

def test_each_rating_once_beats_the_stock_loader():
    rows = {r['model']: r['mse'] for r in read_scoreboard()}
    pairs = list(zip(rows['original: dot product'], rows['original, each rating once: dot product'], strict=True))
    assert len(pairs) == 5 and all(a > b for a,b in pairs)

def test_bias_with_each_rating_once_beats_stock_fastai():
    "The same model, recipe and decay behind two loaders: 0.02 on every pair"
    rows = {r['model']: r['mse'] for r in read_scoreboard()}
    stock,once = (rows[f'original{name}: bias, wd=0.1'] for name in ('', ', each rating once'))
    pairs = list(zip(stock, once, strict=True))
    assert len(pairs) == 5 and all(a-b >= .02 for a,b in pairs)

@pytest.mark.parametrize('text', ['', '{}', '[1]', '[{"model": "x"}]'])
def test_no_scoreboard(text, tmp_path):
    (tmp_path/'s.json').write_text(text)
    with pytest.raises(ValueError, match='is not a scoreboard'): read_scoreboard(tmp_path/'s.json')

def test_scoreboard_round_trip(tmp_path):
    rows = [{'model': 'm', 'chapter': '01', 'mse': [1., 2.], 'seconds': None}]
    assert read_scoreboard(write_scoreboard(rows, tmp_path/'s.json')) == rows
    assert [p.name for p in tmp_path.iterdir()] == ['s.json']
    assert json.loads((tmp_path/'s.json').read_text()) == rows

def test_editable_table_with_nothing_in_it():
    assert 'nan' not in editable_table(pd.DataFrame({'a': [np.nan]}, index=['x'])).data.lower().replace('number', '')

SVG = '{http://www.w3.org/2000/svg}'

def test_factor_grid_of_learned_tables():
    "Tensors that want a gradient, ratings in another order, names that aren't markup: the numbers are the model's"
    torch.manual_seed(0)
    model = DotProductBias(5, 4, 2)
    who,what = ['#na#', 'Ann & Bo', '<i>', 'Di', 'Ed'],['#na#', 'Star Wars (1977)', 'Casablanca (1942)', 'Alien (1979)']
    users,movies = (pd.DataFrame(w.weight.detach().numpy(), names)
                    for w,names in ((model.user_factors, who), (model.movie_factors, what)))
    stars = pd.DataFrame(4., index=who[::-1], columns=what[::-1])
    stars.loc['Ed', 'Alien (1979)'] = np.nan
    grid = factor_grid(users, movies, stars, ('Di', 'Alien (1979)'), model.y_range, model.user_bias.weight,
                       model.movie_bias.weight, one_hot=True)
    root = ElementTree.fromstring(grid.data)     # well-formed
    texts = [''.join(t.itertext()) for t in root.iter(f'{SVG}text')]
    pairs = torch.tensor([(u, m) for u in range(5) for m in range(4)])
    for stars in model(pairs).tolist(): assert f'{stars:.2f}' in texts
    assert sum(t.startswith('★4 ') for t in texts) == 19 and 'Ann & Bo' in texts
    assert root.find(f'{SVG}title').text and 'Di × Alien' in root.find(f'{SVG}desc').text
    # everything lies within the drawing
    wide,tall = map(float, root.get('viewBox').split()[2:])
    for box in root.iter(f'{SVG}rect'):
        x,y,w,h = (float(box.get(k)) for k in ('x', 'y', 'width', 'height'))
        assert 0 <= x and x+w <= wide and 0 <= y and y+h <= tall
    assert len(grid.data.encode()) < 20_000

def test_factor_grid_of_tensors():
    users,movies = torch.randn(3, 2, requires_grad=True),torch.randn(4, 2, requires_grad=True)
    data = factor_grid(users, movies).data
    for score in match_score(users[:,None], movies).flatten().tolist():
        assert f'{score:.2f}'.replace('-', '−') in data
    with pytest.raises(ValueError, match='as many factors, got 2 and 1'): factor_grid(users, movies[:,:1])
    with pytest.raises(ValueError, match='lit must name a movie'): factor_grid(users, movies, lit=('user 1', 'Alien'))

def test_dots_at_the_edges():
    "One number for a row, one row, equal numbers, nothing at all"
    assert score_dots({'a': .8}).get_xlim()[0] < .8
    assert score_dots({'a': [.8, .8]}, floor=.8).get_xlim()[0] < .8
    low,high = gain_dots({'a': [0., 0.]}).get_xlim()
    assert low < 0 < high
    plt.close('all')
    for draw in (score_dots, gain_dots):
        with pytest.raises(ValueError, match='at least one name'): draw({})
        with pytest.raises(ValueError, match='a number per split'): draw({'a': [np.nan]})
