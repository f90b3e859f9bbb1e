"The list models of chapter 09, on small tables"
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from collab_nb.evaluate import evaluate, hold_out, pair_mask, popular
from collab_nb.ranking import als_step, ease, ials
from collab_nb.synth import synth_ratings

@pytest.fixture(scope='module')
def parts():
    planted = synth_ratings(120, 80, 4_000, seed=1)
    return [planted.iloc[rows] for rows in hold_out(planted, 5, 10)]

def same(a, b, eps=1e-5):
    "Two results of `ials` with the same ids and nearly the same factors"
    assert (a.users, a.items) == (b.users, b.items)
    for name in ('user_factors', 'item_factors'):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=eps, atol=eps)

def test_ease_and_ials_find_what_was_planted():
    "Both beat popularity where each user likes one half of the items"
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(100), 30)
    items = np.concatenate([rng.choice(60, 30, replace=False) + 60*(u%2) for u in range(100)])
    table = pd.DataFrame({'user': users, 'movie': items, 'rating': 5.})
    train,test = (table.iloc[s] for s in hold_out(table, 5))
    base = evaluate(popular(train), test, train).ndcg.mean()
    for rec in (ease(train, 10.), ials(train, n_factors=4, reg=1.)):
        assert evaluate(rec, test, train).ndcg.mean() > 1.3*base

def test_models_take_text_ids_and_repeats(parts):
    train,test = (p.assign(who='u'+p.user.astype(str), what='i'+p.movie.astype(str)) for p in parts)
    for fit,setting in ((ials, 4), (ease, 9.)):
        plain,named = fit(train, setting),fit(train, setting, user='who', item='what')
        a = evaluate(plain, test, train)
        b = evaluate(named, test, train, user='who', item='what')
        assert set(named.users) == {f'u{u}' for u in plain.users}
        assert a.ndcg.mean() == pytest.approx(b.ndcg.mean(), abs=.02)
    twice = pd.concat([train, train])
    np.testing.assert_allclose(ials(twice, 4).user_factors, ials(train, 4).user_factors, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ease(twice, 9.).weights, ease(train, 9.).weights, rtol=1e-4, atol=1e-5)

def test_ials_is_the_same_under_a_seed(parts):
    a,b,c = (ials(parts[0], 4, seed=s) for s in (1, 1, 2))
    assert np.array_equal(a.item_factors, b.item_factors) and not np.array_equal(a.item_factors, c.item_factors)
    np.testing.assert_allclose(a.scores(a.users[3:5]), a.user_factors[3:5] @ a.item_factors.T, rtol=1e-4, atol=1e-6)

# Weights

def test_a_weight_of_one_is_no_weight(counted):
    same(ials(counted, 8), ials(counted.assign(count=1), 8, weight='count'), eps=0)

def test_weights_of_repeated_pairs_are_summed(counted):
    repeated = counted.loc[counted.index.repeat(counted['count'])].assign(count=1).sample(frac=1, random_state=0)
    same(ials(counted, 8, weight='count'), ials(repeated, 8, weight='count'))
    same(ials(counted, 8), ials(repeated, 8))     # without a column of weights a pair counts once

def test_alpha_times_weight_is_what_counts(counted):
    a = ials(counted, 8, alpha=3., weight='count')
    same(a, ials(counted.assign(count=3*counted['count']), 8, weight='count'))
    assert np.abs(a.user_factors-ials(counted, 8, alpha=3.).user_factors).max() > .01

@pytest.mark.parametrize('dtype', ['int8', 'float64', 'Int64', 'Float32', 'object'])
def test_weights_of_any_numeric_dtype(counted, dtype):
    same(ials(counted, 8, n_iter=2, weight='count'),
         ials(counted.astype({'count': dtype}), 8, n_iter=2, weight='count'), eps=0)

@pytest.mark.parametrize('bad', [0, -1, np.nan, np.inf, None, 'many'])
def test_weights_that_are_none(counted, bad):
    values = counted['count'].astype(object).tolist()
    values[7] = bad
    got = 'nan' if bad is None else repr(bad)     # pandas stores a missing number as NaN
    with pytest.raises(ValueError, match=f"weights must be finite numbers above 0, got {got} in column 'count', row 7"):
        ials(counted.assign(count=values), weight='count')

def test_weights_of_rows_are_kept(counted):
    "What it takes to regularize the row of a new user as `ials` would"
    rec = ials(counted, 8, reg=3., alpha=2., nu=.5, weight='count')
    users,items = (2*counted.groupby(c)['count'].sum() for c in ('user', 'movie'))
    assert rec.row_weights[0] == pytest.approx(users.mean()+len(rec.items))
    assert rec.row_weights[1] == pytest.approx(items.mean()+len(rec.users))
    assert (rec.alpha, rec.reg, rec.nu) == (2., 3., .5)
    u = np.array(rec.users)[np.repeat(range(len(rec.users)), np.diff(rec.known.starts))]
    i = np.array(rec.items)[rec.known.items]
    pd.testing.assert_frame_equal(pd.DataFrame({'user': u, 'movie': i, 'count': rec.known.values.astype(int)}),
                                  counted.sort_values(['user', 'movie'], ignore_index=True))
    assert rec.known.values.dtype == np.float32
    # the items are solved for last: with their regularization they solve the normal equations
    P,Q = torch.tensor(rec.user_factors).double(),torch.tensor(rec.item_factors).double()
    for i,rows in counted.groupby('movie'):
        own,w = P[rows.user.to_numpy()],torch.tensor(2.*rows['count'].to_numpy())
        lam = 3*((w.sum()+len(rec.users))/rec.row_weights[1])**.5
        A = P.T @ P + lam*torch.eye(8) + own.T @ (w[:,None]*own)
        torch.testing.assert_close(A @ Q[rec.items.index(i)], own.T @ (1+w), rtol=1e-4, atol=1e-4)

# Half a step

def group(counts):
    "All rows of `counts` (n, m) in one basket, filled up to m cells: a long row, if m is not below d"
    n,m = counts.shape
    cols,w = (counts > 0).float().sort(dim=1, descending=True, stable=True)[1],counts.float()
    real = counts.gather(1, cols) > 0
    return [(torch.arange(n), cols.where(real, m), w.gather(1, cols).where(real, 1.))]

def narrow(counts):
    "Each row of `counts` in a basket of its own, without filling"
    rows = [(torch.tensor([r]), row.nonzero().T, row[row > 0].float()[None]) for r,row in enumerate(counts)]
    return [basket for basket in rows if basket[1].numel()]

@pytest.mark.parametrize('alpha', [1e-4, .5, 40., 1e5])
def test_rows_solve_the_normal_equations(alpha):
    "Against a dense solve in double precision: short rows by the small system, long ones by the large one"
    torch.manual_seed(0)
    counts = torch.randint(1, 5, (50, 24)) * (torch.rand(50, 24) < torch.linspace(.05, 1, 50)[:,None])
    other,lam = torch.randn(24, 12),torch.rand(50)+.5
    c = 1 + alpha*counts.double()
    Y = other.double()
    A = Y.T @ (c[:,:,None]*Y) + lam[:,None,None]*torch.eye(12)
    want = torch.linalg.solve(A, ((c*(counts > 0)) @ Y)[:,:,None])[:,:,0].float()
    baskets = narrow(counts)
    rows = torch.cat([rows for rows,_,_ in baskets])
    torch.testing.assert_close(als_step(other, baskets, lam, alpha)[rows], want[rows], rtol=1e-4, atol=1e-5)
    if alpha < 1e3:     # beyond that the large system of a short row loses digits
        torch.testing.assert_close(als_step(other, group(counts), lam, alpha), want, rtol=1e-3, atol=1e-4)

def test_short_rows_are_solved_as_long_ones_are():
    "One row, by the small system, and filled up until the large one is used"
    torch.manual_seed(1)
    other,lam,cols = torch.randn(40, 16),torch.tensor([2.]),torch.tensor([[3, 11, 5]])
    w = torch.tensor([[2., 1., 5.]])
    filled = torch.cat([cols, torch.full((1, 20), 40)], dim=1),torch.cat([w, torch.ones(1, 20)], dim=1)
    short,long = (als_step(other, [(torch.tensor([0]), *b)], lam, 3.) for b in ((cols, w), filled))
    torch.testing.assert_close(short, long, rtol=1e-5, atol=1e-5)

def test_more_factors_than_items_or_users():
    "The shared sum has no full rank, and every row is short"
    t = pd.DataFrame({'user': [1, 1, 2, 3], 'movie': [10, 20, 10, 30]})
    rec = ials(t, 64, reg=.5)
    assert np.isfinite(rec.scores([1, 2, 3])).all() and rec.scores([3])[0].argmax() == 2

# Sparse matrices

@pytest.mark.parametrize('kind', [sparse.csr_array, sparse.csr_matrix, sparse.coo_array, sparse.csc_matrix])
def test_a_sparse_matrix_is_a_frame(counted, kind):
    X = kind(sparse.coo_array((counted['count'], (counted.user, counted.movie))))
    before = X.copy()
    same(ials(X, 8), ials(counted, 8), eps=0)
    same(ials(X, 8, weight='data'), ials(counted, 8, weight='count'), eps=0)
    a,b = ease(X, 5.),ease(counted, 5.)
    assert np.array_equal(a.weights, b.weights) and np.array_equal(a.scores([3, 0]), b.scores([3, 0]))
    assert a.users == b.users and all(type(u) is int for u in a.users)
    assert (X != before).nnz == 0 and X.dtype == before.dtype

def test_stored_zeros_are_blanks_and_repeats_are_summed():
    cells = [1., 0., 2., 3., 1.],([0, 0, 1, 2, 2], [0, 1, 1, 0, 0])
    X,Y = sparse.coo_array(cells, shape=(4, 3)),sparse.csr_array([[1., 0, 0], [0, 2, 0], [4, 0, 0], [0, 0, 0]])
    for weight in (None, 'data'): same(ials(X, 2, weight=weight), ials(Y, 2, weight=weight), eps=0)
    a,b = ease(X, 5.),ease(Y, 5.)
    assert np.array_equal(a.weights, b.weights) and (a.known.items == b.known.items).all()
    # a user and an item without ratings keep their rows
    rec = ials(Y, 2)
    assert rec.users == [0, 1, 2, 3] and rec.items == [0, 1, 2]
    assert not rec.scores([3]).any() and not rec.scores([0])[0,2] and not a.scores([3]).any()

@pytest.mark.parametrize('X, weight, words', [
    (sparse.csr_array([[1., -2.]]), None, 'above 0 .*got -2.0 in row 0, column 1'),
    (sparse.csr_array([[1., -2.]]), 'data', 'got -2.0'), (sparse.csr_array([[np.nan, 1.]]), None, 'got nan'),
    (sparse.csr_array([[1., 2.]]), 'count', "weight must be None or 'data'"),
    (sparse.csr_array([[1j, 2.]]), None, 'numbers, got 2 and complex128'),
    (sparse.csr_array((3, 2)), None, 'empty'),
    (sparse.csr_array((0, 2)), None, 'empty')])
def test_sparse_matrices_that_are_refused(X, weight, words):
    with pytest.raises(ValueError, match=words): ials(X, 2, weight=weight)
    if weight is None:
        with pytest.raises(ValueError, match=words): ease(X)

# EASE

def test_ease_is_the_dense_formula(parts):
    "And what it keeps are the pairs, not a table of users by items"
    train = parts[0]
    rec = ease(train, 9.)
    X = pair_mask(train, rec.users, rec.items).float()
    P = torch.linalg.inv((X.T @ X + 9*torch.eye(X.shape[1])).double())
    B = (P / -P.diagonal()).fill_diagonal_(0).float()
    np.testing.assert_allclose(rec.weights, B, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(rec.scores(rec.users), X @ B, rtol=1e-4, atol=1e-4)
    u,i = X.numpy().nonzero()
    assert (np.repeat(range(len(rec.users)), np.diff(rec.known.starts)) == u).all() and (rec.known.items == i).all()

# Results and settings

@pytest.mark.parametrize('fit', [lambda t: ials(t, np.int64(4), np.float64(20), np.float64(1), np.float32(1)),
                                 lambda t: ease(t, np.float64(9))])
def test_results_after_pickling_and_numpy_settings(parts, fit):
    rec = fit(parts[0])
    asked = rec.users[5:8]
    assert rec.scores(asked).dtype == np.float32
    assert np.array_equal(rec.scores(asked), pickle.loads(pickle.dumps(rec)).scores(asked))
    assert np.array_equal(rec.scores(np.array(asked)), rec.scores(asked))
    assert rec.scores([]).shape == (0, len(rec.items))

@pytest.mark.parametrize('fit, words', [
    (lambda t: ials(t, reg=0), 'reg must be above 0 and finite, got 0'),
    (lambda t: ials(t, alpha=np.inf), 'alpha must be above 0 and finite, got inf'),
    (lambda t: ials(t, nu=np.nan), 'nu must be finite, got nan'),
    (lambda t: ials(t, n_factors=0), 'n_factors must be a whole number, 1 or more, got 0'),
    (lambda t: ials(t, n_iter=1.5), 'n_iter must be a whole number'),
    (lambda t: ease(t, -1.), 'reg must be above 0 and finite, got -1'),
    (lambda t: ials(t[:0]), 'empty'), (lambda t: ease(t[:0]), 'empty'),
    (lambda t: ials(t, 4, item='what'), "no column 'what'"), (lambda t: ease(t, user='who'), "no column 'who'"),
    (lambda t: ials(t, 4, weight='plays'), "no column 'plays'"),
    (lambda t: ials(t, 4, n_iter=1).scores([-1]), 'user -1'), (lambda t: ease(t).scores([-1]), 'user -1')])
def test_models_say_what_is_wrong(parts, fit, words):
    with pytest.raises(ValueError, match=words): fit(parts[0])
