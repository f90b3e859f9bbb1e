"iALS by conjugate gradients: against exact solutions, its bits on any number of threads, and what it refuses"
import sys
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from collab_nb.data import synth_ratings
from collab_nb.evaluate import evaluate, hold_out, popular
from collab_nb.ranking import ials
from collab_nb.serving import Recommender

implicit = pytest.importorskip('collab_nb.further.implicit')
ials_fast = implicit.ials_fast

@pytest.fixture(scope='module')
def made(): return synth_ratings(120, 80, 4_000, seed=1)

def tables(rec): return rec.user_factors,rec.item_factors
def same(a, b): return (a.users, a.items) == (b.users, b.items) and all(map(np.array_equal, tables(a), tables(b)))
def close(a, b, eps=1e-4):
    assert (a.users, a.items, a.titles) == (b.users, b.items, b.titles)
    for x,y in zip(tables(a), tables(b)): np.testing.assert_allclose(x, y, rtol=eps, atol=eps)

@pytest.mark.parametrize('d', [1, 3, 16, 65])
@pytest.mark.parametrize('alpha', [1., 7.])
def test_enough_steps_solve_each_row(d, alpha):
    "Rows with none, one, and many cells, from zero and from somewhere else"
    rng = np.random.default_rng(d)
    other = rng.normal(0, .3, (50, d)).astype(np.float32)
    table = sparse.csr_array((rng.random((9, 50)) < np.linspace(0, .9, 9)[:,None])*rng.uniform(.1, 3, (9, 50)))
    table = table.astype(np.float32)
    lam = rng.uniform(.5, 2, 9).astype(np.float32)
    side = table.indptr.astype('int64'),table.indices.astype('int32'),table.data
    for X in (np.zeros((9, d)), rng.normal(size=(9, d))):
        got = implicit._half_turn(map, side, [(0, 4), (4, 9)], lam, np.float32(alpha), other, X.astype(np.float32), 60)
        for row,x in enumerate(got):
            w = alpha*table[[row]].toarray()[0]
            A = (other.T*(1+w)) @ other + lam[row]*np.eye(d)
            np.testing.assert_allclose(x, np.linalg.solve(A, other.T@((w > 0)*(1+w))), rtol=2e-3, atol=2e-4)
        assert (got[0] == 0).all()

def test_the_condition_number_is_at_most_one_plus_alpha(made):
    "So each step shrinks the error by a known factor at least (Chebyshev), whatever the table"
    rng = np.random.default_rng(0)
    other = rng.normal(0, .5, (300, 20)).astype(np.float32)
    cols = np.sort(rng.choice(300, 60, replace=False)).astype(np.int32)
    side = np.array([0, 60]),cols,np.ones(60, dtype=np.float32)
    lam = np.array([1.], dtype=np.float32)
    def error(steps):
        x = implicit._half_turn(map, side, [(0, 1)], lam, np.float32(1), other, np.zeros((1, 20), np.float32), steps)[0]
        e = x - exact
        return float(e@A@e)**.5
    A = other.T.astype(float)@other + other[cols].T.astype(float)@other[cols] + np.eye(20)
    exact = np.linalg.solve(A, 2*other[cols].sum(axis=0))
    start,rate = float(exact@A@exact)**.5,(2**.5-1)/(2**.5+1)
    errors = [error(k) for k in (1, 2, 3, 4)]
    assert all(e <= 2*rate**k*start + 1e-5*start for k,e in enumerate(errors, 1))
    assert errors[3] < .1*errors[1] < .1*errors[0]

@pytest.mark.parametrize('kwargs', [{}, {'nu': 0.}, {'alpha': 5., 'reg': 3.}, {'n_iter': 1}, {'seed': 7}, {'nu': 2}])
def test_many_steps_are_ials(made, kwargs):
    close(ials_fast(made, 8, cg_steps=25, **kwargs), ials(made, 8, **kwargs), 2e-3)

def test_three_steps_rank_as_well(made):
    train,test = (made.iloc[rows] for rows in hold_out(made, 5, 10))
    a,b = (evaluate(rec, test, train).ndcg.mean() for rec in (ials(train, 8), ials_fast(train, 8)))
    assert abs(a-b) < .01

def test_it_finds_what_was_planted():
    "Each user likes one half of the items"
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(100), 30)
    items = np.concatenate([rng.choice(60, 30, replace=False) + 60*(u%2) for u in range(100)])
    table = pd.DataFrame({'user': users, 'movie': items, 'rating': 5.})
    train,test = (table.iloc[s] for s in hold_out(table, 5))
    floor = evaluate(popular(train), test, train).ndcg.mean()
    assert evaluate(ials_fast(train, n_factors=4, reg=1.), test, train).ndcg.mean() > 1.3*floor

def test_weights(counted):
    close(ials_fast(counted, 4, weight='count', cg_steps=25), ials(counted, 4, weight='count'), 2e-3)
    a,b = (ials_fast(t, 4, weight='count') for t in (pd.concat([counted, counted]).assign(count=1.5),
                                                     counted.assign(count=3.)))
    close(a, b, 1e-5)     # weights of repeated pairs are summed
    twice = pd.concat([counted, counted])
    assert same(ials_fast(twice, 4), ials_fast(counted, 4))     # and without weights a pair counts once
    assert not same(ials_fast(counted, 4), ials_fast(counted, 4, weight='count'))

def test_large_weights_want_more_steps(counted):
    many = counted.assign(count=counted['count']*100)
    exact = ials(many, 4, weight='count', n_iter=3)
    def off(steps):
        rec = ials_fast(many, 4, weight='count', n_iter=3, cg_steps=steps)
        return max(np.abs(x-y).max() for x,y in zip(tables(rec), tables(exact)))
    assert off(40) < .01 < off(1)

def test_sparse_matrices(counted):
    matrix = sparse.coo_array((counted['count'].to_numpy(float), (counted.user, counted.movie)), shape=(45, 33))
    for kind in (matrix, sparse.csr_matrix(matrix), matrix.tocsc()):
        close(ials_fast(kind, 4, cg_steps=25), ials(matrix, 4), 2e-3)
        rec = ials_fast(kind, 4, weight='data', cg_steps=25)
        close(rec, ials(matrix, 4, weight='data'), 2e-3)
        assert rec.users == list(range(45)) and (rec.user_factors[40:] == 0).all()      # nobody knows them
        assert (rec.item_factors[30:] == 0).all()

@pytest.mark.parametrize('threads', [2, 3, 16])
def test_the_same_bits_on_any_number_of_threads(made, threads):
    assert same(ials_fast(made, 8), ials_fast(made, 8, threads=threads))

def test_two_fits_at_once(made):
    got = {}
    def run(k): got[k] = ials_fast(made, 8, threads=2)
    workers = [Thread(target=run, args=(k,)) for k in range(3)]
    for w in workers: w.start()
    for w in workers: w.join()
    assert all(same(got[0], got[k]) for k in range(3))

@pytest.mark.parametrize('n', [1, 2, 5])
def test_stretches_hold_every_row_once(n):
    for counts in ([3], [0, 0, 0], [1000, 1, 0, 1], [1]*50):
        starts = np.concatenate([[0], np.cumsum(counts)])
        jobs = implicit._jobs(starts, n)
        assert 1 <= len(jobs) <= n
        assert [r for a,b in jobs for r in range(a, b)] == list(range(len(counts)))

def test_seed_progress_and_order(made):
    assert not same(ials_fast(made, 8), ials_fast(made, 8, seed=1))
    assert same(ials_fast(made, 8), ials_fast(made.sample(frac=1, random_state=0), 8))
    done = []
    ials_fast(made, 8, n_iter=4, progress=done.append)
    assert done == [.25, .5, .75, 1]

def test_a_recommender_like_any_other(made, tmp_path):
    rec = ials_fast(made.rename(columns={'user': 'who', 'movie': 'what', 'title': 'name'}), 8, user='who', item='what',
                    title='name')
    assert rec.titles[rec.items[0]] == made[made.movie == rec.items[0]].title.iloc[0]
    mine = rec.recommend(rec.users[0])
    assert len(mine) == 10 and not set(mine['item']) & set(made[made.user == rec.users[0]].movie)
    own = made[made.user == rec.users[0]].movie.tolist()
    np.testing.assert_allclose(rec.fold_in(own).vector[:-1], rec.user_factors[0], atol=.05)
    rec.save(tmp_path/'model')
    assert same(rec, Recommender.load(tmp_path/'model'))

def test_few_rows_and_words_as_ids():
    t = pd.DataFrame({'user': ['ann', 'bob', 'ann'], 'movie': ['x', 'y', 'y']})
    close(ials_fast(t, 3, reg=.1, cg_steps=20), ials(t, 3, reg=.1), 1e-3)
    for few in (t.head(1), t[t.user == 'ann'], t[t.movie == 'y']):      # one cell, one user, one item
        rec = ials_fast(few, 2, reg=.1, cg_steps=20)
        close(rec, ials(few, 2, reg=.1), 1e-3)
        assert np.isfinite(rec.scores(rec.users)).all()

def test_the_last_title_of_an_item_counts():
    t = pd.DataFrame({'user': [1, 2, 3, 3], 'movie': [7, 7, 7, 8], 'title': ['old', 'older', 'new', None]})
    for fit in (ials, ials_fast): assert fit(t, 2).titles == {7: 'new', 8: '8'}

@pytest.mark.parametrize('wrong,says', [
    ({'n_factors': 0}, 'n_factors must be a whole number'), ({'n_iter': 0}, 'n_iter'), ({'n_iter': 2.5}, 'n_iter'),
    ({'cg_steps': 0}, 'cg_steps must be a whole number, 1 or more, got 0'), ({'cg_steps': True}, 'cg_steps'),
    ({'threads': 0}, 'threads'), ({'seed': -1}, 'seed'), ({'reg': 0}, 'reg must be above 0'), ({'reg': np.nan}, 'reg'),
    ({'alpha': -1}, 'alpha must be above 0'), ({'nu': np.inf}, 'nu must be finite'),
    ({'user': 'who'}, "no column 'who'"), ({'weight': 'count'}, "no column 'count'"),
    ({'weight': 'title'}, 'weights must be finite numbers')])
def test_refuses(made, wrong, says):
    with pytest.raises(ValueError, match=says): ials_fast(made, **wrong)
    if not {'cg_steps', 'threads'} & set(wrong):
        with pytest.raises(ValueError, match=says): ials(made, **wrong)

def test_refuses_tables(made):
    with pytest.raises(ValueError, match='at least one rating'): ials_fast(made.head(0))
    with pytest.raises(ValueError, match='train must be a table'): ials_fast([1, 2])
    for bad in (np.nan, np.inf, 0, -1):
        with pytest.raises(ValueError, match='weights must be'): ials_fast(made.assign(n=bad), weight='n')
    with pytest.raises(ValueError, match='reg must be larger, or alpha'):
        ials_fast(made.assign(n=1e30), weight='n', alpha=1e10)

def test_without_numba_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'numba', None)
    monkeypatch.delitem(sys.modules, 'collab_nb.further.implicit')
    with pytest.raises(ImportError, match=r"pip install 'collab_nb\[speed\]'"):
        __import__('collab_nb.further.implicit')
